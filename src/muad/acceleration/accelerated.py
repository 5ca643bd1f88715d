"""A detector made fast: folded, in the chosen precision and runtime, first held against itself in float32."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal

import torch

from muad.acceleration.backends import Backend, OnnxBackend, OpenVinoBackend, PlainBackend, Precision, TorchBackend
from muad.acceleration.exports import content_key, export_folder, export_int8, export_onnx, require_package
from muad.acceleration.folding import FoldedDinomaly, why_not_foldable
from muad.acceleration.postprocess import MapMaker
from muad.detectors import Detector, Dinomaly
from muad.device import describe_device, has_fast_bf16
from muad.errors import ConfigError
from muad.types import Prediction

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import Bool, Float
    from torch import Tensor

BackendName = Literal["torch", "openvino", "onnx"]
BACKENDS: dict[BackendName, tuple[Precision, ...]] = {
    "torch": ("fp32", "bf16"),
    "openvino": ("fp32", "bf16", "int8"),
    "onnx": ("fp32", "int8"),
}
MAX_DEVIATION: dict[Precision, float] = {"fp32": 1e-5, "bf16": 1e-3, "int8": 5e-3}
"""Largest absolute difference from the float32 map that a backend may show on real images."""
_CHECK_IMAGES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceleration:
    """How to compute a trained detector's maps.

    Attributes:
        backend: Runtime of the network.
        precision: Of its matrix products; `auto` is bf16 where the processor or card is fast at it and the map stays
            within the limit, and fp32 elsewhere.
        compile: Have torch.compile generate code for this machine; takes 10 to 60 seconds at the first images.
    """

    backend: BackendName = "torch"
    precision: Literal["auto", "fp32", "bf16", "int8"] = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise ConfigError(f"backend must be one of {', '.join(BACKENDS)}, got {self.backend!r}.")
        choices = ("auto", *BACKENDS[self.backend])
        if self.precision not in choices:
            raise ConfigError(
                f"precision must be one of {', '.join(choices)} with backend {self.backend}, got {self.precision!r}."
            )
        if self.compile and self.backend != "torch":
            raise ConfigError(f"compile must be off with backend {self.backend}, got on. Use backend torch.")


class AcceleratedDetector:
    """A trained detector's `predict`, faster.

    The first images it is given decide whether the backend may be used: its maps of them are compared with the
    detector's own in float32, and what is further off than `MAX_DEVIATION` is refused.

    Args:
        detector: Trained, on the device to compute on.
        options: Backend and precision.
        folder: Where exported networks and the results of checks are kept (beside the run), or None to keep none.
        batch_size: How many images usually come together.
        calibration: Gives normal images for int8; without it, the first images predicted are used.
        note: Called with sentences the user should see.

    Attributes:
        preprocessing: The detector's.
        device: Where images must be.
        deviation: Largest deviation found from the float32 map; None until the first images, or if not computed anew.

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
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.preprocessing = detector.preprocessing
        self.device = next(detector.parameters()).device
        self.deviation: float | None = None
        self._detector: Dinomaly | None = detector
        self._backend: Backend | None = None
        self._options, self._folder, self._batch_size = options, folder, batch_size
        self._calibration, self._note = calibration, note
        self._map_maker = MapMaker(detector)
        _require_fit(detector, options, self.device)

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
        with export_folder(self._folder, key) as folder:
            backend = self._build(detector, precision, images, folder)
            name = self._options.backend
            record = folder / f"check-{name}-{precision}-{_circumstances(name, self.device, self._options)}.json"
            if record.is_file():
                return backend
            self.deviation = _deviation(backend, detector, self._map_maker, images[:_CHECK_IMAGES])
            limit = MAX_DEVIATION[precision]
            if not self.deviation <= limit:
                raise DeviationError(
                    f"map of backend {name} in {precision} must be within {limit:.0e} of float32, got "
                    f"{self.deviation:.1e} on {len(images[:_CHECK_IMAGES])} images. Use precision "
                    f"{'bf16 or fp32' if precision == 'int8' else 'fp32'}."
                )
            if self._folder is not None:
                with suppress(OSError):  # a run on a read-only disk is checked each time
                    folder.mkdir(parents=True, exist_ok=True)
                    record.write_text(json.dumps({"deviation": self.deviation, "limit": limit}), encoding="utf-8")
        return backend

    def _build(
        self, detector: Dinomaly, precision: Precision, images: Float[Tensor, "b 3 H W"], folder: Path
    ) -> Backend:
        options = self._options
        if why_not_foldable(detector) is not None:
            return PlainBackend(detector, precision)
        if options.backend == "torch":
            folded = FoldedDinomaly(detector, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
            return TorchBackend(folded, compiled_batch=self._batch_size if options.compile else None)
        file = export_onnx(FoldedDinomaly(detector), folder)
        if precision == "int8":
            file = export_int8(file, self._calibration or (lambda: images), options.backend)
        grid = detector.encoder.grid
        if options.backend == "onnx":
            return OnnxBackend(file, precision, grid)
        return OpenVinoBackend(file, precision, grid, batch_size=self._batch_size)


class DeviationError(ConfigError):
    """A backend's maps are further from the float32 ones than its precision may bring."""


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


def _deviation(backend: Backend, detector: Dinomaly, map_maker: MapMaker, images: Float[Tensor, "b 3 H W"]) -> float:
    """Largest absolute difference between the maps of a backend and those of the detector in float32."""
    expected = detector.predict(images).anomaly_map
    return float((map_maker.maps(backend(images)) - expected).abs().max())


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
