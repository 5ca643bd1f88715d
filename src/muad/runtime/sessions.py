"""Networks of a bundle in a runtime: ONNX Runtime or OpenVINO, each imported when it is asked for, and only here.

ONNX Runtime is given as many threads as this process has cores (`muad.threads`), which sleep while they wait: spinning
takes the time of other processes on the same cores. It computes on the processor, or with device `cuda`, `cuda:N` or
`tensorrt` by that provider, where the installed package has it; `cuda` without TensorFloat-32. OpenVINO computes in
float32 on the processor (`cpu`) or its graphics (`gpu`), in bfloat16 only where a precision asks for it.

Sessions are made from bytes: nothing a network names outside of itself can be read. They may be used by many threads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from muad.bundles.archive import BundleError
from muad.errors import ConfigError
from muad.threads import computing_threads

if TYPE_CHECKING:
    from jaxtyping import Shaped

    Array = Shaped[np.ndarray, "..."]

PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino"}
_PROVIDERS = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}


class Session(Protocol):
    """A network at work."""

    def __call__(self, inputs: Sequence[Array]) -> list[Array]:
        """Its outputs, in their order, of inputs in theirs."""
        ...


def runtimes() -> tuple[str, ...]:
    """Backends that are installed here, without importing any."""
    from importlib.util import find_spec

    return tuple(name for name, package in PACKAGES.items() if find_spec(package) is not None)


def runtime_version(backend: str) -> str:
    """Of an installed backend."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(PACKAGES[backend])
    except PackageNotFoundError:  # onnxruntime-gpu and others are packages of another name
        return str(getattr(_package(backend), "__version__", "unknown"))


def onnx_session(network: bytes, device: str = "cpu") -> Session:
    """A network in ONNX Runtime.

    Args:
        network: ONNX file.
        device: `cpu`, `cuda`, `cuda:N`, `tensorrt` or `tensorrt:N`.

    Raises:
        ConfigError: ONNX Runtime is not installed, or has no such device.
        BundleError: It takes no such network.
    """
    return _OnnxSession(network, device)


def openvino_session(
    network: bytes, weights: bytes | None = None, device: str = "cpu", precision: str = "fp32"
) -> Session:
    """A network in OpenVINO.

    Args:
        network: ONNX file, or the `.xml` of OpenVINO's own format.
        weights: The `.bin` of that; None for ONNX.
        device: `cpu` or `gpu`.
        precision: Of what the network does not say itself.

    Raises:
        ConfigError: OpenVINO is not installed, or has no such device or precision here.
        BundleError: It takes no such network.
    """
    return _OpenVinoSession(network, weights, device, precision)


def require_backend(backend: str, device: str) -> None:
    """Refuse a backend or device that is not here, before anything is read.

    Raises:
        ConfigError: So it is.
    """
    if backend == "onnx":
        _providers(device)
    else:
        _openvino_device(device)


class _OnnxSession:
    def __init__(self, network: bytes, device: str) -> None:
        runtime = _package("onnx")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = computing_threads()
        options.inter_op_num_threads = 1
        options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._faults = _onnx_faults()
        try:
            providers = _providers(device)
            self._session = runtime.InferenceSession(network, options, providers=providers)
            self._names = [node.name for node in self._session.get_inputs()]
        except self._faults as error:
            raise _not_computable(error, "ONNX Runtime") from None
        wanted = providers[0] if isinstance(providers[0], str) else providers[0][0]
        if wanted not in self._session.get_providers():  # it goes on by the processor, and says so in its log alone
            raise ConfigError(
                f"device must be one that ONNX Runtime can use here, got {device}: {wanted} could not be loaded. Check "
                "the driver and CUDA's libraries, or use device cpu."
            )

    def __call__(self, inputs: Sequence[Array]) -> list[Array]:
        try:
            found: list[Array] = self._session.run(None, dict(zip(self._names, inputs, strict=True)))
        except self._faults as error:
            raise _not_computable(error, "ONNX Runtime") from None
        return found


