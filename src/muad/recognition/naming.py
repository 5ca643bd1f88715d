"""How often a run names the product on labelled photographs rightly: good and bad parts apart, and strangers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muad.datasets.spread import evenly_spread
from muad.images.loading import read_ahead
from muad.images.reading import read_image
from muad.recognition.appearance import shrink
from muad.recognition.learning import Recogniser
from muad.runs.folder import write_text
from muad.runs.schema import NamingFacts, read_json
from muad.wording import counted

if TYPE_CHECKING:
    from jaxtyping import UInt8

    from muad.images.reading import ValueRange
    from muad.types import Record

NAMING_FILE = "naming.json"
MOST_NAMED = 5000
"""Photographs that are looked at; of more, evenly spread ones."""
_BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """What some photographs of a kind were called by a run that nobody told what they show.

    Attributes:
        kind: `good`, `bad`, or `strangers`: of products that the run was not trained on.
        right: Named rightly; a stranger is, when it is called unknown.
        unknown: Called an unknown product though it is trained.
        misnamed: Called another product; a stranger, any.
    """

    kind: str
    right: int
    unknown: int
    misnamed: int

    @property
    def total(self) -> int:
        """How many photographs there are."""
        return self.right + self.unknown + self.misnamed

    def sentence(self) -> str:
        """The same in words."""
        if self.kind == "strangers":
            named = "none is" if not self.misnamed else f"{self.misnamed} are" if self.misnamed > 1 else "1 is"
            return f"of {counted(self.total, 'photograph')} of products not trained on, {named} taken for a trained one"
        return (
            f"of {counted(self.total, 'photograph')} of {self.kind} parts, {self.right} are recognised as their "
            f"product, {self.misnamed} as another, {self.unknown} as none"
        )


def measure_names(
    recogniser: Recogniser | None,
    value_range: ValueRange | None,
    records: Sequence[Record],
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Naming]:
    """What a run calls labelled photographs, looked at as if nobody had said what they show.

    Args:
        recogniser: That of the run; None for a run that recognises no products.
        value_range: That of the run, for images with more than 8 bits.
        records: The photographs, readable; of very many, MOST_NAMED are looked at.
        progress: Called with how many are done, and of how many.

    Returns:
        Of good parts, bad parts and strangers, those there are; nothing for a run that recognises no products.

    Raises:
        DataError: A photograph cannot be read.
    """
    if recogniser is None:
        return []
    trained = recogniser.products.categories
    chosen = evenly_spread(records, MOST_NAMED)

    def small(record: Record) -> UInt8[Any, "h w 3"]:
        return shrink(read_image(record.path, value_range))

    hits = {kind: {"right": 0, "unknown": 0, "misnamed": 0} for kind in ("good", "bad", "strangers")}
    done = 0
    photographs = zip(chosen, read_ahead(small, chosen), strict=True)
    while group := list(islice(photographs, _BATCH)):
        for (record, _), found in zip(group, recogniser.recognise([image for _, image in group]), strict=True):
            if record.category not in trained:
                hits["strangers"]["right" if found.is_unknown else "misnamed"] += 1
                continue
            hit = "unknown" if found.is_unknown else "right" if found.nearest == record.category else "misnamed"
            hits["bad" if record.is_anomalous else "good"][hit] += 1
        progress(done := done + len(group), len(chosen))
    names = [Naming(kind=kind, **counts) for kind, counts in hits.items()]
    return [each for each in names if each.total]


def write_names(names: Sequence[Naming], folder: Path, data_hash: str) -> None:
    """Write them beside the evaluation of the same images; of none, only take away what was there.

    Raises:
        CheckpointError: The folder is not writable.
    """
    if not names:
        (folder / NAMING_FILE).unlink(missing_ok=True)
        return
    found = {each.kind: {"right": each.right, "unknown": each.unknown, "misnamed": each.misnamed} for each in names}
    write_text(folder / NAMING_FILE, json.dumps({"data_hash": data_hash, "names": found}, indent=1) + "\n")


def read_names(folder: Path, data_hash: str | None) -> list[Naming]:
    """Those of the evaluation of these images; none if there are only others, or none.

    Raises:
        CheckpointError: The file says something else.
    """
    path = folder / NAMING_FILE
    if not path.is_file():
        return []
    facts, _ = read_json(path, NamingFacts, "Evaluate again.")
    if facts.data_hash != data_hash:
        return []
    return [
        Naming(kind=kind, right=counts["right"], unknown=counts["unknown"], misnamed=counts["misnamed"])
        for kind, counts in facts.names.items()
    ]
