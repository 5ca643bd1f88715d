"""Remembered features of every product, the limit learned from them, and their two files."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import tomli_w
import torch
from safetensors import SafetensorError

from muad.checkpoint import write_text
from muad.errors import CheckpointError
from muad.metrics.conformal import images_needed, p_values
from muad.recognition.features import ENCODER
from muad.run_schema import ProductsFacts, check
from muad.tensor_files import read_whole_tensors, write_tensors

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import Float

UNKNOWN_PRODUCT: Final = "unknown product"
"""What a photograph is recognised as that resembles no trained category."""
UNKNOWN_RATE = 0.005
"""Share of good photographs of trained products that may be called unknown, unless `products.toml` says otherwise."""
TENSORS_FILE, FACTS_FILE = "products.safetensors", "products.toml"
_FORMAT_VERSION = 1
_NEIGHBOURS = 3
_COARSEST_RATE = 0.05  # a limit that calls more good photographs unknown than this helps nobody
_LEAST_DEVIATION = 0.1  # of a category's distances, as a share of their mean: few photographs show too little of it
_EXPLANATION = """\
# What this run recognises products by. unknown_rate may be edited and holds from the next start on: the share of good
# photographs of trained products that may be called "unknown product". 0: nothing is.
"""
_RELEARN = "Delete both files to do without, or learn them again with muad.learn_products."


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognition:
    """What one photograph shows.

    Attributes:
        nearest: The trained category it resembles most.
        p_value: Share of the remembered photographs that lie at least as far from the others of their category, itself
            counted as one: small for what is unlike all of them.
        is_unknown: Whether the p-value is at most the rate in force.
    """

    nearest: str
    p_value: float
    is_unknown: bool

    @property
    def category(self) -> str:
        """The nearest category, or `unknown product`."""
        return UNKNOWN_PRODUCT if self.is_unknown else self.nearest


class Products:
    """Remembered photographs of every category, and how far good ones lie from the others of theirs.

    A distance is the mean Euclidean one to the three nearest remembered features, each feature divided by its deviation
    within categories. It is then counted in deviations from the mean of what is usual in that category, so that the
    photographs of all categories set one limit together: with few of each, none could set its own.

    Args:
        features: By category, of at least two images each; in several copies (turned, darker, brighter), the first of
            which is the image as it is.
        unknown_rate: Share of good photographs that may be called unknown; 0 calls none so.

    Attributes:
        features: By category, names sorted.
        asked_rate: As given.
        calibration: Distances of the remembered images to the others of their category, rising.
        rate: The rate in force: the one asked for or, with fewer images than that needs, the least they support,
            1 / (images + 1). 0 where that is above 5 %, and where none is wanted.

    Raises:
        CheckpointError: No category, too few images of one, or a rate out of range.
    """

    def __init__(
        self, features: Mapping[str, Float[np.ndarray, "n copies d"]], unknown_rate: float = UNKNOWN_RATE
    ) -> None:
        if not isinstance(unknown_rate, (int, float)) or not 0 <= unknown_rate <= _COARSEST_RATE:
            raise CheckpointError(
                f"unknown_rate in {FACTS_FILE} must be from 0 to {_COARSEST_RATE}, got {unknown_rate!r}."
            )
        few = [name for name, images in features.items() if len(images) < 2]
        if few or not features:
            raise CheckpointError(f"products must have at least 2 images each, got fewer of {', '.join(few) or 'all'}.")
        self.features = {name: features[name].astype(np.float32) for name in sorted(features)}
        self.asked_rate = unknown_rate
        within = [images - images.mean(axis=(0, 1)) for images in self.features.values()]
        self._scale = np.maximum(np.concatenate(within).std(axis=(0, 1)), 1e-6)
        self._remembered = [images / self._scale for images in self.features.values()]
        own = [_distances_to_others(images) for images in self._remembered]
        self._mean, self._deviation = np.array([_usual(each) for each in own]).T
        # Each counted by what is usual among the others, because a new photograph has no part in it either.
        usual = [
            (each[place] - mean) / deviation
            for each in own
            for place, (mean, deviation) in enumerate(_usual_without(each))
        ]
        self.calibration: Float[np.ndarray, " n"] = np.sort(usual)
        supported = max(unknown_rate, 1 / (len(self.calibration) + 1))
        self.rate = supported if unknown_rate > 0 and supported <= _COARSEST_RATE else 0.0

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the categories, sorted."""
        return tuple(self.features)

    def recognise(self, features: Float[np.ndarray, "b d"]) -> list[Recognition]:
        """What images with these features show."""
        given = features / self._scale
        columns = [_nearest(given, images.reshape(-1, images.shape[-1])) for images in self._remembered]
        distances = (np.stack(columns, axis=1) - self._mean) / self._deviation
        nearest = [self.categories[place] for place in distances.argmin(axis=1)]
        usual = p_values(distances.min(axis=1), self.calibration).tolist()
        return [
            Recognition(nearest=name, p_value=p_value, is_unknown=p_value <= self.rate)
            for name, p_value in zip(nearest, usual, strict=True)
        ]

    def describe(self) -> str:
        """One sentence on what is promised, and what is missing for the rate asked for."""
        count = len(self.calibration)
        said = f"products: {len(self.features)} categories are recognised from {count} good images"
        if not self.asked_rate:
            return f"{said}, none is called unknown"
        if not self.rate:
            return f"{said}, none is called unknown: that needs {images_needed(_COARSEST_RATE)} images"
        said += f", at most {100 * self.rate:.2g} % of images like them are called unknown"
        needed = images_needed(self.asked_rate)
        return said if count >= needed else f"{said} ({100 * self.asked_rate:.2g} % needs {needed - count} images more)"

    def save(self, run: Path, fingerprint: str) -> None:
        """Write both files into a run folder; the readable one last, because a run that has it recognises.

        Raises:
            CheckpointError: The disk is full or the folder not writable.
        """
        draft = run / f"{TENSORS_FILE}.partial"
        try:
            digest = write_tensors({name: torch.from_numpy(own).half() for name, own in self.features.items()}, draft)
            draft.replace(run / TENSORS_FILE)
        except (OSError, SafetensorError) as error:
            draft.unlink(missing_ok=True)
            raise CheckpointError(f"{TENSORS_FILE} must be writable in {run}, got {error}. Free disk space.") from None
        facts = {
            "unknown_rate": self.asked_rate,
            "format_version": _FORMAT_VERSION,
            "encoder": ENCODER,
            "encoder_fingerprint": fingerprint,
            "tensors_digest": digest,
            "images": {name: len(images) for name, images in self.features.items()},
        }
        write_text(run / FACTS_FILE, _EXPLANATION + tomli_w.dumps(facts))

    @classmethod
    def load(cls, run: Path, fingerprint: str) -> Self:
        """The products of a run folder.

        Args:
            run: Run folder with both files.
            fingerprint: Of the encoder at hand.

        Raises:
            CheckpointError: A file cannot be read, a rate is out of range, or they were learned with another encoder.
        """
        path = run / FACTS_FILE
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{FACTS_FILE} must be readable, got {path} ({error}). {_RELEARN}") from None
        facts = check(path, values, ProductsFacts, _RELEARN)
        tensors = read_whole_tensors(run / TENSORS_FILE, facts.tensors_digest, _RELEARN)
        features = {name: tensor.float().numpy() for name, tensor in tensors.items()}
        learned, rate = facts.encoder_fingerprint, facts.unknown_rate
        if learned != fingerprint:
            raise CheckpointError(
                f"products must be learned with this release's {ENCODER} ({fingerprint[:12]}), got {learned[:12]} in "
                f"{run / FACTS_FILE}. {_RELEARN}"
            )
        return cls(features, rate)


