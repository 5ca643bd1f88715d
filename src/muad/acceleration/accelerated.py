"""A detector made fast: folded, in the chosen precision and runtime, first held against itself in float32."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import torch

from muad.acceleration.backends import Backend, OnnxBackend, OpenVinoBackend, PlainBackend, Precision, TorchBackend
from muad.acceleration.deviation import (
    MAX_MAP_PART,
    MAX_SCORE_PART,
    SHIFT_PART,
    Compared,
    Judgement,
    Scale,
    compared,
    from_json,
    judge,
    to_json,
)
from muad.acceleration.exports import content_key, export_folder, export_int8, export_onnx, require_package
from muad.acceleration.folding import FoldedDinomaly, why_not_foldable
from muad.acceleration.postprocess import MapMaker
from muad.detectors import Detector, Dinomaly
from muad.detectors.torch_scorer import TorchScorer
from muad.detectors.types import Prediction
from muad.device import describe_device, has_fast_bf16
from muad.errors import ConfigError
from muad.runtime.computing import BACKENDS, Acceleration, BackendName

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import Bool, Float
    from torch import Tensor

    from muad.images.preprocessing import Preprocessing
    from muad.runtime.views import Scorer

    Comparison = Callable[[Scorer, Scorer], Sequence[Compared]]
    """Images of the run computed by the detector and by its fast version; none where there are none."""

MAX_FP32_DEVIATION = 1e-5
"""Largest difference of a map in fp32, where only the order of additions is another; the rest is `deviation`'s."""
_CHECK_IMAGES = 4


class _FastScorer(TorchScorer):
    """A backend with the detector's maps and scores."""

    def __init__(
        self, backend: Backend, map_maker: MapMaker, preprocessing: Preprocessing, device: torch.device
    ) -> None:
        self.preprocessing, self._device = preprocessing, device
        self.backend, self._map_maker = backend, map_maker

    @property
    def device(self) -> torch.device:
        return self._device

    def predict(self, images: Float[Tensor, "b 3 H W"]) -> Prediction:
        grid = self.backend(images)
        maps = self._map_maker.maps(grid)
        return Prediction(anomaly_map=maps, score=self._map_maker.scores(maps), grid=grid)

    def score(self, maps: Float[Tensor, "b h w"], inspected: Bool[Tensor, "b h w"]) -> Float[Tensor, " b"]:
        return self._map_maker.partial_scores(maps, inspected)


