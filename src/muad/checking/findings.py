"""What a check of a data set leaves: findings, facts of each category, and what a training would cost."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal[
    "suspicious", "unreadable", "leakage", "label_conflict", "duplicate", "near_duplicate", "exposure", "blur",
    "small_defects", "long_parts", "size",
]  # fmt: skip

MEANINGS: dict[Kind, str] = {
    "suspicious": "good images unlike the other good ones",
    "unreadable": "files that cannot be used",
    "leakage": "the same picture in training and test: figures would flatter",
    "label_conflict": "the same picture labelled good and bad",
    "duplicate": "identical pictures",
    "near_duplicate": "almost identical pictures",
    "exposure": "much brighter or darker than the others",
    "blur": "much less sharp than the others",
    "small_defects": "defects about as small as a patch of the encoder",
    "long_parts": "parts much longer than wide, or wider than long",
    "size": "sizes or aspect ratios that differ",
}
"""Every kind of finding in words: the parts a person should look at first, then the gravest."""

REMEDIES: dict[Kind, str] = {
    "suspicious": "look at each: a bad part among the good ones teaches that its defect is normal; move it to bad/",
    "unreadable": "replace or delete them, or train with --skip-bad",
    "leakage": "leave one side out, or figures are those of photographs it was trained on",
    "label_conflict": "look which label is right and delete the other copy",
    "duplicate": "delete all but one: copies count as independent photographs where they are none",
    "near_duplicate": "keep one of each group where the same part was photographed twice without being moved",
    "exposure": "photograph again, or delete them where the line never looks like that",
    "blur": "photograph again, or delete them",
    "small_defects": "cut the photographs into tiles, or photograph closer",
    "long_parts": "cut the photographs into tiles, or keep their aspect ratio",
    "size": "photograph all parts of a product from one distance in one format, or keep the aspect ratio",
}
"""What to do about each kind."""

GRAVE: frozenset[Kind] = frozenset({"unreadable", "leakage", "label_conflict"})
"""Kinds that must be settled before training, or figures or training would be wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to look at.

    Attributes:
        kind: A key of MEANINGS.
        category: The category it concerns.
        images: The images it concerns; none where it concerns the category as a whole.
        text: One sentence with the measured value and the limit it passed.
        box: Where in the image: top, left, bottom, right as shares of height and width; None for the whole.
        settings: What to train with because of it, as `--set` takes it; of several any one will do, the first is best.
    """

    kind: Kind
    category: str
    images: tuple[Path, ...]
    text: str
    box: tuple[float, float, float, float] | None = None
    settings: tuple[str, ...] = ()


def by_cause(findings: Sequence[Finding]) -> list[Finding]:
    """Findings on single images, those that one cause explains made one.

    A dark photograph is also less sharp and unlike the others, a blurred one unlike the others; but where a single
    place is unlike the others, it is a part to look at as well.

    Args:
        findings: Of kinds `exposure`, `blur` and `suspicious`.
    """
    rank = ("exposure", "blur", "suspicious")
    kept: dict[tuple[Path, ...], Finding] = {}
    places = []
    for finding in sorted(findings, key=lambda finding: rank.index(finding.kind)):
        cause = kept.get(finding.images)
        if cause is None:
            kept[finding.images] = finding
        elif finding.box is not None:
            places.append(finding)
        else:
            kept[finding.images] = dataclasses.replace(cause, text=f"{cause.text} Also: {finding.text}")
    return [*kept.values(), *places]


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryFacts:
    """One category in numbers.

    Attributes:
        name: Its name.
        train: Good training images.
        test_good: Good test images.
        test_bad: Anomalous test images.
        smallest_px: Least height and least width; None if no image can be read.
        largest_px: Greatest height and greatest width.
        defects: Defects found in masks, counted as separate areas.
        median_patches: Area of the median defect, in patches of the encoder; None without masks.
        smallest_patches: Area of the smallest one.
        suspicion_limits: Distances above which an image is called suspicious, of the whole image and of its most
            distant patch; None with too few images to say.
    """

    name: str
    train: int
    test_good: int
    test_bad: int
    smallest_px: tuple[int, int] | None = None
    largest_px: tuple[int, int] | None = None
    defects: int = 0
    median_patches: float | None = None
    smallest_patches: float | None = None
    suspicion_limits: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a training would take on this machine, from a measured step; orders of magnitude, not promises.

    Attributes:
        network: Its encoder, or the detector where there is none.
        image_px: Height and width the detector sees.
        steps: Its length.
        seconds: From start to end.
        memory_bytes: At its peak, kept features included, beside what the program itself takes.
        device: Where it was measured.
    """

    network: str
    image_px: tuple[int, int]
    steps: int
    seconds: float
    memory_bytes: int
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCheck:
    """The result of `check_data`.

    Attributes:
        data: Folder or manifest.
        layout: The layout it was read in.
        data_hash: Content hash of all images.
        categories: Facts, by name.
        findings: In the order of MEANINGS.
        cost: Estimate of a training; None if there is nothing to train on.
        notes: What the reader of the data and the checks had to say.
    """

    data: Path
    layout: str
    data_hash: str
    categories: tuple[CategoryFacts, ...]
    findings: tuple[Finding, ...]
    cost: Cost | None
    notes: tuple[str, ...]

    @property
    def counts(self) -> dict[Kind, int]:
        """Findings of each kind that occurs, in the order of MEANINGS."""
        found = [finding.kind for finding in self.findings]
        return {kind: found.count(kind) for kind in MEANINGS if kind in found}

    @property
    def proposed(self) -> tuple[str, ...]:
        """Settings to train the whole data set with, because of its findings: the finest tiles any product needs."""
        best = [finding.settings[0] for finding in self.findings if finding.settings]
        tiles = [setting for setting in best if setting.startswith("images.tiles=")]
        others = [setting for setting in dict.fromkeys(best) if setting not in tiles]
        return (*([max(tiles, key=_tile_count)] if tiles else []), *others)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values; paths as text."""
        values = dataclasses.asdict(self) | {"proposed": list(self.proposed)}
        values["data"] = str(self.data)
        for finding in values["findings"]:
            finding["images"] = [str(path) for path in finding["images"]]
        return values


def _tile_count(setting: str) -> int:
    return math.prod(json.loads(setting.partition("=")[2]))
