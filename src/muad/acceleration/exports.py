"""The folded network as ONNX files, and its int8 version, written once per content and kept beside the run.

    FOLDER/<key>/float32/stem.onnx         one image in, tokens out: what is float32 in every precision
    FOLDER/<key>/float32/network.onnx      these tokens in, the feature sums out; the cosine stays outside
    FOLDER/<key>/int8-openvino-<version>/  the same, quantised on the calibration images of its first use
    FOLDER/<key>/check-*.json              good images computed by a backend and by the detector in float32

    FOLDER/<key>/*/digests.json            of the files beside it: what was changed since is refused

The key covers weights, structure, sizes and the exporter's version. What lies under another key belongs to an earlier
state of the run and is deleted.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, cast

import torch
from torch import nn

from muad.errors import CheckpointError, ConfigError
from muad.runs.schema import ExportFacts, read_json
from muad.runs.tensor_files import require_whole, whole_digest

if TYPE_CHECKING:
    import nncf
    import onnx
    import openvino
    from jaxtyping import Float
    from torch import Tensor

    from muad.acceleration.folding import FoldedDinomaly
    from muad.detectors import Dinomaly

Network = TypeVar("Network")
Runtime = Literal["openvino", "onnx"]
IMAGES_NAME, TOKENS_NAME = "images", "tokens"
MIN_CALIBRATION_IMAGES = 8
_FORMAT = 4
_SMOOTHING = 0.4
_OPSET = 18
_DRAFT = ".partial"
_DIGESTS = "digests.json"


class _Stem(nn.Module):
    """The beginning of the folded network, which no backend may compute in a lower precision.

    Args:
        folded: In float32.
    """

    def __init__(self, folded: FoldedDinomaly) -> None:
        super().__init__()
        self.folded = folded

    def forward(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b n d"]:
        """Tokens."""
        return self.folded.stem(images)


class _FeatureSums(nn.Module):
    """The folded network from there up to the cosine, which is float32 again.

    Args:
        folded: In float32.
    """

    def __init__(self, folded: FoldedDinomaly) -> None:
        super().__init__()
        self.folded = folded

    def forward(self, tokens: Float[Tensor, "b n d"]) -> tuple[Float[Tensor, "b n d"], ...]:
        """Sums of the encoder's groups, then of the decoder's."""
        return tuple(self.folded.features_of(tokens))


def content_key(detector: Dinomaly) -> str:
    """Names everything the exported network depends on: frozen and trained weights, structure, sizes, exporter."""
    config, encoder = detector.config, detector.encoder
    facts = (_FORMAT, _OPSET, torch.__version__, detector.fingerprint, encoder.name, encoder.heads, detector.encoding)
    settings = (config.crop_px, config.attention, config.attention_eps, config.recentring)
    digest = hashlib.sha256(repr((*facts, *settings)).encode())
    for name, tensor in sorted(detector.trainable_state().items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]


def export_onnx(folded: FoldedDinomaly, folder: Path) -> Path:
    """The ONNX file of the network after its stem, which lies beside it; written if they are not there.

    Raises:
        ConfigError: The exporter is not installed.
        CheckpointError: The folder cannot be written.
    """
    require_package("onnx", "onnx")
    require_package("onnxscript", "onnx")

    def write(draft: Path) -> None:
        image = torch.zeros(1, 3, *folded.image_size)
        with torch.no_grad():
            tokens = folded.stem(image)
            parts = (
                ("stem", _Stem(folded), image, IMAGES_NAME),
                ("network", _FeatureSums(folded), tokens, TOKENS_NAME),
            )
            for name, part, example, given in parts:
                torch.onnx.export(
                    part.eval(),
                    (example,),
                    draft / f"{name}.onnx",
                    input_names=[given],
                    opset_version=_OPSET,
                    dynamo=True,
                    verbose=False,
                )

    return _find_or_write(folder / "float32", write) / "network.onnx"


def export_int8(
    onnx_file: Path, folded: FoldedDinomaly, calibration: Callable[[], Float[Tensor, "b 3 H W"]], runtime: Runtime
) -> Path:
    """An int8 version of an exported network, its ranges learned on images; written if it is not there.

    Args:
        onnx_file: From `export_onnx`; the version goes beside it.
        folded: What it was exported from.
        calibration: Gives images as the detector takes them, on the CPU; normal ones of every category.
        runtime: Which runtime it is for.

    Raises:
        ConfigError: Too few images, or the quantiser is not installed.
        CheckpointError: The folder cannot be written.
    """
    require_package("nncf", runtime)
    require_package("onnx", "onnx")
    import nncf
    import onnx

    def write(draft: Path) -> None:
        images = calibration()
        require_images(len(images))
        with torch.no_grad():
            samples = [folded.stem(image[None]).numpy() for image in images]
        graph = onnx.load(onnx_file)
        left = _left_in_float(graph, folded)
        if runtime == "openvino":
            import openvino

            network = openvino_core().read_model(onnx_file)
            quantised = quantise(network, nncf.Dataset(samples), len(samples), left)
            openvino.save_model(quantised, draft / "network.xml", compress_to_fp16=False)
        else:
            named = nncf.Dataset(samples, lambda sample: {TOKENS_NAME: sample})
            onnx.save(quantise(graph, named, len(samples), left), draft / "network.onnx")

    place = _find_or_write(onnx_file.parent.parent / f"int8-{runtime}-{nncf.__version__}", write)
    return place / ("network.xml" if runtime == "openvino" else "network.onnx")


def require_images(count: int) -> None:
    """Refuse to learn the ranges of int8 from too few images.

    Raises:
        ConfigError: So many are too few.
    """
    if count < MIN_CALIBRATION_IMAGES:
        raise ConfigError(
            f"calibration images must be at least {MIN_CALIBRATION_IMAGES} for precision int8, got {count}. "
            "Give more normal images, or use precision bf16 or fp32."
        )


def _left_in_float(graph: onnx.ModelProto, folded: FoldedDinomaly) -> list[str]:
    """Names of the matrix products that int8 leaves alone, found by measuring them one kind at a time.

    Those of attention are a tenth of the work and made the largest differences of single scores; the encoder's second
    layers after GELU moved all scores of a category the same way.
    """
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.graph.initializer}
    products = [node for node in graph.graph.node if node.op_type == "MatMul"]
    attention = [node.name for node in products if not shapes.keys() & set(node.input)]
    blocks = [cast("nn.Linear", block.fc2) for block in folded.encoder[folded.stem_blocks :]]
    sizes = {(layer.in_features, layer.out_features) for layer in blocks}
    # Nodes are in the order of computation, so the encoder's come first.
    second = [node.name for node in products if sizes & {shapes.get(name) for name in node.input}]
    return attention + second[: len(blocks)]


def quantise(
    network: Network, images: nncf.Dataset, count: int, left: list[str], *, transformer: bool = True
) -> Network:
    """A network with int8 layers, its ranges learned on images.

    Args:
        network: In float32.
        images: As it takes them.
        count: How many of them.
        left: Names of operations that stay as they are.
        transformer: Whether it is made of attention and layer norms.
    """
    import nncf
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    # Ranges that clip nothing, and more of them moved from the activations into the weights than is nncf's way: on a
    # trained run the maps came five times closer to float32, and pixel AP to 0.2 points instead of 1.2.
    closest = nncf.AdvancedQuantizationParameters(
        activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
        smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=_SMOOTHING),
    )
    # It draws progress bars and lists what it leaves alone, and stdout is for results.
    with redirect_stdout(sys.stderr), _quiet(logging.getLogger("nncf")):
        quantised: Network = nncf.quantize(
            network,
            images,
            subset_size=count,
            model_type=nncf.ModelType.TRANSFORMER if transformer else None,
            ignored_scope=nncf.IgnoredScope(names=left),
            preset=nncf.QuantizationPreset.PERFORMANCE,  # symmetric ranges were closer than MIXED on trained runs
            advanced_parameters=closest,
        )
    return quantised


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Only its warnings and errors."""
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def export_folder(folder: Path | None, key: str) -> Iterator[Path]:
    """Where the exports of one network lie: under the folder, rid of those of other keys, or nowhere for long."""
    if folder is None:
        # A runtime may still have the file open, which some systems do not let go.
        with tempfile.TemporaryDirectory(prefix="muad-", ignore_cleanup_errors=True) as temporary:
            yield Path(temporary) / key
        return
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.name != key and re.fullmatch(f"[0-9a-f]{{{len(key)}}}", entry.name):
            shutil.rmtree(entry, ignore_errors=True)
    yield folder / key


