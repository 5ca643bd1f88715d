"""Where tensors end: a network in torch as a scorer that takes and gives arrays, like one in any other runtime."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from muad.runtime.views import ViewScores

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Bool, Float, UInt8
    from torch import Tensor

    from muad.detectors.types import Prediction
    from muad.images.preprocessing import Preprocessing


class TorchScorer(ABC):
    """A network that scores normalised images, and how those who know nothing of torch ask it: by arrays.

    Attributes:
        preprocessing: How photographs become the images it takes.
    """

    preprocessing: Preprocessing

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where images must be."""

    @abstractmethod
    def predict(self, images: Float[Tensor, "b 3 H W"]) -> Prediction:
        """Anomaly maps and scores; the same images give the same result, whatever was done before."""

    @abstractmethod
    def score(self, maps: Float[Tensor, "b h w"], inspected: Bool[Tensor, "b h w"]) -> Float[Tensor, " b"]:
        """Scores as `predict` gives them, from the inspected part of maps; minus infinity where nothing is."""

    def predict_of(self, images: Float[Tensor, "b 3 H W"], categories: Sequence[str | None]) -> Prediction:  # noqa: ARG002
        """As `predict`, for one that does better when told what images show; None where it is not known."""
        return self.predict(images)

    def expand(self, grids: Float[Tensor, "b h w"]) -> Float[Tensor, "b H W"]:
        """Maps made again from the grids in predictions, on any device; for one that gives grids."""
        raise NotImplementedError(f"{type(self).__name__} gives no grids with its predictions")

    def score_views(self, views: UInt8[np.ndarray, "b H W c"], categories: Sequence[str | None]) -> ViewScores:
        """Maps and scores of views, normalised here; None for a category: it is not known what the view shows."""
        found = self.predict_of(normalised(self.preprocessing, views, self.device), categories)
        grids = None if found.grid is None else found.grid.float().cpu().numpy()
        return ViewScores(
            maps=found.anomaly_map.float().cpu().numpy(), scores=found.score.float().cpu().numpy(), grids=grids
        )

    def score_maps(
        self, maps: Float[np.ndarray, "b h w"], inspected: Bool[np.ndarray, "b h w"]
    ) -> Float[np.ndarray, " b"]:
        """Scores from the part of maps that counts."""
        scores: np.ndarray = self.score(torch.from_numpy(maps), torch.from_numpy(inspected.copy())).numpy()
        return scores

    def expand_grids(self, grids: Float[np.ndarray, "b m n"]) -> Float[np.ndarray, "b h w"]:
        """The maps of grids."""
        maps: np.ndarray = self.expand(torch.from_numpy(grids).to(self.device)).float().cpu().numpy()
        return maps


def normalised(
    preprocessing: Preprocessing, views: UInt8[np.ndarray, "b H W c"], device: torch.device
) -> Float[Tensor, "b c H W"]:
    """Views as the encoder wants them, on its device, by the operations of `Preprocessing.normalise`.

    They travel there as bytes, a quarter of their size as numbers, and a card normalises them faster than its host.
    """
    senses = views.shape[3] // 3
    # Divisors are tensors: by a number a card would multiply with its reciprocal, which rounds otherwise.
    white, mean, std = (
        torch.tensor(values, dtype=torch.float32, device=device).reshape(-1, 1, 1)
        for values in ([255.0], preprocessing.mean * senses, preprocessing.std * senses)
    )
    images = torch.from_numpy(views).to(device).permute(0, 3, 1, 2).contiguous().float()
    return images.div_(white).sub_(mean).div_(std)
