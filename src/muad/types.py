"""The few things that travel between layers: records of a data set, batches, losses, predictions.

Records are frozen; what passes through the training engine is not, because the engine moves its tensors.

Shapes: `b` batch, `c` channels, `H W` image pixels, `h w` feature grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    Features: TypeAlias = Tensor | tuple[Tensor, ...]

Split = Literal["train", "test"]
MaskKind = Literal["grey", "labels"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One image of a data set and what is known of it.

    Attributes:
        path: The image file.
        category: Kind of object or texture, for instance `bottle`.
        split: `train` (normal images only) or `test`.
        is_anomalous: The label.
        defect_type: Kind of defect, or None for a normal image.
        mask_path: Ground-truth mask of the defect, of the image's size, or None.
        mask_kind: `grey`: 0 to 255, defect above half; `labels`: any non-zero value is defect.
        object_id: Identity of the physical object, where several images show the same one.
        view: Camera view of that object.
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


@dataclass(slots=True, kw_only=True)
class Batch:
    """Training images as the detector sees them.

    Attributes:
        images: Preprocessed and normalised images; empty (no rows) where `features` stand in for them.
        seeds: One seed per image; all randomness spent on an image comes from its seed, so that a run does not
            depend on how images are spread over processes.
        categories: Category of each image.
        features: What the detector's `encode` made of the images, one tensor or several, if it was kept.
        masks: Where anomalies were drawn into the images, once the detector's `prepare` has drawn them.
        normal_fraction: Share of images without one, over all images of the step.
    """

    images: Float[Tensor, "b 3 H W"]
    seeds: tuple[int, ...]
    categories: tuple[str, ...]
    features: Features | None = None
    masks: Float[Tensor, "b 1 H W"] | None = None
    normal_fraction: Float[Tensor, ""] | None = None

    def split(self, parts: int) -> list[Batch]:
        """Equal parts of it, in order; the number of images must be a multiple of `parts`."""
        size = len(self.seeds) // parts
        return [self._part(slice(begin, begin + size)) for begin in range(0, len(self.seeds), size)]

    def _part(self, rows: slice) -> Batch:
        return Batch(
            images=self.images[rows],
            seeds=self.seeds[rows],
            categories=self.categories[rows],
            features=_rows_of(self.features, rows),
            masks=None if self.masks is None else self.masks[rows],
            normal_fraction=self.normal_fraction,
        )


def _rows_of(features: Features | None, rows: slice) -> Features | None:
    """Those of some images."""
    if isinstance(features, tuple):
        return tuple(one[rows] for one in features)
    return None if features is None else features[rows]


@dataclass(slots=True, kw_only=True)
class Losses:
    """What one training step minimises.

    Attributes:
        total: Scalar to differentiate, the mean over this process's images.
        terms: Named detached parts of it, for the log.
    """

    total: Float[Tensor, ""]
    terms: Mapping[str, Tensor]


@dataclass(slots=True, kw_only=True)
class Prediction:
    """What a detector says of a batch of images.

    Attributes:
        anomaly_map: Per-pixel anomaly over the preprocessed view of the image; higher is more anomalous, unbounded.
        score: Per-image anomaly; higher is more anomalous, unbounded.
        grid: What the map was enlarged from, where the detector's `expand` makes the same map of it again; else None.
    """

    anomaly_map: Float[Tensor, "b H W"]
    score: Float[Tensor, " b"]
    grid: Float[Tensor, "b h w"] | None = None