class _OpenVinoSession:
    def __init__(self, network: bytes, weights: bytes | None, device: str, precision: str) -> None:
        core, name = _openvino_core(), _openvino_device(device)
        has_bf16 = "BF16" in core.get_property(name, "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and not has_bf16 and name == "CPU":
            raise ConfigError("precision must be fp32 or int8 for openvino on this processor, got bf16.")
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision != "fp32" and has_bf16 else "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        if name == "CPU":
            settings |= {"INFERENCE_NUM_THREADS": computing_threads(), "ENABLE_CPU_PINNING": False}
        try:
            model = core.read_model(network) if weights is None else core.read_model(network, weights)
            self._network = core.compile_model(model, name, settings)
        except (RuntimeError, ValueError, TypeError) as error:
            raise _not_computable(error, "OpenVINO") from None
        self._own = threading.local()  # a request is of one thread

    def __call__(self, inputs: Sequence[Array]) -> list[Array]:
        if not hasattr(self._own, "request"):
            self._own.request = self._network.create_infer_request()
        request = self._own.request
        try:
            request.infer(dict(enumerate(inputs)))
        except (RuntimeError, ValueError, TypeError) as error:
            raise _not_computable(error, "OpenVINO") from None
        return [tensor.data.copy() for tensor in request.output_tensors]


def _providers(device: str) -> list[Any]:
    """ONNX Runtime's provider for a device, the processor behind it for what it cannot compute."""
    kind, _, number = device.partition(":")
    if kind in ("cpu", "auto"):
        return ["CPUExecutionProvider"]
    wanted = _PROVIDERS.get(kind)
    if wanted is None or (number and not number.isdecimal()):
        raise ConfigError(f"device must be cpu, cuda, cuda:N or tensorrt with backend onnx, got {device!r}.")
    available = _package("onnx").get_available_providers()
    if wanted not in available:
        raise ConfigError(
            f"device must be one of the installed ONNX Runtime's, which has {', '.join(available)}, got {device}. "
            "Run: pip install onnxruntime-gpu"
        )
    settings = {"device_id": number or "0"}
    if kind == "cuda":  # TensorFloat-32 would leave the deviation that was approved
        settings |= {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    return [(wanted, settings), "CPUExecutionProvider"]


def _openvino_device(device: str) -> str:
    kind = {"auto": "CPU", "cpu": "CPU", "gpu": "GPU"}.get(device.partition(":")[0])
    if kind is None:
        raise ConfigError(f"device must be cpu or gpu with backend openvino, got {device!r}.")
    available = _openvino_core().available_devices
    if not any(name.partition(".")[0] == kind for name in available):
        raise ConfigError(f"device must be one that OpenVINO finds here, {', '.join(available)}, got {device}.")
    return device.upper().replace(":", ".").replace("AUTO", "CPU")


def _package(backend: str) -> Any:  # noqa: ANN401  a module whose types are its own
    """A backend's package.

    Raises:
        ConfigError: It is not installed.
    """
    name = PACKAGES[backend]
    try:
        with _without_telemetry():
            if backend == "onnx":
                import onnxruntime

                return onnxruntime
            import openvino

            return openvino
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] != name:
            raise
        raise ConfigError(
            f"package {name} must be installed for backend {backend}, got none. Run: pip install {name}"
        ) from None


@cache
def _openvino_core() -> Any:  # noqa: ANN401
    """The one OpenVINO runtime of this process: destroying it would unmap the main thread's signal stack."""
    return _package("openvino").Core()


@cache
def _onnx_faults() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises; its own exceptions have no ancestor in common but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, RuntimeError, ValueError, TypeError)


def _not_computable(error: Exception, runtime: str) -> BundleError:
    said = " ".join(str(error).split())
    return BundleError(f"network must be one that {runtime} can compute, got: {said[:200]}. Export it again.")


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """OpenVINO sends a message when it is imported, and asks this variable whether it may."""
    before = os.environ.get("CI")
    os.environ["CI"] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ["CI"]
        else:
            os.environ["CI"] = before
