"""A detector's network as an ONNX graph: from normalised images to the tensors that its head reads.

Of Dinomaly it is the folded network, which ends at the feature sums: their cosine is computed outside, in float32
whatever the precision. Of every other detector it is what `Detector.network` gives.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import TypeAdapter
from torch import nn

from muad.acceleration.exports import require_package
from muad.acceleration.folding import FoldedDinomaly, why_not_foldable
from muad.bundles.manifest import CombineFacts, HeadFacts
from muad.bundling.repeated import write_repeated
from muad.bundling.tracing import make_plain, takes_any_number, write_graph
from muad.detectors import Detector, Dinomaly
from muad.errors import ConfigError
from muad.nn.repeated import Repeated
from muad.runtime import heads

if TYPE_CHECKING:
    import onnx
    from jaxtyping import Float
    from torch import Tensor

IMAGES, TOKENS = "images", "tokens"
_PASSED_ON = "passed_on"
_LARGEST_BYTES = 2**31 - 1  # of a protobuf
_SAID = 200  # characters of an exporter's message


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedNetwork:
    """A network outside of torch.

    Attributes:
        graph: From `images` to `outputs`.
        outputs: Names of what it gives, in order.
        combine: What is computed from them before the head; None for nothing.
        head: What makes map and score of the result.
        input_px: Height and width of its images.
        takes_any_number: Whether the number of images is free; else it is one.
        between: Values of the graph that divide it in two; none where a lower precision is one of the whole.
        lowered: Which part is computed in a lower precision, the other one staying float32.
        folded: What it was exported from, of Dinomaly; None of others.
    """

    graph: onnx.ModelProto
    outputs: tuple[str, ...]
    combine: CombineFacts | None
    head: HeadFacts
    input_px: tuple[int, int]
    takes_any_number: bool
    between: tuple[str, ...] = ()
    lowered: Literal["first", "last"] = "last"
    folded: FoldedDinomaly | None = None


class _FeatureSums(nn.Module):
    """The folded network from images to its feature sums, and the tokens between its two parts."""

    def __init__(self, folded: FoldedDinomaly) -> None:
        super().__init__()
        self.folded = folded

    def forward(self, images: Float[Tensor, "b 3 H W"]) -> tuple[Tensor, ...]:
        tokens = self.folded.stem(images)
        return (*self.folded.features_of(tokens), tokens)


class _Ordered(nn.Module):
    """A network's named tensors in a fixed order."""

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.network, self.names = network, tuple(names)

    def forward(self, images: Float[Tensor, "b 3 H W"]) -> tuple[Tensor, ...]:
        tensors: Mapping[str, Tensor] = self.network(images)
        return tuple(tensors[name].float() for name in self.names)


def export_network(detector: Detector, progress: Callable[[int, int], None] = lambda *_: None) -> ExportedNetwork:
    """The network of a trained detector as ONNX, with what is computed after it.

    Args:
        detector: On the CPU; it is put into eval mode.
        progress: Called with parts traced and in all.

    Raises:
        ConfigError: It, or a part of it that is named, cannot be exported, or the exporter is not installed.
    """
    _require_exporter()
    name = detector.settings.__name__.removesuffix("Config")
    reason = detector.why_not_exportable()
    if reason is not None:
        raise ConfigError(f"detector must be one that can be exported, got {name}, which cannot because of {reason}.")
    detector.eval()
    head = _head_facts(detector)
    input_px = detector.preprocessing.crop_px
    images = torch.rand(2, 3, *input_px, generator=torch.Generator().manual_seed(0))
    folded = combine = None
    between: tuple[str, ...] = ()
    module: nn.Module
    if isinstance(detector, Dinomaly) and why_not_foldable(detector) is None:
        folded = FoldedDinomaly(detector)
        combine = CombineFacts(kind="cosine_distance", outputs=folded.pairs, grid=folded.grid)
        names = [f"{side}_{pair}" for side in ("encoded", "decoded") for pair in range(folded.pairs)]
        module, between = _FeatureSums(folded), (TOKENS,)
    else:
        network, between = detector.network_in_parts() or (detector.network(), ())
        with torch.no_grad():
            names = [name for name in network(images[:1]) if name not in between]
        module = network if isinstance(network, Repeated) else _Ordered(network, [*names, *between])
    graph, any_number = _as_graph(module, images, [*names, *between], name, progress)
    make_plain(graph)
    divide_at = [graph.graph.output.pop() for _ in between]
    graph.graph.value_info.extend(reversed(divide_at))
    return ExportedNetwork(
        graph=graph,
        outputs=tuple(names),
        combine=combine,
        head=head,
        input_px=input_px,
        takes_any_number=any_number,
        between=between,
        lowered="first" if between and folded is None else "last",
        folded=folded,
    )


