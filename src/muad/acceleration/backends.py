"""Runtimes that compute patch distances from images: torch, ONNX Runtime, OpenVINO, behind one small interface.

Each takes normalised float32 images and gives the grid of distances. Outside of torch the network is two files: its
stem, computed in float32 whatever the precision, and the rest up to the feature sums; the cosine is computed here, in
float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F

from muad.acceleration.exports import IMAGES_NAME, TOKENS_NAME, openvino_core, require_package
from muad.acceleration.folding import FoldedDinomaly, distance_grid
from muad.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import Float
    from openvino import CompiledModel, InferRequest
    from torch import Tensor

    from muad.detectors import Dinomaly

Precision = Literal["fp32", "bf16", "int8"]
_MOST_GRAPHS = 4


class Backend(Protocol):
    """Images in, patch distances out.

    Attributes:
        precision: Of its matrix products.
    """

    precision: Precision

    def __call__(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b h w"]:
        """Distance at every patch, in float32, on the device of the images."""
        ...


class TorchBackend:
    """The folded network run by torch.

    Args:
        folded: On its device, in the precision to compute in.
        compiled_batch: Images per pass of a network compiled by torch.compile, or None for no compilation. Compiling
            takes 10 to 60 seconds when the first images come.
    """

    def __init__(self, folded: FoldedDinomaly, *, compiled_batch: int | None = None) -> None:
        self.precision: Precision = "bf16" if folded.dtype == torch.bfloat16 else "fp32"
        self._batch = compiled_batch
        self._network: Any = folded
        if compiled_batch is not None:
            option = "freezing" if folded.table.device.type == "cpu" else "triton.cudagraphs"
            self._network = torch.compile(folded, dynamic=False, options={option: True})
        elif folded.table.device.type == "cuda":
            self._network = _Replayed(folded)

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b h w"]:
        """Distance at every patch."""
        if self._batch is None:
            grids: Tensor = self._network(images)
            return grids
        parts = []
        for part in torch.split(images, self._batch):
            # One shape is one compilation: the last images are filled up with empty ones.
            full = F.pad(part, (0, 0, 0, 0, 0, 0, 0, self._batch - len(part)))
            parts.append(self._network(full)[: len(part)].clone())
        return torch.cat(parts)


class _Replayed:
    """A network recorded as CUDA graphs, one for each number of images: hundreds of kernels are ordered at once.

    A card computes few images faster than a host can order the kernels for them.

    Args:
        network: On a card, in eval mode.
    """

    def __init__(self, network: FoldedDinomaly) -> None:
        self._network = network
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}

    def __call__(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b h w"]:
        """What the network gives."""
        if len(images) not in self._graphs:
            if len(self._graphs) == _MOST_GRAPHS:  # each keeps the memory of a pass
                found: Tensor = self._network(images)
                return found
            self._graphs[len(images)] = self._recorded(images.clone())
        graph, given, made = self._graphs[len(images)]
        given.copy_(images)
        graph.replay()
        return made.clone()  # the next replay overwrites it

    def _recorded(self, images: Float[Tensor, "b 3 H W"]) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
        """The graph, where it reads and where it writes."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):  # libraries set themselves up in them, which cannot be recorded
                self._network(images)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            made = self._network(images)
        return graph, images, made


class PlainBackend:
    """The detector as it is, for those that cannot be folded."""

    def __init__(self, detector: Dinomaly, precision: Precision) -> None:
        self.precision = precision
        self._detector = detector

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b h w"]:
        """Distance at every patch."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return self._detector.distance_map(images).float()


class OnnxBackend:
    """An exported network run by ONNX Runtime, image by image on all of torch's threads.

    Args:
        stem: The `.onnx` file from images to tokens.
        file: The `.onnx` file from tokens to feature sums.
        precision: What the second was exported in.
        grid: Patch rows and columns.

    Raises:
        ConfigError: ONNX Runtime is not installed.
    """

    def __init__(self, stem: Path, file: Path, precision: Precision, grid: tuple[int, int]) -> None:
        require_package("onnxruntime", "onnx")
        import onnxruntime

        self.precision = precision
        self._grid = grid
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        # Threads that wait by spinning take the time of other processes on the same cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._stem, self._network = (
            onnxruntime.InferenceSession(part, options, providers=["CPUExecutionProvider"]) for part in (stem, file)
        )

    def __call__(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b h w"]:
        """Distance at every patch."""
        features = []
        for image in images.numpy():
            (tokens,) = self._stem.run(None, {IMAGES_NAME: image[None]})
            features.append(self._network.run(None, {TOKENS_NAME: tokens}))
        return _distances(features, self._grid)


class OpenVinoBackend:
    """An exported network run by OpenVINO: one image on all threads, or several at a time on one thread each.

    Args:
        stem: The `.onnx` file from images to tokens.
        file: The `.onnx` or `.xml` file from tokens to feature sums.
        precision: Of the products of the second; int8 layers are in the file, and what it leaves is then bf16 where
            that is fast.
        grid: Patch rows and columns.
        batch_size: How many images usually come together.

    Raises:
        ConfigError: OpenVINO is not installed, or the processor has no bf16.
    """

    def __init__(self, stem: Path, file: Path, precision: Precision, grid: tuple[int, int], *, batch_size: int) -> None:
        require_package("openvino", "openvino")
        import openvino

        self.precision = precision
        self._grid = grid
        self._new_queue = openvino.AsyncInferQueue
        core = openvino_core()
        has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and not has_bf16:
            raise ConfigError("precision must be fp32 or int8 for openvino on this processor, got bf16.")
        threads = torch.get_num_threads()
        self._streams = min(threads, batch_size)
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": self._streams,
            "ENABLE_CPU_PINNING": False,  # two processes would pin their threads to the same cores
        }
        rest = "bf16" if precision != "fp32" and has_bf16 else "f32"
        self._stem, self._network = (
            core.compile_model(core.read_model(part), "CPU", settings | {"INFERENCE_PRECISION_HINT": hint})
            for part, hint in ((stem, "f32"), (file, rest))
        )

    def __call__(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b h w"]:
        """Distance at every patch."""
        tokens = self._run(self._stem, [image[None] for image in images.numpy()])
        return _distances(self._run(self._network, [token for (token,) in tokens]), self._grid)

    def _run(self, network: CompiledModel, inputs: list[np.ndarray]) -> list[list[np.ndarray]]:
        """Outputs of one of the networks for every input."""
        outputs: list[list[np.ndarray]] = [[] for _ in inputs]

        def keep(request: InferRequest, place: int) -> None:
            outputs[place] = [tensor.data.copy() for tensor in request.output_tensors]

        queue = self._new_queue(network, self._streams)
        queue.set_callback(keep)
        for place, value in enumerate(inputs):
            queue.start_async({0: value}, place)
        queue.wait_all()
        return outputs


def _distances(features: list[list[np.ndarray]], grid: tuple[int, int]) -> Float[Tensor, "b h w"]:
    """Grids from the feature sums of each image."""
    stacked = [torch.from_numpy(np.concatenate(sums)) for sums in zip(*features, strict=True)]
    return distance_grid(stacked, grid)
