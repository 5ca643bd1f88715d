"""The contract between a detector and the rest: train, predict, what to optimise, what to feed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from torch import nn

if TYPE_CHECKING:
    import torch
    from jaxtyping import Bool, Float
    from torch import Tensor

    from muad.data.transforms import Preprocessing
    from muad.types import Batch, Losses, Prediction


class Scorer(Protocol):
    """What evaluation needs: how to prepare photographs, and what is anomalous in them."""

    preprocessing: Preprocessing

    def predict(self, images: Float[Tensor, "b 3 H W"]) -> Prediction:
        """Anomaly maps and scores of normalised images."""

    def score(self, maps: Float[Tensor, "b h w"], inspected: Bool[Tensor, "b h w"]) -> Float[Tensor, " b"]:
        """Scores from the part of maps that counts; asked for only where padding or a region leaves some out."""

    @property
    def device(self) -> torch.device:
        """Where images must be."""


@runtime_checkable
class Expander(Protocol):
    """A scorer that makes its maps again from the grids in its predictions, which are all that has to be kept."""

    def expand(self, grids: Float[Tensor, "b h w"]) -> Float[Tensor, "b H W"]:
        """Anomaly maps of grids, on any device."""


@runtime_checkable
class Conditioned(Protocol):
    """A scorer that does better when it is told what images show."""

    def predict_of(self, images: Float[Tensor, "b 3 H W"], categories: Sequence[str | None]) -> Prediction:
        """As `predict`; None for an image of which it is not known."""


class Detector(nn.Module, ABC):
    """A network that scores images after training on normal ones.

    Attributes:
        preprocessing: How photographs become the images it takes.
        fingerprint: Identifies the frozen weights that are not saved with the run.
        encoding: Says what `encode` keeps of them, for naming kept features.
    """

    preprocessing: Preprocessing
    fingerprint: str
    encoding: str = ""

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return next(self.parameters()).device

    @abstractmethod
    def forward(self, batch: Batch, step: int) -> Losses:
        """Losses of one training step; `step` counts from 0 and drives schedules inside the loss."""

    def encode(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b k n d"] | None:  # noqa: ARG002
        """What a frozen part makes of images, the same at every step, so that it can be kept; None without one."""
        return None

    def prepare(self, batch: Batch) -> Batch:
        """What must be done to or known of the whole batch of a step before it is computed in parts; no gradient."""
        return batch

    @abstractmethod
    def predict(self, images: Float[Tensor, "b 3 H W"]) -> Prediction:
        """Anomaly maps and scores; the same images give the same result, whatever `self.training` says."""

    @abstractmethod
    def score(self, maps: Float[Tensor, "b h w"], inspected: Bool[Tensor, "b h w"]) -> Float[Tensor, " b"]:
        """Scores as `predict` gives them, from the inspected part of maps; minus infinity where nothing is."""

    @abstractmethod
    def parameter_groups(self) -> list[dict[str, Any]]:
        """Trainable tensors as the optimizer takes them.

        A group may have `lr_factor`, its learning rate as a multiple of the schedule's, and `swing_steps`, half the
        period in which its rate swings between that and 0.
        """

    def trainable_state(self) -> dict[str, Tensor]:
        """The tensors a checkpoint holds, by name."""
        return {name: parameter.detach() for name, parameter in self.named_parameters() if parameter.requires_grad}