def _as_graph(
    module: nn.Module, images: Tensor, names: Sequence[str], detector: str, progress: Callable[[int, int], None]
) -> tuple[onnx.ModelProto, bool]:
    """The graph, for any number of images if it can be, else for one.

    Raises:
        ConfigError: It cannot be exported.
    """
    for any_number in (True, False):
        try:
            if isinstance(module, Repeated):
                graph = write_repeated(module, images, (IMAGES, names), any_number=any_number, progress=progress)
            else:
                progress(0, 1)
                graph = write_graph(module, [images], ([IMAGES], names), any_number=any_number)
                progress(1, 1)
        except Exception as error:
            if any_number:
                continue
            raise ConfigError(
                f"detector must be one whose network ONNX can hold, got {detector}, of which it cannot: "
                f"{_essence(error)}"
            ) from error
        if graph.ByteSize() > _LARGEST_BYTES:
            raise ConfigError(
                f"network must be less than 2 GiB as ONNX, got {graph.ByteSize() / 2**30:.1f} of {detector}."
            )
        if any_number and not takes_any_number(graph.graph):
            continue
        return graph, any_number
    raise AssertionError("either is returned or refused")


def _essence(error: BaseException) -> str:
    """The innermost reason of an exporter's error, as one short line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:_SAID] or type(error).__name__


class ExporterMissingError(ConfigError):
    """What writes ONNX is not installed."""


def _require_exporter() -> None:
    """Refuse to begin without what the end needs.

    Raises:
        ExporterMissingError: It is not installed.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            require_package(package, "onnx")
        except ConfigError:
            raise ExporterMissingError(
                f"package {package} must be installed to export a run, got none. Run: pip install 'muad[onnx]'"
            ) from None


def _head_facts(detector: Detector) -> HeadFacts:
    """The head by name and settings.

    Raises:
        ConfigError: It is none that the line has.
    """
    head: Any = detector.map_head
    kind = type(head)
    if getattr(heads, kind.__name__, None) is not kind or not dataclasses.is_dataclass(head):
        raise ConfigError(
            f"map_head must be one of muad.runtime.heads to be exported, got {kind.__module__}.{kind.__name__}."
        )
    return HeadFacts(kind=kind.__name__, settings=TypeAdapter(kind).dump_python(head, mode="json"))


def parts_of(network: ExportedNetwork) -> list[onnx.ModelProto]:
    """The graph in two; in one, where it is not divided. Where the last part reads images, the first passes them on."""
    if not network.between:
        return [network.graph]
    from onnx import helper
    from onnx.utils import Extractor

    extractor = Extractor(network.graph)
    first = extractor.extract_model([IMAGES], list(network.between))
    if network.lowered == "last":
        return [first, extractor.extract_model(list(network.between), list(network.outputs))]
    last = extractor.extract_model([IMAGES, *network.between], list(network.outputs))
    if not any(IMAGES in node.input for node in last.graph.node):  # OpenVINO drops an input that nothing reads
        return [first, extractor.extract_model(list(network.between), list(network.outputs))]
    first.graph.node.append(helper.make_node("Identity", [IMAGES], [_PASSED_ON]))
    passed_on = type(first.graph.input[0])()
    passed_on.CopyFrom(first.graph.input[0])
    passed_on.name = _PASSED_ON
    first.graph.output.insert(0, passed_on)
    return [first, last]
