"""The forms of a network: float32, bfloat16 and int8, as ONNX and in OpenVINO's own format.

bfloat16 is not a file of its own: a runtime that is fast at it rounds while it computes. So its parts are those of
float32, divided where one part must stay as it is. int8 has its ranges and rounding in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import numpy as np

from muad.acceleration.exports import export_int8, openvino_core, quantise, require_images, require_package
from muad.bundles.manifest import NETWORKS, NetworkFacts, NetworkFiles
from muad.bundling.complete import complete_graph, map_size
from muad.bundling.networks import IMAGES, ExportedNetwork, parts_of
from muad.errors import ConfigError
from muad.runtime.network_scorer import NetworkScorer
from muad.runtime.sessions import Session, onnx_session, openvino_session

if TYPE_CHECKING:
    import onnx
    import openvino
    from jaxtyping import Float
    from torch import Tensor

    from muad.bundles.manifest import Precision
    from muad.detectors import Detector
    from muad.images.preprocessing import Preprocessing
    from muad.runtime.heads import GridHead

Lower = Literal["bf16", "int8"]
Ranges = Callable[[], "Float[Tensor, 'b 3 H W']"]


class Form(NamedTuple):
    """One way in which a network is in the bundle."""

    precision: Precision
    openvino: bool

    def __str__(self) -> str:
        return f"{self.precision} as OpenVINO" if self.openvino else self.precision


FP32 = Form("fp32", openvino=False)


def write_forms(
    network: ExportedNetwork,
    detector: Detector,
    folder: Path,
    lower: Sequence[Lower],
    ranges: Ranges,
    *,
    openvino: bool,
) -> tuple[NetworkFacts, dict[str, Path]]:
    """Files of a network in every form that is asked for, by member, and what they are.

    Args:
        network: In float32.
        detector: What it was exported from.
        folder: Where files are made; its name is that of the network in the bundle.
        lower: Precisions beside float32.
        ranges: Gives normal images, from which int8 learns its ranges.
        openvino: Whether OpenVINO's format is asked for.

    Raises:
        ConfigError: A form cannot be made.
    """
    import onnx

    whole, complete = folder / "network.onnx", folder / "complete.onnx"
    onnx.save(network.graph, whole)
    onnx.save(complete_graph(network, detector.map_head, detector.preprocessing), complete)
    forms: dict[Precision, list[Path]] = {"fp32": [whole]}
    for precision in lower:
        forms[precision] = _write_lower(network, precision, folder, whole, ranges)
    own: dict[Precision, list[Path]] = {}
    if openvino:
        every = dict.fromkeys(file for files in forms.values() for file in files)
        converted = {file: _write_openvino(file) for file in every}
        own = {precision: [converted[file] for file in files] for precision, files in forms.items()}
    files = NetworkFiles(
        network=_members(forms, folder), complete=_members({"fp32": [complete]}, folder), openvino=_members(own, folder)
    )
    facts = NetworkFacts(
        input_px=network.input_px,
        map_px=map_size(network, cast("GridHead", detector.map_head)),
        batch="dynamic" if network.takes_any_number else 1,
        files=files,
        outputs=network.outputs,
        lowered=network.lowered,
        combine=network.combine,
        head=network.head,
    )
    return facts, {member: folder / member.rpartition("/")[2] for member in files.members}


def form_scorers(
    facts: NetworkFacts, paths: Mapping[str, Path], preprocessing: Preprocessing
) -> dict[Form, NetworkScorer]:
    """All forms as the line runs them: bfloat16 and OpenVINO's format by OpenVINO, all else by ONNX Runtime.

    Args:
        facts: What there is.
        paths: Files by member.
        preprocessing: The detector's.

    Raises:
        ConfigError: The runtime is not installed, or the processor has no bfloat16.
    """
    forms = {Form(precision, openvino=False): parts for precision, parts in facts.files.network.items()}
    forms |= {Form(precision, openvino=True): parts for precision, parts in facts.files.openvino.items()}
    return {
        form: NetworkScorer(_sessions(form, parts, facts.lowered, paths), facts, preprocessing)
        for form, parts in forms.items()
    }


def _sessions(
    form: Form, parts: Sequence[str], lowered: Literal["first", "last"], paths: Mapping[str, Path]
) -> list[Session]:
    made: list[Session] = []
    lower = parts[0 if lowered == "first" else -1]
    for part in parts:
        content = paths[part].read_bytes()
        if not form.openvino and form.precision != "bf16":
            made.append(onnx_session(content))
            continue
        weights = paths[part].with_suffix(".bin").read_bytes() if form.openvino else None
        made.append(openvino_session(content, weights, "cpu", form.precision if part == lower else "fp32"))
    return made


def _members(forms: Mapping[Precision, Sequence[Path]], folder: Path) -> dict[Precision, tuple[str, ...]]:
    return {
        precision: tuple(f"{NETWORKS}{folder.name}/{file.name}" for file in files) for precision, files in forms.items()
    }


def _write_lower(network: ExportedNetwork, precision: Lower, folder: Path, whole: Path, ranges: Ranges) -> list[Path]:
    """Files in a lower precision, to be run one after the other."""
    import onnx

    if network.folded is None and precision == "int8":
        return [_int8(network, folder, ranges())]
    if not network.between:
        return [whole]
    first, rest = folder / "network-first.onnx", folder / "network-rest.onnx"
    if precision == "int8":
        rest = folder / "before" / "network.onnx"  # of its version alone, so not among the files
        rest.parent.mkdir()
    for file, part in zip((first, rest), parts_of(network), strict=True):
        onnx.save(part, file)
    if precision == "bf16" or network.folded is None:
        return [first, rest]
    return [first, export_int8(rest, network.folded, ranges, "onnx").replace(folder / "network-int8.onnx")]


def _write_openvino(file: Path) -> Path:
    """An ONNX file in OpenVINO's format: an `.xml` beside it, with its `.bin`."""
    require_package("openvino", "openvino")
    import openvino

    network = openvino_core().read_model(file)
    _name_by_order(network)
    target = file.with_suffix(".xml")
    openvino.save_model(network, target, compress_to_fp16=False)
    return target


def _int8(network: ExportedNetwork, folder: Path, images: Float[Tensor, "b 3 H W"]) -> Path:
    """A network of any kind in int8."""
    require_images(len(images))
    require_package("nncf", "onnx")
    import nncf
    import onnx

    samples: Sequence[np.ndarray] = [image[None].numpy() for image in images]
    named = nncf.Dataset(samples, lambda sample: {IMAGES: sample})
    graph: onnx.ModelProto = quantise(network.graph, named, len(samples), [], transformer=False)
    target = folder / "network-int8.onnx"
    onnx.save(graph, target)
    return target


def _name_by_order(network: openvino.Model) -> None:
    """Names that do not depend on what this process converted before."""
    for place, operation in enumerate(network.get_ordered_ops()):
        if operation.get_type_name() not in ("Parameter", "Result"):
            operation.set_friendly_name(f"{operation.get_type_name()}_{place}")


def require_precisions(wanted: Sequence[str]) -> tuple[Lower, ...]:
    """The lower precisions of a list; float32 is always there.

    Raises:
        ConfigError: There is no such precision.
    """
    found: list[Lower] = []
    for name in wanted:
        if name not in ("fp32", "bf16", "int8"):
            raise ConfigError(f"precision must be fp32, bf16 or int8, got {name!r}.")
        if name in ("bf16", "int8") and name not in found:
            found.append("bf16" if name == "bf16" else "int8")
    return tuple(found)
