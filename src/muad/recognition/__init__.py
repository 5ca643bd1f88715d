"""Which of the trained products a photograph shows, or that it shows none of them.

Training leaves features of up to 64 good photographs per category in the run folder. A new photograph belongs to the
category whose remembered ones are nearest. How near good photographs lie is learned from those same ones, each against
the others of its category, so that "none of them" is a conformal p-value and not a chosen distance. The encoder is
always the one in the package, at a small size, whatever the detector: its answer does not change with the detector's
backend or precision, and a detector need not have one. What it can do and costs is measured in docs/recognition.md.

Beside the weights lie `products.safetensors` (one tensor per category) and `products.toml` (facts, and a rate to edit).

References:
    Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World, 2005, chapter 2 (conformal p-values).
"""

from muad.recognition.features import ProductEncoder, product_encoder, shrink
from muad.recognition.learning import Recogniser, has_products, learn_features, learn_products
from muad.recognition.products import UNKNOWN_PRODUCT, Products, Recognition

__all__ = [
    "UNKNOWN_PRODUCT",
    "ProductEncoder",
    "Products",
    "Recogniser",
    "Recognition",
    "has_products",
    "learn_features",
    "learn_products",
    "product_encoder",
    "shrink",
]
