"""From the training images of a run to its products, and from a run to what recognises them."""

from __future__ import annotations

import tomllib
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from muad.checkpoint import read_config, read_run
from muad.data.images import read_image
from muad.data.index import open_catalog
from muad.data.loading import read_ahead
from muad.device import choose_device
from muad.errors import DataError
from muad.recognition.features import ProductEncoder, copies_of, product_encoder
from muad.recognition.products import FACTS_FILE, UNKNOWN_RATE, Products, Recognition

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float, UInt8

    from muad.data.images import ValueRange
    from muad.types import Record

_IMAGES_PER_CATEGORY = 64


class Recogniser:
    """A run's products and the encoder to compare photographs with them."""

    def __init__(self, products: Products, encoder: ProductEncoder) -> None:
        self.products, self._encoder = products, encoder

    @classmethod
    def of_run(cls, run: Path, device: torch.device) -> Self | None:
        """That of a run folder; None if it has no products: it is of one category, or from before there were any.

        Raises:
            CheckpointError: Its files cannot be used.
        """
        if not has_products(run):
            return None
        encoder = product_encoder(device)
        return cls(Products.load(run, encoder.fingerprint), encoder)

    def recognise(self, images: Sequence[UInt8[np.ndarray, "H W 3"]]) -> list[Recognition]:
        """What images that `shrink` made show."""
        return self.products.recognise(self._encoder.encode(images))


def has_products(run: Path) -> bool:
    """Whether a run has learned to recognise its categories."""
    return (run / FACTS_FILE).is_file()


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
        What was learned; None if there are fewer than two categories, or too few images of one.

    Raises:
        CheckpointError: No run there, or it cannot be written.
        DataError: The training images are not where they were.
    """
    folder = Path(run)
    facts = read_run(folder)
    categories = tuple(facts.get("categories", ()))  # an imported run does not know its own
    if len(categories) < 2:
        note("products: none are recognised, that needs 2 categories")
        return None
    if records is None:
        records = open_catalog(Path(facts["data"]), facts["layout"]).select(split="train")
    encoder = product_encoder(choose_device(device))
    chosen = [record for record in records if record.category in categories]
    features = learn_features(chosen, encoder, read_config(folder).images.value_range)
    few = [name for name in categories if len(features.get(name, ())) < 2]
    if few:
        note(f"products: none are recognised, that needs 2 readable images of {', '.join(few)}")
        return None
    products = Products(features, _edited_rate(folder))
    products.save(folder, encoder.fingerprint)
    note(products.describe())
    return products


def learn_features(
    records: Sequence[Record], encoder: ProductEncoder, value_range: ValueRange | None = None
) -> dict[str, Float[np.ndarray, "n copies d"]]:
    """What is remembered of the normal images among the records, by category; unreadable ones are left out.

    Args:
        records: Images of every category.
        encoder: Tells what they look like.
        value_range: That of the run, for images with more than 8 bits.
    """
    features = {}
    for name in sorted({record.category for record in records}):
        paths = [record.path for record in records if record.category == name and not record.is_anomalous]
        copies = [views for views in read_ahead(partial(_readable_copies, value_range), _spread(paths)) if views]
        if copies:
            rows = encoder.encode([view for views in copies for view in views])
            features[name] = rows.reshape(len(copies), -1, rows.shape[1])
    return features


def _readable_copies(value_range: ValueRange | None, path: Path) -> list[UInt8[np.ndarray, "h w 3"]]:
    try:
        return copies_of(read_image(path, value_range), seed=zlib.crc32(path.name.encode()))
    except DataError:
        return []  # named during training, where a setting decided to leave it out


def _spread(paths: Sequence[Path]) -> list[Path]:
    """As many as are remembered, evenly spread over all."""
    count = min(len(paths), _IMAGES_PER_CATEGORY)
    return [paths[round(place)] for place in np.linspace(0, len(paths) - 1, count)]


def _edited_rate(run: Path) -> float:
    """The rate that a person may have set there before."""
    try:
        return float(tomllib.loads((run / FACTS_FILE).read_text(encoding="utf-8"))["unknown_rate"])
    except (OSError, ValueError, KeyError, TypeError):
        return UNKNOWN_RATE