def _distances_to_others(images: Float[np.ndarray, "n copies d"]) -> Float[np.ndarray, " n"]:
    """Of every image as it is to all copies of the others."""
    count = len(images)
    each = [
        _nearest(images[place, :1], np.delete(images, place, 0).reshape(-1, images.shape[-1])) for place in range(count)
    ]
    return np.concatenate(each)


def _nearest(given: Float[np.ndarray, "b d"], remembered: Float[np.ndarray, "m d"]) -> Float[np.ndarray, " b"]:
    """Mean Euclidean distance to the nearest three."""
    squared = (given**2).sum(1)[:, None] + (remembered**2).sum(1) - 2 * given @ remembered.T
    count = min(_NEIGHBOURS, len(remembered))
    nearest = np.partition(squared, count - 1, axis=1)[:, :count]
    return np.asarray(np.sqrt(np.maximum(nearest, 0)).mean(axis=1))


def _usual(distances: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Mean and deviation of what is usual, neither of them nothing."""
    mean = max(float(distances.mean()), 1e-6)
    return mean, max(float(distances.std()), _LEAST_DEVIATION * mean)


def _usual_without(distances: Float[np.ndarray, " n"]) -> list[tuple[float, float]]:
    """The same without each of them in turn."""
    return [_usual(np.delete(distances, place)) for place in range(len(distances))]
