"""Products that several cameras photograph: one part, a photograph a view, a defect that one of them sees."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from muad.errors import ConfigError
from muad.toy_factory import valve_box
from muad.toy_factory.camera import Stage, photograph
from muad.toy_factory.defects import Defect
from muad.toy_factory.products import SUPERSAMPLING, check_image_px

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jaxtyping import Bool, UInt8

    from muad.toy_factory.drawing import Canvas

    Build = Callable[[str, int, np.random.Generator, np.random.Generator, Defect | None], Canvas]


@dataclass(frozen=True, slots=True)
class ViewedProduct:
    """A product of several views.

    Attributes:
        build: Draws one view of a part: which, at how many pixels, what its views share, what the view has to itself,
            and what is wrong with it.
        stage: How each view is photographed.
        views: Names of the views.
        defects: The kinds of defect it can have.
    """

    build: Build
    stage: Stage
    views: tuple[str, ...]
    defects: tuple[str, ...]


VIEWED_PRODUCTS: Mapping[str, ViewedProduct] = {
    "valve_box": ViewedProduct(valve_box.build, valve_box.STAGE, valve_box.VIEWS, valve_box.DEFECTS)
}


def defective_view(product: str, *, seed: int, index: int, defect: str) -> str:
    """The one view that shows the defect of a part."""
    views = check_viewed(product).views
    return views[int(_stream(product, seed, index, f"view/{defect}").integers(len(views)))]


def render_view(
    product: str, view: str, *, seed: int, index: int, defect: str | None = None, image_px: int = 256
) -> tuple[UInt8[np.ndarray, "H W 3"], Bool[np.ndarray, "H W"]]:
    """The photograph of one view of a part, and the mask of what is seen of its defect.

    Args:
        product: One of `VIEWED_PRODUCTS`.
        view: One of its views.
        seed: Seed of the factory.
        index: Number of the part.
        defect: One of the product's kinds of defect, or None for a normal part.
        image_px: Side of the square image.

    Returns:
        Image in RGB, and a mask that is true on the defect: nowhere but in one view of a defective part.

    Raises:
        ConfigError: Unknown product, view or defect, or an image size or index out of range.
    """
    found = check_viewed(product)
    check_image_px(image_px)
    if view not in found.views:
        raise ConfigError(f"view of {product} must be one of {', '.join(found.views)}, got {view!r}.")
    if defect is not None and defect not in found.defects:
        raise ConfigError(f"defect of {product} must be one of {', '.join(found.defects)}, got {defect!r}.")
    if seed < 0 or index < 0:
        raise ConfigError(f"seed and index must be 0 or more, got {seed} and {index}. Give whole numbers from 0.")
    fault = None
    if defect is not None and defective_view(product, seed=seed, index=index, defect=defect) == view:
        fault = Defect(defect, _stream(product, seed, index, f"defect/{defect}"))
    canvas = found.build(
        view,
        SUPERSAMPLING * image_px,
        _stream(product, seed, index, "part"),
        _stream(product, seed, index, f"{view}/piece"),
        fault,
    )
    return photograph(canvas, found.stage, _stream(product, seed, index, f"{view}/photograph"), image_px)


def check_viewed(product: str) -> ViewedProduct:
    """The product of that name, or a ConfigError that lists the names."""
    if product not in VIEWED_PRODUCTS:
        raise ConfigError(f"product must be one of {', '.join(VIEWED_PRODUCTS)}, got {product!r}. Choose one of these.")
    return VIEWED_PRODUCTS[product]


def _stream(product: str, seed: int, index: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng([seed, index, zlib.crc32(f"{product}/{purpose}".encode())])
