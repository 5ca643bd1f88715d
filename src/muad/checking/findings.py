"""What a check of a data set leaves: findings, facts of each category, and what a training would cost."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal[
    "unreadable", "leakage", "label_conflict", "duplicate", "near_duplicate", "suspicious", "exposure", "blur", "size",
    "small_defects",
]  # fmt: skip

MEANINGS: dict[Kind, str] = {
    "unreadable": "files that cannot be used",
    "leakage": "the same picture in training and test: figures would flatter",
    "label_conflict": "the same picture labelled good and bad",
    "duplicate": "identical pictures",
    "near_duplicate": "almost identical pictures",
    "suspicious": "good images unlike the other good ones: look whether they are good",
    "exposure": "much brighter or darker than the others",
    "blur": "much less sharp than the others",
    "size": "sizes or aspect ratios that differ",
    "small_defects": "defects about as small as a patch of the encoder",
}
"""Every kind of finding, gravest first, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to look at.

    Attributes:
        kind: A key of MEANINGS.
        category: The category it concerns.
        images: The images it concerns; none where it concerns the category as a whole.
        text: One sentence with the measured value and the limit it passed.
        box: Where in the image: top, left, bottom, right as shares of height and width; None for the whole.
    """

    kind: Kind
    category: str
    images: tuple[Path, ...]
    text: str
    box: tuple[float, float, float, float] | None = None


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
        findings: Gravest kinds first.
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
        """Findings of each kind that occurs, gravest first."""
        found = [finding.kind for finding in self.findings]
        return {kind: found.count(kind) for kind in MEANINGS if kind in found}

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values; paths as text."""
        values = dataclasses.asdict(self)
        values["data"] = str(self.data)
        for finding in values["findings"]:
            finding["images"] = [str(path) for path in finding["images"]]
        return values
