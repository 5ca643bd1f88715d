"""`RUN/history.json`: what became of a run after its training, by `muad extend` and `muad forget`.

    {"format_version": 1, "entries": [{"kind": "extend", "created": "2026-01-31T12:00:00+00:00", …}, …]}

Each entry says what was taken in or forgotten, and what that did to the products that were there before: how far the
scores of their calibration images moved, which verdicts changed at the limits then in force, and which limits were set
anew. The oldest entry is the first.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from muad.runs.folder import write_text
from muad.runs.schema import Count, Name, Number, checked, read_json
from muad.wording import counted

HISTORY_FILE = "history.json"
_FORMAT_VERSION = 1
_REMEDY = "Restore it, or delete it: nothing but the history is lost."
LimitsFate = Literal["kept", "set anew", "kept, set by hand", "none"]


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictChange:
    """A calibration image that is judged differently now, at the limits that were in force before.

    Attributes:
        image: Its path.
        before: Its verdict before.
        after: Its verdict after.
    """

    image: str
    before: str
    after: str


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """What became of a product that was there before.

    Attributes:
        images: Calibration images scored before and after.
        missing: Those that are gone, or are not as they were.
        lower: Images whose score fell.
        higher: Images whose score rose.
        largest: Largest difference of a score, in its own values; None without images.
        part: The same as a part of the way from the usual score of good images to the limit; None where there is no
            such way.
        changes: Verdicts that changed.
        limits: What became of its limits.
        review: The review limit before and after; None where there is none.
        reject: The same of the reject limit.
    """

    images: Count
    missing: Count = 0
    lower: Count = 0
    higher: Count = 0
    largest: Number | None = None
    part: Number | None = None
    changes: tuple[VerdictChange, ...] = ()
    limits: LimitsFate = "none"
    review: tuple[Number | None, Number | None] = (None, None)
    reject: tuple[Number | None, Number | None] = (None, None)

    def sentence(self) -> str:
        """The same in words."""
        if not self.images:
            gone = f", {self.missing} are gone or changed" if self.missing else ""
            return f"not proven: no calibration image to compare{gone}; limits {self.limits}"
        if not self.lower + self.higher:
            moved = f"scores of {counted(self.images, 'calibration image')} are the same, bit for bit"
        else:
            way = "" if self.part is None else f", {100 * self.part:.2g} % of the way to the limit"
            moved = (
                f"of {counted(self.images, 'calibration image')} {self.lower} score lower and {self.higher} higher, by "
                f"at most {self.largest:.3g}{way}"
            )
        gone = f" ({self.missing} gone or changed)" if self.missing else ""
        return f"{moved}{gone}; {counted(len(self.changes), 'verdict')} changed; limits {self.limits}"


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One extension, or one product forgotten.

    Attributes:
        kind: Which.
        way: How: an insertion into a memory, steps with rehearsal of the old, patches dropped.
        created: When.
        muad: By which release.
        run: Folder of the run before.
        weights_before: Digest of its weights.
        weights_after: Digest of those after.
        data: Where the new images were; None where something was forgotten.
        added: By product, images it learned from.
        kept: By product, new images kept for calibration.
        left_out: Images that were not taken in, by reason.
        forgotten: Products that are gone.
        memory: By product, patches remembered before and after.
        steps: Optimizer steps.
        rehearsed: By product, old images that were shown again.
        rehearsal_missing: By product, old images that could not be, because they are gone or changed.
        bound: Part of the way to the limit beyond which limits are set anew.
        seconds: Of processor time.
        products: By product that was there before, what became of it.
    """

    kind: Literal["extend", "forget"]
    way: Literal["insertion", "rehearsal", "dropped patches"]
    created: str
    muad: str
    run: str
    weights_before: str
    weights_after: str
    data: str | None = None
    added: Mapping[Name, Count] = field(default_factory=dict)
    kept: Mapping[Name, Count] = field(default_factory=dict)
    left_out: Mapping[str, Count] = field(default_factory=dict)
    forgotten: tuple[str, ...] = ()
    memory: Mapping[Name, tuple[Count, Count]] = field(default_factory=dict)
    steps: Count = 0
    rehearsed: Mapping[Name, Count] = field(default_factory=dict)
    rehearsal_missing: Mapping[Name, Count] = field(default_factory=dict)
    bound: Number = 0.0
    seconds: Number = 0.0
    products: Mapping[Name, Movement] = field(default_factory=dict)

    def sentences(self) -> Iterator[str]:
        """What happened, for people."""
        if self.forgotten:
            yield f"forgotten: {', '.join(self.forgotten)}"
        for name, count in self.added.items():
            kept = f", {self.kept[name]} more kept for calibration" if self.kept.get(name) else ""
            yield f"{name}: learned from {counted(count, 'new image')}{kept}"
        for why, count in self.left_out.items():
            yield f"left out, {why}: {count}"
        for name, (before, after) in self.memory.items():
            if before != after:
                yield f"{name}: {before} patches remembered before, {after} now"
        if self.steps:
            shown = ", ".join(f"{name} {count}" for name, count in self.rehearsed.items())
            gone = sum(self.rehearsal_missing.values())
            yield f"{self.steps} steps, with old images shown again: {shown}" + (f"; {gone} are gone" if gone else "")
        for name, movement in self.products.items():
            yield f"{name}: {movement.sentence()}"


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryFacts:
    """`history.json`."""

    format_version: Literal[1]
    entries: tuple[HistoryEntry, ...]


def read_history(run: Path) -> tuple[HistoryEntry, ...]:
    """What became of a run after its training; nothing of one that was left as it was.

    Raises:
        CheckpointError: The file cannot be read.
    """
    path = run / HISTORY_FILE
    if not path.is_file():
        return ()
    facts, _ = read_json(path, HistoryFacts, _REMEDY)
    return facts.entries


def add_to_history(run: Path, entry: HistoryEntry) -> None:
    """Write an entry behind those that are there.

    Raises:
        CheckpointError: The file cannot be read or written.
    """
    entries: list[dict[str, Any]] = [dataclasses.asdict(one) for one in (*read_history(run), entry)]
    facts = {"format_version": _FORMAT_VERSION, "entries": entries}
    write_text(run / HISTORY_FILE, json.dumps(facts, indent=1) + "\n")
