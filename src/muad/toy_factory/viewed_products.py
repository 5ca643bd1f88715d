"""Products that several cameras photograph: one part, a photograph a view, a defect that one of them sees.

`write_viewed_product` makes a data set of one: a folder a part, a file a view, and a manifest that says what is what.
"""

from __future__ import annotations

import csv
import io
import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from muad.errors import ConfigError
from muad.toy_factory import valve_box
from muad.toy_factory.camera import Stage, photograph
from muad.toy_factory.defects import Defect
from muad.toy_factory.products import SUPERSAMPLING, check_image_px
from muad.toy_factory.writer import BLOCK, as_png, fill_folder, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from jaxtyping import Bool, UInt8

    from muad.toy_factory.drawing import Canvas

    Build = Callable[[str, int, np.random.Generator, np.random.Generator, Defect | None], Canvas]

PARTS_MANIFEST = "manifest.csv"
_COLUMNS = ("path", "category", "label", "mask", "split", "defect_type", "object_id", "view")
# Raised whenever the same parameters give other pictures.
_EDITION = 1


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What was asked for; equal orders give equal folders."""

    edition: int
    seed: int
    image_px: int
    product: str
    train_parts: int
    test_good_parts: int
    test_per_defect: int


@dataclass(frozen=True, slots=True)
class _Photograph:
    """One file to write: of which part and view, and what is said of it."""

    index: int
    part: str
    split: str
    view: str
    defect: str | None
    shows: bool

    @property
    def image(self) -> str:
        """Its place below the product's folder."""
        return f"{self.split}/{self.part}/{self.view}.png"

    @property
    def mask(self) -> str | None:
        """Where its mask is; None where the view shows no defect."""
        return f"masks/{self.part}/{self.view}.png" if self.shows else None


def write_viewed_product(
    out: Path,
    product: str,
    *,
    seed: int = 0,
    image_px: int = 256,
    train_parts: int = 60,
    test_good_parts: int = 40,
    test_per_defect: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a product of several views: `OUT/manifest.csv`, and a folder for each part with a file for each view.

    A defect is seen in one view of its part; only that photograph is labelled anomalous. Like `write_toy_factory`, it
    completes what was interrupted, and a photograph never depends on how many are written.

    Args:
        out: Folder to write to, new or empty or from an earlier run.
        product: One of `VIEWED_PRODUCTS`.
        seed: Seed of everything random.
        image_px: Side of the square images.
        train_parts: Normal parts to train on.
        test_good_parts: Normal parts to test on.
        test_per_defect: Parts to test on of each kind of defect.
        progress: Called with the number of images done and to do, after each.

    Raises:
        ConfigError: A parameter is out of range.
        DataError: The folder holds something else, or the product with other parameters, or cannot be written.
    """
    order = _Order(
        edition=_EDITION,
        seed=seed,
        image_px=image_px,
        product=product,
        train_parts=train_parts,
        test_good_parts=test_good_parts,
        test_per_defect=test_per_defect,
    )
    _check(order)
    photographs = list(_photographs(order))
    fill_folder(out, asdict(order), photographs, lambda one: _complete(out, one, order), progress)
    write_whole(out / PARTS_MANIFEST, _manifest(photographs, product).encode())


def _check(order: _Order) -> None:
    """Refuse what cannot be written."""
    check_viewed(order.product)
    check_image_px(order.image_px)
    for name, least in (("seed", 0), ("train_parts", 1), ("test_good_parts", 0), ("test_per_defect", 0)):
        value, most = getattr(order, name), 2**63 if name == "seed" else BLOCK
        if not least <= value < most:
            raise ConfigError(f"{name} must be at least {least} and below {most}, got {value}. Choose another number.")


def _photographs(order: _Order) -> Iterator[_Photograph]:
    """Every photograph of the order, in the order of writing; parts of a kind are numbered in a block of their own."""
    product = check_viewed(order.product)
    kinds: list[tuple[str, str | None, int]] = [
        ("train", None, order.train_parts),
        ("test", None, order.test_good_parts),
        *(("test", defect, order.test_per_defect) for defect in product.defects),
    ]
    for block, (split, defect, count) in enumerate(kinds):
        for number in range(count):
            index, part = block * BLOCK + number, f"{defect or 'good'}-{number:03d}"
            seen = None
            if defect is not None:
                seen = defective_view(order.product, seed=order.seed, index=index, defect=defect)
            for view in product.views:
                yield _Photograph(index, part, split, view, defect, view == seen)


def _complete(out: Path, one: _Photograph, order: _Order) -> None:
    """Render one photograph and write it, its mask first, unless that was done before."""
    folder = out / order.product
    files = [folder / name for name in (one.mask, one.image) if name is not None]
    if all(file.is_file() for file in files):
        return
    image, mask = render_view(
        order.product, one.view, seed=order.seed, index=one.index, defect=one.defect, image_px=order.image_px
    )
    if one.mask is not None:
        write_whole(folder / one.mask, as_png(mask.astype(np.uint8) * 255))
    write_whole(folder / one.image, as_png(cv2.cvtColor(image, cv2.COLOR_RGB2BGR)))


def _manifest(photographs: list[_Photograph], product: str) -> str:
    """The list of all photographs; a label is that of the photograph, not of its part."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_COLUMNS)
    for one in photographs:
        mask = "" if one.mask is None else f"{product}/{one.mask}"
        label, kind = ("bad", one.defect) if one.shows else ("good", "")
        part = f"{one.split}/{one.part}"
        table.writerow((f"{product}/{one.image}", product, label, mask, one.split, kind, part, one.view))
    return text.getvalue()
