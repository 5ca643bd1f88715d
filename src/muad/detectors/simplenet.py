"""SimpleNet: a small discriminator tells features of normal patches from the same with a little noise on them.

In reading order: configuration, network, loss, anomaly map and score. A frozen CNN gives patch features; one linear
layer adapts them to the images at hand; Gaussian noise on top of them makes examples of what is not normal; two layers
learn to tell the two apart, and what they find abnormal in an image is anomalous.

Liu et al., SimpleNet: A Simple Network for Image Anomaly Detection and Localization, CVPR 2023, arXiv:2303.15140;
official code DonaldRR/SimpleNet (MIT), written anew here. Names:

| here | official code | paper |
|---|---|---|
| `encode`, `patches` | `_embed`, `PatchMaker`, `Aggregator` | feature extractor |
| `projection` | `pre_projection` | feature adaptor |
| `noise_std` | `noise_std` | sigma of the anomalous feature generator |
| `discriminator` | `discriminator` | discriminator |
| `margin` | `dsc_margin` | th+, -th- |

Departures from it are listed in docs/fidelity.md. Read next: nn/patches.py, encoders/pyramids.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from muad.detectors.base import DetectorConfig, SteppingDetector
from muad.detectors.types import Losses
from muad.encoders.encoder import EncoderConfig
from muad.encoders.packages import installed_cnn
from muad.encoders.pyramids import build_pyramid, reading_strides
from muad.errors import require_setting, require_sides
from muad.images.preprocessing import Preprocessing
from muad.nn.patches import embed_patches
from muad.runtime.heads import GridHead

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from muad.detectors.base import ParameterGroup
    from muad.detectors.types import Batch, Features

_NOISE_STREAM = 0x6A09E667
_STRIDES = (8, 16)
_SLOPE = 0.2
_require = partial(require_setting, "detector")


# ------------------------------------------------------------------------------------------------ configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class SimpleNetConfig(DetectorConfig):
    """Everything the authors vary. The defaults are theirs for MVTec AD, one detector per category.

    Attributes:
        name: Which detector this configures.
        encoder: The frozen CNN; unless said otherwise its stages of strides 8 and 16 are read.
        resize_px: Height and width images are resized to.
        crop_px: Height and width of the centre that is kept; what lies outside is never inspected.
        neighbourhood: Side of the window of places around each that its feature is made of, odd.
        stage_width: To which the channels of each stage are averaged.
        width: To which the stages side by side are averaged.
        projection_layers: Linear layers of the adaptor, with nothing between them.
        projection_lr_factor: Learning rate of the adaptor as a multiple of the discriminator's.
        projection_weight_decay: Of the adaptor, decoupled; the discriminator's is `optim.weight_decay`.
        hidden: Width of the discriminator's hidden layers.
        discriminator_layers: Its layers, the last one included.
        noise_std: Deviation of the noise on adapted features.
        margin: To either side of 0, beyond which a patch told right costs nothing.
        blur_sigma_px: Width of the Gaussian the map is smoothed with, at the size of the input; 0 for none.
    """

    name: Literal["simplenet"] = "simplenet"
    encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig(name="wide_resnet50_2"))
    resize_px: tuple[int, int] = (329, 329)
    crop_px: tuple[int, int] = (288, 288)
    neighbourhood: int = 3
    stage_width: int = 1536
    width: int = 1536
    projection_layers: int = 1
    projection_lr_factor: float = 0.5
    projection_weight_decay: float = 0.01
    hidden: int = 1024
    discriminator_layers: int = 2
    noise_std: float = 0.015
    margin: float = 0.5
    blur_sigma_px: float = 4.0

    def __post_init__(self) -> None:
        require_sides("detector", "resize_px", self.resize_px)
        require_sides("detector", "crop_px", self.crop_px)
        Preprocessing(resize_px=self.resize_px, crop_px=self.crop_px)
        size = self.neighbourhood
        _require(1 <= size <= 99 and size % 2 == 1, "neighbourhood", "an odd number from 1 to 99", size)
        for name in ("stage_width", "width", "hidden"):
            _require(1 <= getattr(self, name) <= 65_536, name, "from 1 to 65536", getattr(self, name))
        for name, least in (("projection_layers", 0), ("discriminator_layers", 1)):
            _require(least <= getattr(self, name) <= 64, name, f"from {least} to 64", getattr(self, name))
        factor, decay = self.projection_lr_factor, self.projection_weight_decay
        _require(0 < factor <= 1000, "projection_lr_factor", "above 0 and at most 1000", factor)
        _require(0 <= decay <= 100, "projection_weight_decay", "from 0 to 100", decay)
        _require(0 < self.noise_std <= 1e3, "noise_std", "above 0 and at most 1000", self.noise_std)
        _require(0 <= self.margin <= 1e3, "margin", "from 0 to 1000", self.margin)
        _require(0 <= self.blur_sigma_px <= 100, "blur_sigma_px", "from 0 to 100", self.blur_sigma_px)

    @classmethod
    def suggest(cls, images: int, device: str) -> Mapping[str, Any]:
        """The authors' optimizers at a length that suits the data, with nothing cropped away; narrower on a CPU."""
        # Theirs is 160 looks at each image of one category.
        most = 20_000 if device == "cuda" else 800
        steps = min(most, max(200, round(images * 40 / 8 / 100) * 100))
        side = 288 if device == "cuda" else 224
        chosen: dict[str, Any] = {"resize_px": [side, side], "crop_px": [side, side]}
        if device != "cuda":
            chosen |= {"stage_width": 384, "width": 384, "hidden": 256}
        if encoder := installed_cnn():
            chosen["encoder"] = {"name": encoder}
        return {
            "detector": chosen,
            "optim": {
                "kind": "adam", "lr": 2e-4, "eps": 1e-8, "weight_decay": 1e-5, "amsgrad": False, "clip_norm": 0.0,
            },
            "schedule": {"kind": "constant", "total_steps": steps, "warmup_steps": 0},
            "training": {"batch_size": 8, "save_every_steps": max(50, steps // 10)},
        }  # fmt: skip


# ------------------------------------------------------------------------------------------------------ network


class SimpleNet(SteppingDetector):
    """Frozen encoder, linear adaptor, discriminator.

    Args:
        config: Architecture, loss and scoring.

    Raises:
        ConfigError: The encoder is no CNN, or the image is too small for it.
        CheckpointError: The encoder's weights cannot be had.
    """

    settings = SimpleNetConfig

    def __init__(self, config: SimpleNetConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_pyramid(reading_strides(config.encoder, _STRIDES), config.crop_px)
        self.encoder.fold()
        self.fingerprint = self.encoder.fingerprint
        self.preprocessing = Preprocessing(
            resize_px=config.resize_px, crop_px=config.crop_px, mean=self.encoder.mean, std=self.encoder.std
        )
        self.encoding = f"stages {self.encoder.tap_layers}"
        self.map_head = GridHead(
            grids=("anomaly",),
            input_px=config.crop_px,
            blur_sigma_px=config.blur_sigma_px,
            blur="reflected",
            score_grid=self.encoder.grids[0],
        )
        width, hidden = config.width, config.hidden
        self.projection = nn.Sequential(*(nn.Linear(width, width) for _ in range(config.projection_layers)))
        inputs = [width, *[hidden] * (config.discriminator_layers - 1)]
        blocks = [
            nn.Sequential(nn.Linear(inside, hidden), nn.BatchNorm1d(hidden), nn.LeakyReLU(_SLOPE))
            for inside in inputs[:-1]
        ]
        self.discriminator = nn.Sequential(*blocks, nn.Linear(inputs[-1], 1, bias=False))
        for module in (*self.projection.modules(), *self.discriminator.modules()):
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)

    def parameter_groups(self) -> list[ParameterGroup]:
        """The discriminator by the run's optimizer, Adam, and the adaptor by AdamW, in one step after one loss."""
        discriminator: ParameterGroup = {"name": "discriminator", "params": list(self.discriminator.parameters())}
        projection: ParameterGroup = {
            "name": "projection",
            "params": list(self.projection.parameters()),
            "optimizer": "adamw",
            "lr_factor": self.config.projection_lr_factor,
            "weight_decay": self.config.projection_weight_decay,
        }
        return [discriminator, projection] if projection["params"] else [discriminator]

    def trainable_state(self) -> dict[str, Tensor]:
        """Adaptor and discriminator, with the running statistics of its batch norm."""
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("encoder.")}

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "b 3 H W"]) -> Features:
        """Maps of the tapped stages: less to keep than the patches made of them."""
        return tuple(self.encoder(images))

    def patches(self, features: Features) -> Float[Tensor, "b n d"]:
        """Locally aware features of every patch, before the adaptor."""
        stages = (features,) if isinstance(features, torch.Tensor) else features
        config = self.config
        return embed_patches(
            stages, stage_width=config.stage_width, width=config.width, neighbourhood=config.neighbourhood
        )

    def discriminate(self, adapted: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """High for what is normal."""
        scores: Tensor = self.discriminator(adapted)
        return scores[:, 0]

    # -------------------------------------------------------------------------------------------------- loss

    def forward(self, batch: Batch, step: int) -> Losses:  # noqa: ARG002  nothing here changes over the run
        """Hinge loss of normal patches and of the same with noise."""
        features = self.encode(batch.images) if batch.features is None else batch.features
        patches = self.patches(features)
        return self.learn(patches, self.draw_noise(patches, batch.seeds))

    def draw_noise(self, patches: Float[Tensor, "b n d"], seeds: Sequence[int]) -> Float[Tensor, "b n d"]:
        """Gaussian noise, each image's from its seed."""
        # DEVIATION: from each image's seed, not from one stream, so that processes and resumes agree.
        noise = torch.empty_like(patches)
        for image, seed in zip(noise, seeds, strict=True):
            generator = torch.Generator(patches.device).manual_seed(seed ^ _NOISE_STREAM)
            image.normal_(0.0, self.config.noise_std, generator=generator)
        return noise

    def learn(self, patches: Float[Tensor, "b n d"], noise: Float[Tensor, "b n d"]) -> Losses:
        """The loss with that noise on adapted patches."""
        # In bfloat16 a feature near 1 is off by up to 0.004, a good part of the noise that is to be told.
        with torch.autocast(patches.device.type, enabled=False):
            adapted: Tensor = self.projection(patches.flatten(0, 1))
            normal, noised = self.discriminate(torch.cat([adapted, adapted + noise.flatten(0, 1)])).chunk(2)
            margin = self.config.margin
            terms = {"normal": (margin - normal).relu().mean(), "noised": (margin + noised).relu().mean()}
        return Losses(
            total=terms["normal"] + terms["noised"], terms={name: term.detach() for name, term in terms.items()}
        )

    # ------------------------------------------------------------------------------- anomaly map and score

    @torch.no_grad()
    def measure(self, images: Float[Tensor, "b 3 H W"]) -> dict[str, Tensor]:
        """How little every patch looks normal to the discriminator."""
        return {"anomaly": self.judge(self.encode(images))}

    def judge(self, features: Features) -> Float[Tensor, "b h w"]:
        """The same of encoded images."""
        patches = self.patches(features)
        scores = self.discriminate(self.projection(patches.flatten(0, 1)))
        return -scores.reshape(patches.shape[0], *self.encoder.grids[0])
