"""The products of the toy factory, and the one function that photographs them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from muad.errors import ConfigError
from muad.toy_factory import brushed_plate, machined_part, pill_blister, printed_board, woven_fabric
from muad.toy_factory.camera import Stage, photograph
from muad.toy_factory.defects import Defect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jaxtyping import Bool, UInt8

    from muad.toy_factory.drawing import Canvas

# Drawn at twice the resolution and averaged down: smooth edges at any angle.
SUPERSAMPLING = 2
_SMALLEST_PX, _LARGEST_PX = 32, 2048


@dataclass(frozen=True, slots=True)
class Product:
    """A category of the toy factory.

    Attributes:
        build: Draws one piece at a number of pixels, with or without a defect.
        stage: How it is photographed.
        defects: The kinds of defect it can have.
    """

    build: Callable[[int, np.random.Generator, Defect | None], Canvas]
    stage: Stage
    defects: tuple[str, ...]


PRODUCTS: Mapping[str, Product] = {
    module.__name__.rpartition(".")[2]: Product(module.build, module.STAGE, module.DEFECTS)
    for module in (brushed_plate, machined_part, pill_blister, printed_board, woven_fabric)
}


def render(
    category: str, *, seed: int, index: int, defect: str | None = None, image_px: int = 256
) -> tuple[UInt8[np.ndarray, "H W 3"], Bool[np.ndarray, "H W"]]:
    """The photograph of one piece, and the mask of its defect.

    Pose, light, texture and noise follow from seed, category and index alone: with and without a defect the same
    piece is shown, and outside the mask the two images are the same (but for a pixel or two of lens blur at its rim).

    Args:
        category: One of `PRODUCTS`.
        seed: Seed of the factory.
        index: Number of the piece.
        defect: One of the category's kinds of defect, or None for a normal piece.
        image_px: Side of the square image.

    Returns:
        Image in RGB, and a mask that is true on the defect: nowhere on a normal piece, somewhere on any other.

    Raises:
        ConfigError: Unknown category or defect, or an image size or index out of range.
    """
    product = check_category(category)
    check_image_px(image_px)
    if defect is not None and defect not in product.defects:
        choices = ", ".join(product.defects)
        raise ConfigError(f"defect of {category} must be one of {choices}, got {defect!r}. Choose one of these.")
    if seed < 0 or index < 0:
        raise ConfigError(f"seed and index must be 0 or more, got {seed} and {index}. Give whole numbers from 0.")

    def stream(purpose: str) -> np.random.Generator:
        return np.random.default_rng([seed, index, zlib.crc32(f"{category}/{purpose}".encode())])

    fault = None if defect is None else Defect(defect, stream(f"defect/{defect}"))
    canvas = product.build(SUPERSAMPLING * image_px, stream("piece"), fault)
    return photograph(canvas, product.stage, stream("photograph"), image_px)


def check_category(category: str) -> Product:
    """The product of that name, or a ConfigError that lists the names."""
    if category not in PRODUCTS:
        raise ConfigError(f"category must be one of {', '.join(PRODUCTS)}, got {category!r}. Choose one of these.")
    return PRODUCTS[category]


def check_image_px(image_px: int) -> None:
    """Refuse an image size that cannot be drawn."""
    if not _SMALLEST_PX <= image_px <= _LARGEST_PX:
        raise ConfigError(
            f"image_px must be between {_SMALLEST_PX} and {_LARGEST_PX}, got {image_px}. 256 is the usual size."
        )
