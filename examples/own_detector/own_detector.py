"""A detector of your own: how unlikely is each patch, given the normal patches at its place?

    pip install ./examples/own_detector
    muad train DATA --out RUN --detector gaussian_patches

Every place of the image has a Gaussian of the features seen there in normal images; the distance from it is
Mahalanobis's. For parts that always lie alike. After Defard et al., PaDiM, ICPR 2021, arXiv:2011.08785.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from muad.detectors import DetectorConfig, FittingDetector
from muad.detectors.types import Batch
from muad.encoders.encoder import EncoderConfig, build_encoder
from muad.errors import ConfigError
from muad.images.preprocessing import Preprocessing
from muad.runtime.heads import GridHead


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianPatchesConfig(DetectorConfig):
    """The recipe's table `[detector]`.

    Attributes:
        name: Which detector this configures.
        encoder: The frozen network.
        resize_px: Height and width images are resized to.
        dimensions: How many of the features are used, drawn at random.
        ridge: Added to variances, so that few images do not make a place certain of what it has seen.
    """

    name: Literal["gaussian_patches"] = "gaussian_patches"
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    resize_px: tuple[int, int] = (224, 224)
    dimensions: int = 32
    ridge: float = 0.01

    def __post_init__(self) -> None:
        if self.dimensions < 1:
            raise ConfigError(f"detector.dimensions must be at least 1, got {self.dimensions}.")
        if self.ridge <= 0:
            raise ConfigError(f"detector.ridge must be above 0, got {self.ridge}.")


class GaussianPatches(FittingDetector):
    """Mean and inverse covariance of the features at every place."""

    settings = GaussianPatchesConfig

    def __init__(self, config: GaussianPatchesConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config.encoder, config.resize_px)
        self.fingerprint = self.encoder.fingerprint
        self.preprocessing = Preprocessing(
            resize_px=config.resize_px, crop_px=config.resize_px, mean=self.encoder.mean, std=self.encoder.std
        )
        self.map_head = GridHead(
            grids=("distance",), input_px=config.resize_px, map_px=256, blur_sigma_px=4.0, top_fraction=0.01
        )
        places, width = self.encoder.grid[0] * self.encoder.grid[1], self.encoder.width
        order = torch.randperm(width, generator=torch.Generator().manual_seed(0))
        self.chosen = order[: min(config.dimensions, width)]
        size = len(self.chosen)
        self.register_buffer("mean", torch.zeros(places, size))
        self.register_buffer("precision", torch.zeros(places, size, size))

    def encode(self, images: Tensor) -> Tensor:
        """Some features of every patch, averaged over the tapped layers."""
        tokens = torch.stack(self.encoder(images)).mean(0)[:, self.encoder.prefix_tokens :]
        return tokens[:, :, self.chosen.to(tokens.device)].float()

    def fit(self, batches: Iterable[Batch], seed: int, progress: Callable[[str, int, int], None]) -> None:
        """Sums over all images make mean and covariance."""
        count, total, squares = 0, torch.zeros_like(self.mean), torch.zeros_like(self.precision)
        for batch in batches:
            features = batch.features
            count += len(features)
            total += features.sum(0)
            squares += torch.einsum("bpi,bpj->pij", features, features)
        self.mean = total / count
        covariance = squares / count - self.mean[:, :, None] * self.mean[:, None, :]
        ridge = self.config.ridge * torch.eye(len(self.chosen), device=self.mean.device)
        self.precision = torch.linalg.inv(covariance + ridge)

    def trainable_state(self) -> dict[str, Tensor]:
        """What a checkpoint holds."""
        return {"mean": self.mean, "precision": self.precision}

    def measure(self, images: Tensor) -> dict[str, Tensor]:
        """Mahalanobis distance at every patch."""
        difference = self.encode(images) - self.mean
        squared = torch.einsum("bpi,pij,bpj->bp", difference, self.precision, difference)
        return {"distance": squared.clamp(min=0).sqrt().reshape(-1, *self.encoder.grid)}
