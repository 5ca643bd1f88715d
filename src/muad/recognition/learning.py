"""From the training images of a run to its products, and from a run to what recognises them."""

from __future__ import annotations

import tomllib
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

from muad.bench import bench
from muad.datasets.index import open_catalog
from muad.datasets.spread import evenly_spread
from muad.errors import CheckpointError, DataError
from muad.images.loading import read_ahead
from muad.images.reading import read_image
from muad.recognition.appearance import COPIES, Appearance, copies_of
from muad.recognition.products import FACTS_FILE, UNKNOWN_RATE, Products, Recognition, is_outdated, read_facts
from muad.runs.folder import read_images_config, read_run
from muad.runs.images import not_set_aside
from muad.types import DeviceName

if TYPE_CHECKING:
    from jaxtyping import UInt8

    from muad.encoders.product_encoder import ProductEncoder
    from muad.images.reading import ValueRange
    from muad.types import Record

_IMAGES_PER_CATEGORY = 64
_FORMER_RATE = 0.005  # what files of the first format hold that nobody edited


class Looking(Protocol):
    """What tells what photographs look like.

    Attributes:
        fingerprint: Of its weights.
    """

    fingerprint: str

    def encode(self, images: Sequence[UInt8[np.ndarray, "H W 3"]]) -> Appearance:
        """What images that `shrink` made look like."""


class Recogniser:
    """A run's products and the encoder to compare photographs with them."""

    def __init__(self, products: Products, encoder: Looking) -> None:
        self.products, self._encoder = products, encoder

    @classmethod
    def of_run(
        cls,
        run: Path,
        device: DeviceName,
        note: Callable[[str], None] = lambda _: None,
        encoder: Callable[[], Looking] | None = None,
    ) -> Self | None:
        """That of a run folder; None if it has no products, or none that can be trusted.

        Args:
            run: Run folder.
            device: Where to compute.
            note: Called with a sentence if there are some that an older release learned.
            encoder: Makes what they are looked at with; None for the bench's.

        Raises:
            CheckpointError: Its files cannot be used.
        """
        if not (run / FACTS_FILE).is_file():
            return None
        if is_outdated(read_facts(run)):
            note(
                "products: none are recognised: this run learned them with a release that took strangers for products; "
                f"learn them again with muad.learn_products({str(run)!r})"
            )
            return None
        looking: Looking = encoder() if encoder else bench("encoders.product_encoder").product_encoder(device)
        return cls(Products.load(run, looking.fingerprint), looking)

    def recognise(
        self, images: Sequence[UInt8[np.ndarray, "H W 3"]], given: Sequence[str | None] = ()
    ) -> list[Recognition]:
        """What images that `shrink` made show, where it is given what each is said to show."""
        return self.products.recognise(self._encoder.encode(images), given)


def has_products(run: Path) -> bool:
    """Whether a run has learned to recognise its categories, in a way that this release trusts."""
    try:
        return (run / FACTS_FILE).is_file() and not is_outdated(read_facts(run))
    except CheckpointError:
        return True  # it has, and whoever reads them says what is wrong with the file


def learn_products(
    run: str | Path,
    records: Sequence[Record] | None = None,
    *,
    device: str = "auto",
    note: Callable[[str], None] = lambda _: None,
) -> Products | None:
    """Learn to recognise the categories of a run and write that into its folder, where an edited rate is kept.

    Args:
        run: Run folder.
        records: Images of every category; None for the training images of the run, where they were.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        note: Called with a sentence on what was learned, or why nothing was.

    Returns:
        What was learned; None if the run does not know its categories, or there are too few images of one.

    Raises:
        CheckpointError: No run there, or it cannot be written.
        DataError: The training images are not where they were.
    """
    folder = Path(run)
    facts = read_run(folder)
    categories = tuple(facts.get("categories", ()))  # an imported run does not know its own
    if not categories:
        note("products: none are recognised, because the run does not know which it was trained on")
        return None
    if records is None and not facts.get("data"):
        raise DataError(f"records must be given for a run that does not know its training images, got {folder}.")
    if records is None:
        catalog = open_catalog(folder / facts["data"], facts["layout"])
        records = not_set_aside(folder, catalog.select(split="train"), catalog.root)
    encoder: ProductEncoder = bench("encoders.product_encoder").product_encoder(device)
    chosen = [record for record in records if record.category in categories]
    seen = look_at(chosen, encoder, read_images_config(folder).value_range)
    few = [name for name in categories if len(seen.get(name, ())) < 2 * COPIES]
    if few:
        note(f"products: none are recognised, that needs 2 readable images of {', '.join(few)}")
        return None
    products = Products.learn(seen, COPIES, _edited_rate(folder))
    products.save(folder, encoder.fingerprint)
    note(products.describe())
    return products