@cache
def openvino_core() -> openvino.Core:
    """The one OpenVINO runtime of this process.

    It gives the main thread a signal stack of its own, and unmaps it when it is destroyed; a Ctrl-C after that would be
    a segmentation fault. So it lives as long as the process.
    """
    require_package("openvino", "openvino")
    import openvino

    return openvino.Core()


def require_package(name: str, extra: str) -> None:
    """Import an optional package for the first time, without its reporting that to its makers.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        with _without_telemetry():
            __import__(name)
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] != name:
            raise
        raise ConfigError(
            f"package {name} must be installed for this backend, got none. Run: pip install 'muad[{extra}]', or use "
            "backend torch."
        ) from None


def _find_or_write(place: Path, write: Callable[[Path], None]) -> Path:
    """The folder at that place, filled if it is not there yet; another process doing the same is no harm."""
    if place.is_dir():
        _require_as_written(place)
        return place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_name(f"{place.name}{uuid.uuid4().hex[:8]}{_DRAFT}")
        draft.mkdir()  # with the rights of any other folder, which a temporary one would not have
        try:
            write(draft)
            digests = {file.name: whole_digest(file) for file in sorted(draft.iterdir())}
            (draft / _DIGESTS).write_text(json.dumps({"digests": digests}) + "\n", encoding="utf-8")
            try:
                draft.rename(place)
            except OSError:
                if not place.is_dir():
                    raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise CheckpointError(
            f"exported networks must be writable, got {place} ({error}). Free disk space or make it writable."
        ) from None
    return place


def _require_as_written(place: Path) -> None:
    """Refuse an exported network that was changed since; what an older release exported is taken as it is.

    Raises:
        CheckpointError: It was changed.
    """
    if not (place / _DIGESTS).is_file():
        return
    remedy = f"Delete {place}: it is exported again."
    facts, _ = read_json(place / _DIGESTS, ExportFacts, remedy)
    for name, digest in facts.digests.items():
        try:
            require_whole(place / name, digest, remedy)
        except OSError as error:
            raise CheckpointError(f"{name} must be readable, got {place / name} ({error}). {remedy}") from None


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """OpenVINO and NNCF send a message when they are imported, and ask these variables whether they may."""
    says_no = {"CI": "true", "NNCF_CI": "1"}
    before = {name: os.environ.get(name) for name in says_no}
    os.environ.update(says_no)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
