"""DeSTSeg: a student restores clean features from a damaged image; a segmenter learns where its teacher disagrees.

In reading order: configuration, network, damage, losses, anomaly map and score. The teacher is a frozen CNN. In the
first phase of a run the student, a CNN of the same kind with a decoder, is given images with synthetic damage and is to
say what the teacher says of the same images without it. In the second phase the student is frozen, and a segmenter
learns the masks of the damage from how far teacher and student agree on the damaged images.

Zhang et al., DeSTSeg: Segmentation Guided Denoising Student-Teacher for Anomaly Detection, CVPR 2023,
arXiv:2211.11317; official code apple/ml-destseg (Apple sample code licence), written anew here. Names:

| here | official code | paper |
|---|---|---|
| `encoder` | `teacher_net` | teacher network |
| `student` | `student_net` | denoising student network |
| `segmenter` | `segmentation_net` | segmentation network |
| `student_share` | `de_st_steps` of `steps` | first and second step of training |
| `DamageConfig` | `perlin_noise` | synthetic anomaly generation |

Departures from it are listed in docs/fidelity.md. Read next: nn/residual.py, synthesis/anomalies.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from muad.detectors.base import DetectorConfig, SteppingDetector
from muad.detectors.types import Losses
from muad.encoders.encoder import EncoderConfig
from muad.encoders.packages import installed_cnn
from muad.encoders.pyramids import PyramidFamily, build_pyramid
from muad.errors import LARGEST_PX, ConfigError, require_setting, require_sides
from muad.images.preprocessing import Preprocessing
from muad.nn.focal import focal_entropy
from muad.nn.residual import residual_stage
from muad.runtime.heads import GridHead
from muad.synthesis import Synthesis, SynthesisConfig
from muad.synthesis.warp import rotate

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from muad.detectors.base import ParameterGroup
    from muad.detectors.types import Batch

_TURN_STREAM = 0x3C6EF372
_FILL = 114 / 255  # where a turned image shows nothing
_require = partial(require_setting, "detector")


# ------------------------------------------------------------------------------------------------ configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class DamageConfig(SynthesisConfig):
    """Damage as the authors do it: every image, anywhere, by textures as they are; what each setting is, is said there.

    Where no folder of textures is given they are computed.
    """

    probability: float = 1.0
    self_probability: float = 0.0
    augmented: bool = False
    opacity: tuple[float, float] = (0.2, 1.0)
    attempts: int = 1
    foreground: Literal["computed", "whole_image"] = "whole_image"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeStSegConfig(DetectorConfig):
    """Everything the authors vary. The defaults are theirs for MVTec AD, one detector per category.

    Attributes:
        name: Which detector this configures.
        encoder: The teacher, a frozen CNN; the student is of the same kind, to the next coarser stage, from scratch.
        resize_px: Height and width images are resized to; nothing is cut off.
        student_share: Part of the run in which the student learns; in the rest the segmenter does. 1 for the student
            alone.
        cosine_weight: Number of images over which the student's loss is summed: the authors' sum over a batch of 32.
        segmenter_width: Channels of the segmenter.
        dilations: Of the convolutions that it sees farther with.
        focal_gamma: How much less pixels count the surer it is of them.
        residual_lr_factor: Learning rate of its first stage as a multiple of the student's.
        head_lr_factor: That of the rest of it.
        quarter_turned: Categories whose training images are turned by a multiple of 90 degrees.
        slightly_turned: Categories whose training images are turned by up to `turn_degrees` to either side.
        turn_degrees: How far.
        synthesis: How training images are damaged.
        map_of: What the map shows: the segmenter's answer, or the student's distance from the teacher, multiplied over
            stages, which is the authors' ablation.
        top_pixels: Number of largest pixels of the map whose mean is the score.
    """

    name: Literal["destseg"] = "destseg"
    encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig(name="resnet18"))
    resize_px: tuple[int, int] = (256, 256)
    student_share: float = 0.2
    cosine_weight: float = 32.0
    segmenter_width: int = 256
    dilations: tuple[int, ...] = (6, 12, 18)
    focal_gamma: float = 4.0
    residual_lr_factor: float = 0.25
    head_lr_factor: float = 0.025
    quarter_turned: tuple[str, ...] = ()
    slightly_turned: tuple[str, ...] = ()
    turn_degrees: float = 5.0
    synthesis: DamageConfig = field(default_factory=DamageConfig)
    map_of: Literal["segmentation", "distance"] = "segmentation"
    top_pixels: int = 100

    def __post_init__(self) -> None:
        require_sides("detector", "resize_px", self.resize_px)
        share = self.student_share
        _require(0 < share <= 1, "student_share", "above 0 and at most 1", share)
        needs_segmenter = self.map_of == "segmentation" and share == 1
        _require(not needs_segmenter, "map_of", "distance where detector.student_share is 1", self.map_of)
        for name in ("cosine_weight", "residual_lr_factor", "head_lr_factor"):
            _require(0 < getattr(self, name) <= 1e6, name, "above 0 and at most 1e6", getattr(self, name))
        _require(1 <= self.segmenter_width <= 65_536, "segmenter_width", "from 1 to 65536", self.segmenter_width)
        fits = len(self.dilations) > 0 and all(1 <= one <= LARGEST_PX for one in self.dilations)
        _require(fits, "dilations", f"one or more from 1 to {LARGEST_PX}", list(self.dilations))
        _require(0 <= self.focal_gamma <= 100, "focal_gamma", "from 0 to 100", self.focal_gamma)
        _require(0 <= self.turn_degrees <= 180, "turn_degrees", "from 0 to 180", self.turn_degrees)
        _require(1 <= self.top_pixels <= LARGEST_PX**2, "top_pixels", f"from 1 to {LARGEST_PX**2}", self.top_pixels)

    @classmethod
    def suggest(cls, images: int, device: str) -> Mapping[str, Any]:
        """The authors' settings; on a CPU smaller images and batches, with a rate to match."""
        on_gpu = device == "cuda"
        most, batch = (10_000, 32) if on_gpu else (800, 8)
        steps = min(most, max(300, round(images * 40 / batch / 100) * 100))
        encoder, side = installed_cnn(), 256 if on_gpu else 192
        chosen: dict[str, Any] = {"resize_px": [side, side]} | ({"encoder": {"name": encoder}} if encoder else {})
        return {
            "detector": chosen,
            "optim": {"kind": "sgd", "lr": 0.4 if on_gpu else 0.1, "momentum": 0.9, "clip_norm": 0.0}
            | ({} if on_gpu else {"weight_decay": 1e-4}),
            "schedule": {"kind": "constant", "total_steps": steps, "warmup_steps": 0},
            "training": {"batch_size": batch, "save_every_steps": max(50, steps // 10)},
        }


# ------------------------------------------------------------------------------------------------------ network


class Student(nn.Module):
    """A CNN down to its coarsest stage, and residual stages back up through the sizes of the teacher's.

    Args:
        network: The CNN, which gives one stage; trained from here on.
        channels: Of that stage, then of the teacher's stages from coarse to fine.
        grids: Rows and columns of the teacher's stages from coarse to fine.
    """

    def __init__(self, network: nn.Module, channels: Sequence[int], grids: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.encoder = network.requires_grad_(True)
        self.bottom = residual_stage(channels[0], channels[0])
        widths = pairwise(channels)
        self.decoder = nn.ModuleList(residual_stage(inside, outside) for inside, outside in widths)
        self.grids = tuple(grids)

    def forward(self, images: Float[Tensor, "b 3 H W"]) -> list[Float[Tensor, "b c h w"]]:
        """What the teacher would say of the images without damage, fine to coarse."""
        maps = self.bottom(self.encoder(images)[-1])
        restored = []
        for stage, grid in zip(self.decoder, self.grids, strict=True):
            maps = stage(F.interpolate(maps, grid, mode="bilinear", align_corners=False))
            restored.append(maps)
        return restored[::-1]


class Head(nn.Module):
    """Dilated convolutions side by side with the mean over the image, then a logit.

    Args:
        width: Of everything in it.
        dilations: Of the convolutions side by side.
    """

    def __init__(self, width: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.mean = _normalised(nn.Conv2d(width, width, 1, bias=False))
        self.dilated = nn.ModuleList(
            _normalised(nn.Conv2d(width, width, 3, padding=far, dilation=far, bias=False)) for far in dilations
        )
        self.fusion = _normalised(nn.Conv2d((1 + len(dilations)) * width, width, 3, padding=1, bias=False))
        self.hidden = _normalised(nn.Conv2d(width, width, 3, padding=1, bias=False))
        self.logit = nn.Conv2d(width, 1, 1)

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
        """Logit at every place."""
        mean = self.mean(maps.mean(dim=(2, 3), keepdim=True)).expand_as(maps)
        beside = torch.cat([mean, *(convolution(maps) for convolution in self.dilated)], dim=1)
        logits: Tensor = self.logit(self.hidden(self.fusion(beside)))
        return logits


class Segmenter(nn.Module):
    """Tells from how far teacher and student agree where an image is damaged.

    Args:
        channels: Of all stages together.
        width: Of everything in it.
        dilations: Of its head.
    """

    def __init__(self, channels: int, width: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.residual = residual_stage(channels, width)
        self.head = Head(width, dilations)

    def forward(self, agreement: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
        """Logit of being anomalous at every place."""
        logits: Tensor = self.head(self.residual(agreement))
        return logits


class DeStSeg(SteppingDetector):
    """Frozen teacher, student that removes damage, segmenter.

    Args:
        config: Architecture, damage, losses and scoring.

    Raises:
        ConfigError: The encoder is no CNN or has no stage below those that are read, or the image is too small for it.
        CheckpointError: The encoder's weights cannot be had.
    """

    settings = DeStSegConfig

    def __init__(self, config: DeStSegConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_pyramid(config.encoder, config.resize_px)
        self.fingerprint = self.encoder.fingerprint
        self.preprocessing = Preprocessing(
            resize_px=config.resize_px, crop_px=config.resize_px, mean=self.encoder.mean, std=self.encoder.std
        )
        # Its first weights come from the global random state, which the run has seeded, as those of all else here.
        untrained = dataclasses.replace(
            config.encoder.with_random_weights(),
            tap_layers=(coarser_stage(config.encoder, self.encoder.tap_layers),),
            seed=int(torch.randint(2**31, (1,))),
        )
        bottom = build_pyramid(untrained, config.resize_px)
        channels, grids = self.encoder.channels[::-1], self.encoder.grids[::-1]
        self.student = Student(bottom.network, (*bottom.channels, *channels), grids)
        self.segmenter = Segmenter(sum(channels), config.segmenter_width, config.dilations)
        self.synthesis = Synthesis(config.synthesis)
        self.map_head = GridHead(grids=("anomaly",), input_px=config.resize_px, top_pixels=config.top_pixels)

    @property
    def student_steps(self) -> int:
        """Steps of the first phase: at least one."""
        return max(1, round(self.config.student_share * self.total_steps))

    def parameter_groups(self) -> list[ParameterGroup]:
        """The student learns in the first phase; the segmenter, its first stage and the rest, in the second."""
        student: ParameterGroup = {
            "name": "student",
            "params": list(self.student.parameters()),
            "learns": lambda step: step < self.student_steps,
        }
        parts = (
            ("segmenter residual", self.segmenter.residual, self.config.residual_lr_factor),
            ("segmenter head", self.segmenter.head, self.config.head_lr_factor),
        )
        segmenter: list[ParameterGroup] = [
            {
                "name": name,
                "params": list(part.parameters()),
                "lr_factor": factor,
                "learns": lambda step: step >= self.student_steps,
            }
            for name, part, factor in parts
        ]
        return [student, *segmenter]

    def trainable_state(self) -> dict[str, Tensor]:
        """Student and segmenter, with the running statistics of their batch norms."""
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("encoder.")}

    def directions(self, images: Float[Tensor, "b 3 H W"], *, of_student: bool) -> list[Float[Tensor, "b c h w"]]:
        """Features of every stage at unit length, in float32, as the student or the teacher gives them."""
        stages = self.student(images) if of_student else self.encoder(images)
        return [F.normalize(stage.float(), dim=1) for stage in stages]

    # ------------------------------------------------------------------------------------------------- damage

    @torch.no_grad()
    def prepare(self, batch: Batch) -> Batch:
        """The batch damaged, with masks of the damage and the clean images beside."""
        # DEVIATION: all that is random about an image comes from its seed, not from one stream.
        mean, std = (
            torch.tensor(values, device=batch.images.device).reshape(3, 1, 1)
            for values in (self.preprocessing.mean, self.preprocessing.std)
        )
        clean = self._turn((batch.images * std + mean).clamp(0, 1), batch.seeds, batch.categories)
        made = self.synthesis(clean, batch.seeds, batch.categories)
        damaged, clean = (made.images - mean) / std, (clean - mean) / std
        return dataclasses.replace(batch, images=damaged, masks=made.masks, clean=clean)

    def _turn(
        self, images: Float[Tensor, "b 3 H W"], seeds: Sequence[int], categories: Sequence[str]
    ) -> Float[Tensor, "b 3 H W"]:
        """Images of some categories turned at random, grey where they then show nothing."""
        config, degrees = self.config, []
        for seed, category in zip(seeds, categories, strict=True):
            generator = torch.Generator().manual_seed(seed ^ _TURN_STREAM)
            quarters = int(torch.randint(4, (1,), generator=generator)) if category in config.quarter_turned else 0
            lot = float(torch.rand(1, generator=generator)) if category in config.slightly_turned else 0.5
            degrees.append(90.0 * quarters + config.turn_degrees * (2 * lot - 1))
        turned = [number for number, angle in enumerate(degrees) if angle]
        if not turned:
            return images
        where = torch.tensor(turned, device=images.device)
        angles = torch.tensor([degrees[number] for number in turned])
        return images.index_copy(0, where, rotate(images[where] - _FILL, angles) + _FILL)

    # ------------------------------------------------------------------------------------------------- losses

    def forward(self, batch: Batch, step: int) -> Losses:
        """The loss of the phase: the student's cosine, or focal and L1 of the segmenter."""
        if batch.masks is None or batch.clean is None:
            raise ConfigError("batch must be damaged, got one without masks. Call prepare first.")
        first = step < self.student_steps
        self.student.train(first)
        self.segmenter.train(not first)
        if first:
            cosine = self.cosine_loss(batch.clean, batch.images)
            return Losses(total=self.config.cosine_weight * cosine, terms={"cosine": cosine.detach()})
        focal, absolute = self.segmentation_losses(batch.images, batch.masks)
        return Losses(total=focal + absolute, terms={"focal": focal.detach(), "l1": absolute.detach()})

    def cosine_loss(self, clean: Float[Tensor, "b 3 H W"], damaged: Float[Tensor, "b 3 H W"]) -> Float[Tensor, ""]:
        """1 - cosine between the teacher's features of clean images and the student's of damaged ones.

        Summed over stages, and the mean over places and images of each.
        """
        pairs = zip(self.directions(clean, of_student=False), self.directions(damaged, of_student=True), strict=True)
        return torch.stack([(1 - (wanted * given).sum(dim=1)).mean() for wanted, given in pairs]).sum()

    def segmentation_losses(
        self, damaged: Float[Tensor, "b 3 H W"], masks: Float[Tensor, "b 1 H W"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Focal and L1 loss at the size of the finest stage, where a place is damaged if half of it is."""
        logits = self.segment(damaged)
        smaller = F.interpolate(masks, logits.shape[2:], mode="bilinear", align_corners=False)
        truth = (smaller >= 0.5).to(logits.dtype)
        return focal_entropy(logits, truth, self.config.focal_gamma), F.l1_loss(logits.sigmoid(), truth)

    def segment(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b 1 h w"]:
        """Logit of being anomalous at every place of the finest stage, in float32; the student gets no gradient."""
        with torch.no_grad():
            taught = self.directions(images, of_student=False)
            agreement = _at_one_size(
                [
                    -wanted * given
                    for wanted, given in zip(taught, self.directions(images, of_student=True), strict=True)
                ]
            )
        logits: Tensor = self.segmenter(agreement)
        return logits.float()

    # ------------------------------------------------------------------------------- anomaly map and score

    @torch.no_grad()
    def measure(self, images: Float[Tensor, "b 3 H W"]) -> dict[str, Tensor]:
        """Probability of being anomalous, or distance of student and teacher, at every place of the finest stage."""
        if self.config.map_of == "distance":
            return {"anomaly": self.distance(images)}
        return {"anomaly": self.segment(images).sigmoid()[:, 0]}

    def distance(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b h w"]:
        """1 - cosine between what teacher and student say of the same images, multiplied over stages."""
        pairs = zip(self.directions(images, of_student=False), self.directions(images, of_student=True), strict=True)
        return _at_one_size([1 - (one * other).sum(dim=1, keepdim=True) for one, other in pairs]).prod(dim=1)


def coarser_stage(encoder: EncoderConfig, stages: Sequence[int]) -> int:
    """The last stage of a CNN with the next coarser stride after these.

    Raises:
        ConfigError: They are the coarsest already.
    """
    family = encoder.family()
    strides = family.strides if isinstance(family, PyramidFamily) else ()
    coarser = [stride for stride in strides if stride > strides[stages[-1]]]
    if not coarser:
        msg = f"detector.encoder.tap_layers must leave a coarser stage of {encoder.name} for the student, "
        raise ConfigError(f"{msg}got {list(stages)}. Leave out the last.")
    return max(stage for stage, stride in enumerate(strides) if stride == coarser[0])


def _at_one_size(stages: Sequence[Float[Tensor, "b _ _ _"]]) -> Float[Tensor, "b c h w"]:
    """Maps at the size of the first, one behind the other."""
    size = stages[0].shape[2:]
    return torch.cat([F.interpolate(stage, size, mode="bilinear", align_corners=False) for stage in stages], dim=1)


def _normalised(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU())
