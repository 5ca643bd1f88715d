"""The contract between a detector and the rest of muad. Read it before any detector, or before writing one.

A detector is a torch module with settings. What happens to a photograph, in order:

    preprocessing             the photograph becomes normalised images                         (all detectors)
    encode(images)            what a frozen part says of them, the same at every step          (if it has one)
    measure(images)           named tensors: all that the network finds, ready to be exported
    map_head(tensors)         anomaly map and score of them, in plain numpy

and how it learns, in one of two ways:

    SteppingDetector          forward(batch, step) gives losses; parameter_groups() say what they move, how and when
    FittingDetector           fit(batches) looks at every training image once, without gradients

A checkpoint holds `trainable_state()`. `docs/own-detector.md` adds one step by step.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NotRequired, TypeAlias, TypedDict

import torch
from torch import nn

from muad.detectors.torch_scorer import TorchScorer
from muad.detectors.types import Prediction
from muad.errors import ConfigError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

    from muad.detectors.types import Batch, Features, Losses
    from muad.images.preprocessing import Preprocessing
    from muad.runtime.heads import Head


# ------------------------------------------------------------------------------------------------------ settings


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorConfig:
    """Settings of a detector: the table `[detector]` of a recipe. Each detector adds its own fields.

    Attributes:
        name: Which detector this configures; every detector fixes it to its own.
        resize_px: Height and width images are resized to.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    name: str
    resize_px: tuple[int, int]

    @property
    def crop_px(self) -> tuple[int, int]:
        """Height and width of the centre that is looked at: all of it, unless a detector crops."""
        return self.resize_px

    @property
    def needs_whole_batch(self) -> str | None:
        """The setting, and why, that makes the loss of a batch another than the mean over its parts; None without."""
        return None

    @classmethod
    def suggest(cls, images: int, device: str) -> Mapping[str, Any]:  # noqa: ARG003
        """Settings, of any table, for that many good images on a kind of device, where no recipe is named."""
        return {}


# ------------------------------------------------------------------------------------------------------ detectors


class Detector(TorchScorer, nn.Module):
    """A network that scores images after it has seen normal ones. Derive from one of the two kinds below.

    Attributes:
        settings: The class of its configuration; a detector is built from an instance of it alone.
        preprocessing: How photographs become the images it takes.
        fingerprint: Identifies the frozen weights that are not saved with the run.
        encoding: Says what `encode` keeps of them, for naming kept features.
        map_head: Makes map and score of what `measure` gives.
        joins_senses: Whether it takes what two cameras show of a part (`images.senses`): all that it knows of an image
            is what its encoder says.
        goes_on_by: How it learns more after its training, see docs/extend.md: by `insertion` of what it has not seen,
            by `rehearsal` of what it has among the new; empty where that takes a new training.
    """

    settings: ClassVar[type[DetectorConfig]]
    joins_senses: ClassVar[bool] = False
    goes_on_by: ClassVar[Literal["insertion", "rehearsal", ""]] = ""
    preprocessing: Preprocessing
    fingerprint: str = "nothing frozen"
    encoding: str = ""
    map_head: Head

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return next(self.parameters()).device

    def encode(self, images: Float[Tensor, "b 3 H W"]) -> Features | None:  # noqa: ARG002
        """What a frozen part makes of images, one tensor or several, so that it can be kept; None without one."""
        return None

    @abstractmethod
    def measure(self, images: Float[Tensor, "b 3 H W"]) -> dict[str, Tensor]:
        """What the network finds in normalised images, by name and in float32: all that `map_head` needs."""

    def compute_in_float32(self) -> None:
        """Put settings aside by which it computes in less, so that other runtimes can be held against it."""

    def network(self) -> nn.Module:
        """`measure` as a module for other runtimes: normalised images in, named tensors out."""
        return _Network(self)

    def network_in_parts(self) -> tuple[nn.Module, tuple[str, ...]] | None:
        """`network` with tensors between its two parts beside what it gives, and their names.

        What leads to them may be computed in a lower precision; all that is made of them and of the images stays
        float32. None where a lower precision is one of the whole.
        """
        return None

    def why_not_exportable(self) -> str | None:
        """What of it `network` cannot compute, as the end of "because of …"; None where `network` is all there is."""
        return None

    @torch.no_grad()
    def predict(self, images: Float[Tensor, "b 3 H W"]) -> Prediction:
        """Anomaly maps and scores; the same images give the same result, whatever `self.training` says."""
        with evaluating(self):
            measured = {name: tensor.float().cpu().numpy() for name, tensor in self.measure(images).items()}
        maps, scores = self.map_head(measured)
        return Prediction(
            anomaly_map=torch.from_numpy(maps).to(images.device), score=torch.from_numpy(scores).to(images.device)
        )

    def score(self, maps: Float[Tensor, "b h w"], inspected: Bool[Tensor, "b h w"]) -> Float[Tensor, " b"]:
        """Scores from the inspected part of maps; minus infinity where nothing is."""
        return torch.from_numpy(self.map_head.score(maps.cpu().numpy(), inspected.cpu().numpy())).to(maps.device)

    def trainable_state(self) -> dict[str, Tensor]:
        """The tensors a checkpoint holds, by name: here trained parameters; add batch norm's statistics or a memory."""
        return {name: parameter.detach() for name, parameter in self.named_parameters() if parameter.requires_grad}

    def make_room(self, shapes: Mapping[str, torch.Size]) -> None:
        """Prepare for tensors of a checkpoint whose sizes are not known before, such as a memory."""


