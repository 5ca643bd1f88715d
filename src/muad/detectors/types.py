"""What passes between the training engine and a detector: batches, losses, predictions.

Not frozen, because the engine moves the tensors.

Shapes: `b` batch, `c` channels, `H W` image pixels, `h w` feature grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    Features: TypeAlias = Tensor | tuple[Tensor, ...]


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
        device_seeds: The seeds where the device can read them, in a step that asks nothing of the host.
        clean: The images as they were before that drawing, for a detector that compares with them.
    """

    images: Float[Tensor, "b 3 H W"]
    seeds: tuple[int, ...]
    categories: tuple[str, ...]
    features: Features | None = None
    masks: Float[Tensor, "b 1 H W"] | None = None
    normal_fraction: Float[Tensor, ""] | None = None
    device_seeds: Int[Tensor, " b"] | None = None
    clean: Float[Tensor, "b 3 H W"] | None = None

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
            device_seeds=None if self.device_seeds is None else self.device_seeds[rows],
            clean=None if self.clean is None else self.clean[rows],
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