class AcceleratedDetector(TorchScorer):
    """A trained detector's `predict`, faster.

    When the first images come, the backend is compared with the detector in float32, and refused where it is too far
    off: in fp32 by the maps of these images, in lower precisions by good images of the run and by its own limits
    (`deviation`). What was found is kept and not computed again.

    Args:
        detector: Trained, on the device to compute on.
        options: Backend and precision.
        folder: Where exported networks and the results of checks are kept (beside the run), or None to keep none.
        batch_size: How many images usually come together.
        calibration: Gives normal images for int8; without it, the first images predicted are used.
        comparison: Computes good images of the run both ways; without it, or where it gives none, the first images
            predicted are used.
        scales: Gives what differences are measured by, as the limits are now; without it, the images' own spread.
        note: Called with sentences the user should see.

    Attributes:
        preprocessing: The detector's.
        deviation: Largest deviation found from the float32 map; None until the first images, or if not computed anew.
        judgement: What was found in a lower precision; None until the first images, and in fp32.

    Raises:
        ConfigError: The backend does not go with the device or the detector, or is not installed.
    """

    def __init__(
        self,
        detector: Dinomaly,
        options: Acceleration,
        *,
        folder: Path | None = None,
        batch_size: int = 16,
        calibration: Callable[[], Float[Tensor, "b 3 H W"]] | None = None,
        comparison: Comparison | None = None,
        scales: Callable[[], Mapping[str | None, Scale]] = dict,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.preprocessing = detector.preprocessing
        self._device = next(detector.parameters()).device
        self.deviation: float | None = None
        self.judgement: Judgement | None = None
        self._detector: Dinomaly | None = detector
        self._backend: Backend | None = None
        self._options, self._folder, self._batch_size = options, folder, batch_size
        self._calibration, self._comparison, self._scales, self._note = calibration, comparison, scales, note
        self._map_maker = MapMaker(detector)
        _require_fit(detector, options, self.device)

    @property
    def device(self) -> torch.device:
        """Where images must be."""
        return self._device

    @torch.no_grad()
    def predict(self, images: Float[Tensor, "b 3 H W"]) -> Prediction:
        """Anomaly maps and scores, as the detector's own within the limit."""
        grid = self.distance_map(images)
        maps = self.expand(grid)
        return Prediction(anomaly_map=maps, score=self._map_maker.scores(maps), grid=grid)

    def score(self, maps: Float[Tensor, "b h w"], inspected: Bool[Tensor, "b h w"]) -> Float[Tensor, " b"]:
        """Scores from the inspected part of maps."""
        return self._map_maker.partial_scores(maps, inspected)

    def distance_map(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b h w"]:
        """Distance at every patch."""
        if self._backend is None:
            self._backend = self._choose(images)
            self._detector = None  # its weights are in the backend now
        return self._backend(images)

    def expand(self, grids: Float[Tensor, "b h w"]) -> Float[Tensor, "b H W"]:
        """Anomaly maps from patch distances."""
        return self._map_maker.maps(grids)

    def _choose(self, images: Float[Tensor, "b 3 H W"]) -> Backend:
        """The backend of the chosen precision, or with `auto` the first that keeps the limit."""
        detector, options = self._detector, self._options
        if detector is None:
            raise RuntimeError("the backend is built once")
        reason = why_not_foldable(detector)
        if reason is not None:
            self._note(f"the network runs as it is, not folded, because {reason}")
        if options.precision != "auto":
            return self._checked(detector, options.precision, images)
        lower: Precision = "bf16" if "bf16" in BACKENDS[options.backend] and has_fast_bf16(self.device) else "fp32"
        try:
            return self._checked(detector, lower, images)
        except DeviationError as error:
            if lower == "fp32":
                raise
            self._note(f"computing in fp32, because {error}")
            return self._checked(detector, "fp32", images)

    def _checked(self, detector: Dinomaly, precision: Precision, images: Float[Tensor, "b 3 H W"]) -> Backend:
        """A backend that was compared with the detector, now or earlier on this machine."""
        key = content_key(detector)
        name = self._options.backend
        with export_folder(self._folder, key) as folder:
            record = folder / f"check-{name}-{precision}-{_circumstances(name, self.device, self._options)}.json"
            seen = _read_check(record)
            if seen is not None:
                self._require_close(seen, precision, anew=False)
            backend = self._build(detector, precision, images, folder)
            if seen is not None:
                return backend
            fast = _FastScorer(backend, self._map_maker, self.preprocessing, self.device)
            seen = [] if precision == "fp32" or self._comparison is None else [*self._comparison(detector, fast)]
            seen = seen or _compare(detector, fast, images[:_CHECK_IMAGES])
            if self._folder is not None:
                with suppress(OSError):  # a run on a read-only disk is checked each time
                    folder.mkdir(parents=True, exist_ok=True)
                    record.write_text(json.dumps({"images": to_json(seen)}), encoding="utf-8")
            self.deviation = max(image.map_deviation for image in seen)
            self._require_close(seen, precision, anew=True)
        return backend

    def _require_close(self, seen: Sequence[Compared], precision: Precision, *, anew: bool) -> None:
        """Refuse what is too far off; say, once, where scores are moved as a whole.

        Raises:
            DeviationError: The backend may not be used.
        """
        judgement = judge(seen, self._scales())
        name = self._options.backend
        if precision == "fp32":
            if not judgement.map_deviation <= MAX_FP32_DEVIATION:
                raise DeviationError(
                    f"map of backend {name} in fp32 must be within {MAX_FP32_DEVIATION:.0e} of the detector's, got "
                    f"{judgement.map_deviation:.1e} on {judgement.count} images. Use backend torch."
                )
            return
        self.judgement = judgement
        if not judgement.accepted:
            lower = "bf16 or fp32" if precision == "int8" else "fp32"
            raise DeviationError(
                f"backend {name} in {precision} must keep good images' scores within {MAX_SCORE_PART:.0%} and maps "
                f"within {MAX_MAP_PART:.0%} of the way to their limit, and every verdict, got {judgement}. "
                f"Use precision {lower}."
            )
        if anew and abs(judgement.shift) > SHIFT_PART:
            self._note(
                f"scores of backend {name} in {precision} are off by {judgement.shift:+.1%} of the way to the limit on "
                f"median ({judgement.shifted or 'all images'}). For limits of its own, run: muad calibrate RUN "
                f"GOOD_IMAGES --backend {name} --precision {precision}"
            )

    def _build(
        self, detector: Dinomaly, precision: Precision, images: Float[Tensor, "b 3 H W"], folder: Path
    ) -> Backend:
        options = self._options
        if why_not_foldable(detector) is not None:
            return PlainBackend(detector, precision)
        runtime = options.backend
        if runtime == "auto" or runtime == "torch":  # noqa: PLR1714  mypy narrows no membership
            folded = FoldedDinomaly(detector, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
            return TorchBackend(folded, compiled_batch=self._batch_size if options.compile else None)
        folded = FoldedDinomaly(detector)
        file = export_onnx(folded, folder)
        stem = file.with_name("stem.onnx")
        if precision == "int8":
            file = export_int8(file, folded, self._calibration or (lambda: images), runtime)
        if runtime == "onnx":
            return OnnxBackend(stem, file, precision, folded.grid)
        return OpenVinoBackend(stem, file, precision, folded.grid, batch_size=self._batch_size)


class DeviationError(ConfigError):
    """A backend is further from the detector in float32 than it may be."""


def _require_fit(detector: Detector, options: Acceleration, device: torch.device) -> None:
    """Refuse a runtime that cannot run this detector here, before any image is read."""
    name = options.backend
    if name == "torch":
        return
    if device.type != "cpu":
        raise ConfigError(f"backend must be torch on {device.type}, got {name}. Use it with device cpu.")
    reason = why_not_foldable(detector)
    if reason is not None:
        raise ConfigError(f"backend must be torch for this detector, because {reason}, got {name}.")
    require_package("openvino" if name == "openvino" else "onnxruntime", name)
    require_package("onnxscript", name)


def _compare(detector: Dinomaly, fast: _FastScorer, images: Float[Tensor, "b 3 H W"]) -> list[Compared]:
    """Images that come as they are, of nobody knows which category, computed both ways."""
    pairs = []
    for prediction in (detector.predict(images), fast.predict(images)):
        maps, scores = prediction.anomaly_map.float().cpu().numpy(), prediction.score.float().cpu().tolist()
        pairs.append(list(zip(scores, maps, strict=True)))
    return [compared(None, expected, found) for expected, found in zip(*pairs, strict=True)]


def _read_check(record: Path) -> list[Compared] | None:
    """What an earlier check found; None if there was none, or its file is of no use."""
    try:
        return from_json(json.loads(record.read_text(encoding="utf-8"))["images"]) or None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _circumstances(name: BackendName, device: torch.device, options: Acceleration) -> str:
    """What a check's result depends on besides network and precision: processor, versions, compilation."""
    packages = {"torch": ("torch",), "openvino": ("openvino", "nncf"), "onnx": ("onnxruntime", "nncf")}[name]
    versions = [_version_of(package) for package in packages]
    facts = (describe_device(device), platform.machine(), versions, options.compile)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:8]


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