class ParameterGroup(TypedDict):
    """Tensors that learn alike.

    Attributes:
        name: For the log and for people.
        params: The tensors.
        optimizer: Kind of the optimizer that moves them; left out, `optim.kind`. Groups of different kinds have
            optimizers of their own, all of which take a step after the same losses.
        lr_factor: Learning rate as a multiple of the schedule's.
        rate: Learning rate of a step, from step and rate so far; a pure function, so that a resumed run goes on alike.
        learns: Whether a step moves these tensors, a pure function of it: this is how a run has phases, or losses that
            take turns. Where it does not, they keep their values and their optimizer's memory of them.
        betas, eps, weight_decay, momentum: In place of those of `optim`.
    """

    name: str
    params: list[nn.Parameter]
    optimizer: NotRequired[Literal["stable_adamw", "adamw", "adam", "sgd"]]
    lr_factor: NotRequired[float]
    rate: NotRequired[Callable[[int, float], float]]
    learns: NotRequired[Callable[[int], bool]]
    betas: NotRequired[tuple[float, float]]
    eps: NotRequired[float]
    weight_decay: NotRequired[float]
    momentum: NotRequired[float]


class SteppingDetector(Detector):
    """Learns by gradient steps; `training/loop.py` is the whole algorithm.

    Attributes:
        asks_no_host: Whether `forward` also takes `batch.device_seeds` and the step as a tensor, and then computes
            without a value ever going to the host: such a step can be recorded once and replayed on a graphics card.
        total_steps: Of the run; set before its first step, for phases that are shares of it.
    """

    asks_no_host: ClassVar[bool] = False
    total_steps: int = 10_000

    def prepare(self, batch: Batch) -> Batch:
        """What must be done to or known of the whole batch of a step before it is computed in parts; no gradient."""
        return batch

    def compile_losses(self) -> None:
        """Compile what `forward` computes, as far as that pays; left alone by default."""

    @abstractmethod
    def forward(self, batch: Batch, step: int) -> Losses:
        """Losses of one training step; `step` counts from 0 and drives schedules and phases inside the loss."""

    @abstractmethod
    def parameter_groups(self) -> list[ParameterGroup]:
        """Trainable tensors, each in one group, as optimizers take them."""


class FittingDetector(Detector):
    """Learns from one look at every training image, without gradients; `training/fitting.py` runs it.

    Attributes:
        by_category: Whether `fit` is called once for each category, in order of their names, with a checkpoint after
            each from which an interrupted training goes on; else once for all images.
        exposure_gains: Factors on the light at which images are shown too.
        exposure_looks: Whether every image is shown as it is and at every gain, or each once: half of them as they
            are, the others at the gains in turn.
        turns: Angles in degrees by which every image is shown turned once more, at every brightness.
        memory_remedy: What to set where the memory for `fit` is not to be had, as a sentence.
    """

    by_category: bool = False
    exposure_gains: tuple[float, ...] = ()
    exposure_looks: Literal["every", "one"] = "every"
    turns: tuple[float, ...] = ()
    memory_remedy: ClassVar[str] = "Take a smaller detector.resize_px."

    def needed_bytes(self, images: int) -> int:  # noqa: ARG002
        """Memory that `fit` holds of so many images at once, beside the network; 0 where that is hardly any."""
        return 0

    @property
    def looks(self) -> int:
        """How often each image is shown: as it is, and at every turn and exposure that is asked for."""
        exposures = 1 + len(self.exposure_gains) if self.exposure_looks == "every" else 1
        return (1 + len(self.turns)) * exposures

    def remembered(self) -> dict[str, int]:
        """How much is remembered of each product; nothing of those of which it does not know what is theirs."""
        return {}

    def would_remember(self, product: str, images: int) -> int:  # noqa: ARG002
        """How much would be remembered of a product once it had been shown so many more images of it; 0 if unknown."""
        return 0

    def forget(self, product: str) -> None:
        """Remember nothing of a product any more, and of the others what was remembered of them.

        Raises:
            ConfigError: It does not know what is of that product.
        """
        raise ConfigError(f"product must be one that the detector knows apart, got {product!r}. Train it anew.")

    @abstractmethod
    def fit(self, batches: Iterable[Batch], seed: int, progress: Callable[[str, int, int], None]) -> None:
        """Take in normal images on top of what was taken in before; runs without gradients, in eval mode.

        Args:
            batches: Each image once, in a fixed order; they are read and encoded as they are taken.
            seed: Of whatever is drawn.
            progress: Called with what is being done, how much is done and how much there is.
        """


LearningDetector: TypeAlias = SteppingDetector | FittingDetector


class _Network(nn.Module):
    """What a detector measures, as a module of its own, always in eval mode."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector
        self.requires_grad_(False)
        self.eval()

    def forward(self, images: Float[Tensor, "b 3 H W"]) -> dict[str, Tensor]:
        """Named tensors of normalised images."""
        return self.detector.measure(images)


@contextmanager
def evaluating(detector: nn.Module) -> Iterator[None]:
    """Eval mode for a while, so that batch norm uses its running statistics, whatever is being done otherwise."""
    training = detector.training
    detector.eval()
    try:
        yield
    finally:
        detector.train(training)