def learn_more_products(
    folder: Path,
    records: Sequence[Record],
    *,
    device: str = "auto",
    note: Callable[[str], None] = lambda _: None,
) -> Products | None:
    """Learn to recognise more products beside those that a run folder has, of which nothing is looked at again.

    Args:
        folder: Run folder, or a copy of one.
        records: Good images of each product to learn, two or more; one that is known is learned anew from them.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        note: Called with a sentence on what is recognised now.

    Returns:
        All products; None if the folder has none to add to.

    Raises:
        CheckpointError: Its files cannot be used or written, or there are too few images.
    """
    if not (folder / FACTS_FILE).is_file() or is_outdated(read_facts(folder)):
        return None
    encoder: ProductEncoder = bench("encoders.product_encoder").product_encoder(device)
    seen = look_at(records, encoder, read_images_config(folder).value_range)
    products = Products.load(folder, encoder.fingerprint).joined(seen, COPIES)
    products.save(folder, encoder.fingerprint)
    note(products.describe())
    return products


def forget_product(folder: Path, category: str, *, device: str = "auto") -> None:
    """Take a product out of what a run folder recognises, if it is there.

    Raises:
        CheckpointError: Its files cannot be used or written, or it is the only product.
    """
    if not (folder / FACTS_FILE).is_file() or is_outdated(read_facts(folder)):
        return
    encoder: ProductEncoder = bench("encoders.product_encoder").product_encoder(device)
    Products.load(folder, encoder.fingerprint).without(category).save(folder, encoder.fingerprint)


def look_at(
    records: Sequence[Record], encoder: ProductEncoder, value_range: ValueRange | None = None
) -> dict[str, Appearance]:
    """What the normal images among the records look like, by category; unreadable ones are left out.

    Args:
        records: Images of every category.
        encoder: Tells what they look like.
        value_range: That of the run, for images with more than 8 bits.

    Returns:
        By category: all copies of the first image, of the second, and so on.
    """
    seen = {}
    for name in sorted({record.category for record in records}):
        paths = [record.path for record in records if record.category == name and not record.is_anomalous]
        copies = [
            views
            for views in read_ahead(partial(_readable_copies, value_range), evenly_spread(paths, _IMAGES_PER_CATEGORY))
            if views
        ]
        if copies:
            seen[name] = encoder.encode([view for views in copies for view in views])
    return seen


def _readable_copies(value_range: ValueRange | None, path: Path) -> list[UInt8[np.ndarray, "h w 3"]]:
    try:
        return copies_of(read_image(path, value_range), seed=zlib.crc32(path.name.encode()))
    except DataError:
        return []  # named during training, where a setting decided to leave it out


def _edited_rate(run: Path) -> float:
    """The rate that a person may have set there before."""
    try:
        facts = tomllib.loads((run / FACTS_FILE).read_text(encoding="utf-8"))
        rate, before = float(facts["unknown_rate"]), facts.get("format_version", 1)
    except (OSError, ValueError, KeyError, TypeError):
        return UNKNOWN_RATE
    return UNKNOWN_RATE if before == 1 and rate == _FORMER_RATE else rate
