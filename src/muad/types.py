"""The few things that travel between all layers: the records of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Split = Literal["train", "validation", "test"]
MaskKind = Literal["grey", "labels", "regions"]
DeviceName = Literal["auto", "cpu", "cuda"] | str
"""Where to compute; also `cuda:1` and so on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One image of a data set and what is known of it.

    Attributes:
        path: The image file.
        category: Kind of object or texture, for instance `bottle`.
        split: `train` (normal images only), `validation` (normal ones that a data set keeps apart) or `test`.
        is_anomalous: The label.
        defect_type: Kind of defect, or None for a normal image.
        mask_path: Ground-truth mask of the defect, of the image's size, or None; of kind `regions` a folder of them.
        mask_kind: `grey`: 0 to 255, defect above half; `labels`: any non-zero value is defect; `regions`: the same of
            every file of a folder, each of which is one defect.
        object_id: Identity of the physical object, where several images show the same one.
        view: Camera view of that object.
        light: Lighting it was taken under, where a data set says so.
        split_chosen: Whether the split was chosen here, because the data set does not say.
    """

    path: Path
    category: str
    split: Split
    is_anomalous: bool
    defect_type: str | None = None
    mask_path: Path | None = None
    mask_kind: MaskKind = "grey"
    object_id: str | None = None
    view: str | None = None
    light: str | None = None
    split_chosen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """All records of a data set, in a fixed order: by category, split, then path.

    Attributes:
        root: Folder or manifest file it was read from.
        layout: Name of the layout that was recognised, for instance `mvtec`.
        records: Every image, train and test.
        notes: Sentences the user should see (what was recognised, what was left out).
    """

    root: Path
    layout: str
    records: tuple[Record, ...]
    notes: tuple[str, ...] = ()

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the categories, sorted."""
        return tuple(sorted({record.category for record in self.records}))

    def select(self, *, category: str | None = None, split: Split | None = None) -> tuple[Record, ...]:
        """The records of one category, one split, or both, in catalog order."""
        return tuple(
            record for record in self.records if category in (None, record.category) and split in (None, record.split)
        )
