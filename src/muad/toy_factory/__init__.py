"""The toy factory: products with known defects, drawn on demand, to try the whole package on without any download.

`products.py` lists the categories, a module each; `drawing.py`, `defects.py` and `camera.py` are what they are drawn,
damaged and photographed with; `writer.py` makes a data set of them. `moulded_tray.py` is one under two cameras;
`viewed_products.py` has those that several cameras photograph from all sides. Both are made when they are asked for.
"""

from muad.toy_factory.moulded_tray import write_trays
from muad.toy_factory.products import PRODUCTS, Product, render
from muad.toy_factory.viewed_products import VIEWED_PRODUCTS, ViewedProduct, render_view, write_viewed_product
from muad.toy_factory.writer import write_toy_factory

__all__ = [
    "PRODUCTS",
    "VIEWED_PRODUCTS",
    "Product",
    "ViewedProduct",
    "render",
    "render_view",
    "write_toy_factory",
    "write_trays",
    "write_viewed_product",
]
