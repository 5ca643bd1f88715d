"""`export`: a trained run as one file, written once its networks are known to say what torch says.

Every network is exported, run as the line runs it, and compared with torch in float32 on all photographs that the run
kept for calibration; of a run without any, on some it was trained on. Only then is the file written. The same run gives
the same bytes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy
from pydantic import TypeAdapter

from muad._version import __version__
from muad.bundles.manifest import (
    GOLDEN,
    SCHEMA_VERSION,
    DetectorFacts,
    GoldenFacts,
    GoldenLimits,
    Manifest,
    Member,
    NetworkFacts,
    ObjectsFacts,
    PreprocessingFacts,
)
from muad.bundles.writing import run_members, write_bundle
from muad.bundling.forms import FP32, Form, Lower, form_scorers, require_precisions, write_forms
from muad.bundling.networks import export_network
from muad.bundling.parity import (
    Expected,
    Parity,
    compare,
    expected_of,
    golden_limits,
    lower_limits,
    parity_of,
    require_parity,
)
from muad.bundling.recogniser import export_recogniser
from muad.calibration.calibrate import weights_digest
from muad.checkpoints.checkpoint import load_detector
from muad.checkpoints.scorers import calibration_files, range_images, scales_of, spread, training_files
from muad.decisions.limits import Limits, read_limits
from muad.decisions.object_limits import read_object_limits
from muad.errors import CheckpointError, ConfigError, DataError
from muad.outputs.sources import find_images
from muad.progress import shows_progress
from muad.recognition.learning import has_products
from muad.runs.folder import category_folder, read_run, unfinished
from muad.runs.schema import EncoderFacts, parse_json
from muad.runtime.sessions import Session, onnx_session

if TYPE_CHECKING:
    from muad.acceleration.deviation import Compared, Scale
    from muad.bundles.manifest import Precision
    from muad.detectors import Detector
    from muad.progress import Update

SUFFIX = ".muad"
_GOLDEN_SAMPLES = 8  # in all, and at least one of each network
_MADE_WITH = ("torch", "onnx", "onnxscript", "onnxruntime", "openvino", "nncf")
Files = Sequence[tuple[str | None, Path]]


def _silent(*_: object) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A bundle that was written.

    Attributes:
        path: The file.
        bytes: How large it is.
        parity: By network (a category, or empty for the one of all), how far each form is from torch.
    """

    path: Path
    bytes: int
    parity: Mapping[str, Sequence[Parity]]


@dataclass(slots=True)
class _Contents:
    """What goes into the file, as it is made."""

    files: dict[str, bytes | Path] = field(default_factory=dict)
    networks: dict[str, NetworkFacts] = field(default_factory=dict)
    golden: list[GoldenFacts] = field(default_factory=list)
    limits: list[GoldenLimits] = field(default_factory=list)
    lower: dict[Precision, GoldenLimits] = field(default_factory=dict)
    parity: dict[str, list[Parity]] = field(default_factory=dict)


@shows_progress
def export(
    run: str | Path,
    out: str | Path,
    *,
    precisions: Sequence[str] = (),
    openvino: bool = False,
    force: bool = False,
    images: str | Path | None = None,
    most_images: int | None = None,
    encoder_weights: str | Path | None = None,
    progress: Update = _silent,
    note: Callable[[str], None] = _silent,
) -> Exported:
    """Write a trained run as one file that needs no torch: networks, limits, products, golden samples.

    Args:
        run: Run folder.
        out: The file to write.
        precisions: Beside `fp32`, which is always in it: `bf16` or `int8`, held to the deviation that they may have.
        openvino: Also hold the networks in OpenVINO's format.
        force: Replace a file that is there.
        images: Good photographs to measure by, in folders named like their category; None for those of the run.
        most_images: How many of them to measure by, for each network and spread over categories; None for all.
        encoder_weights: Where the encoder's file lies now, if not where it was at training.
        progress: Called with what is being done, how much is done, how much there is, and None.
        note: Called with sentences the user should see.

    Raises:
        CheckpointError: No usable run there, a file is in the way, or it cannot be written.
        ConfigError: The detector cannot be exported, or is too far from torch in one of its forms.
        DataError: There are no photographs to measure by.
    """
    run, out = Path(run), Path(out)
    if most_images is not None and most_images < 1:
        raise ConfigError(f"most_images must be at least 1, got {most_images}.")
    facts, lower = read_run(run), require_precisions(precisions)
    _require_place(out, force)
    if (early := unfinished(run)) is not None:
        note(early)
    per_category = facts["mode"] == "per_category"
    keys = sorted(facts["categories"]) if per_category else [""]
    made, limits, scales = _Contents(), read_limits(run, tuple(facts.get("categories", ()))), scales_of(run)
    detector: Detector | None = None
    with tempfile.TemporaryDirectory(prefix="muad-", ignore_cleanup_errors=True) as temporary:
        for place, key in enumerate(keys):
            folder = category_folder(run, key) if key else run
            detector = load_detector(folder, None if encoder_weights is None else Path(encoder_weights))
            if not detector.preprocessing.senses.is_colour_alone:
                raise ConfigError(
                    f"run must look at colour alone to become a bundle, got {run}, which looks at "
                    f"{' and '.join(detector.preprocessing.senses.names)}. Predict from the run folder."
                )
            detector.compute_in_float32()
            work = Path(temporary) / (str(place) if per_category else "all")
            work.mkdir()
            one = _OneNetwork(key=key, run=folder, detector=detector, work=work, limits=limits, scales=scales)
            files = _photographs(folder, key, facts, None if images is None else Path(images))
            if most_images is not None and most_images < len(files):
                note(f"held against torch: {most_images} of {len(files)} photographs, not all")
                files = spread(sorted(files, key=lambda file: (file[0] or "", file[1])), most_images)
            progress("export networks", place, len(keys), None)
            _add_network(made, one, files, lower, openvino, max(1, _GOLDEN_SAMPLES // len(keys)), progress)
            progress("export networks", place + 1, len(keys), None)
            for found in made.parity[key]:
                note(f"{key}: {found}" if key else str(found))
        if detector is None:
            raise CheckpointError(f"run must have a detector, got {run} without any.")
        recogniser = None
        if has_products(run):
            content, recogniser = export_recogniser()
            made.files[recogniser.member] = content
        made.files.update(run_members(run))
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            muad=__version__,
            created=facts.get("created") or "unknown",
            detector=_detector_facts(detector),
            mode=facts["mode"],
            categories=facts.get("categories", {}),
            preprocessing=PreprocessingFacts.of(detector.preprocessing),
            encoders=tuple(_encoders(facts)),
            data_hash=facts.get("data_hash"),
            weights=weights_digest(run),
            accuracy=_accuracy(run),
            map_scale=tuple(facts["map_scale"]) if "map_scale" in facts else None,
            made_with=_versions(),
            members={name: Member(sha256="0" * 64, bytes=0) for name in made.files},
            networks=made.networks,
            recogniser=recogniser,
            golden=tuple(made.golden),
            golden_limits=_each(min, made.limits),
            objects=ObjectsFacts.of(read_object_limits(run, ())),
            lower_limits={name: _each(max, [own, *made.limits]) for name, own in made.lower.items()},
        )
        write_bundle(out, manifest, made.files)
    return Exported(path=out, bytes=out.stat().st_size, parity=made.parity)


@dataclass(frozen=True, slots=True, kw_only=True)
class _OneNetwork:
    """A detector on its way into the file.

    Attributes:
        key: Its category; empty for the one of all.
        run: Its folder.
        detector: In float32 on the CPU.
        work: Where its files are made.
        limits: Of the run.
        scales: What differences are measured by.
    """

    key: str
    run: Path
    detector: Detector
    work: Path
    limits: Limits | None
    scales: Mapping[str | None, Scale]


def _add_network(
    made: _Contents, one: _OneNetwork, files: Files, lower: Sequence[Lower], openvino: bool, samples: int, news: Update
) -> None:
    """Export one detector in every form, measure each, and put it among the contents.

    Raises:
        ConfigError: It cannot be exported, or is too far from torch.
        DataError: A photograph cannot be read.
    """
    network = export_network(one.detector, lambda done, total: news(f"trace {one.key}".strip(), done, total, None))
    ranges = lambda: range_images(one.run, one.detector.preprocessing)  # noqa: E731
    facts, paths = write_forms(network, one.detector, one.work, lower, ranges, openvino=openvino)
    scorers = form_scorers(facts, paths, one.detector.preprocessing)
    complete = onnx_session(paths[facts.files.complete["fp32"][0]].read_bytes())
    compared: dict[Form, list[Compared]] = {form: [] for form in scorers}
    golden = set(spread(range(len(files)), samples))
    place, name = 0, f"compare {one.key}".strip()
    news(name, 0, len(files), None)
    for group in expected_of(one.detector, files):
        for form, scorer in scorers.items():
            compared[form] += compare(scorer, group)
        for image in group:
            if place in golden:
                _require_complete(complete, image, one, compared[FP32][place])
                _add_golden(made, one, image)
            place += 1
        news(name, place, len(files), None)
    made.parity[one.key] = []
    for form, images in compared.items():
        found = parity_of(form, images, one.scales, one.limits)
        require_parity(found, images, one.scales)
        made.parity[one.key].append(found)
        if form.precision != "fp32":
            own = lower_limits(images)
            made.lower[form.precision] = _each(max, [made.lower.get(form.precision, own), own])
    made.limits.append(golden_limits(compared[FP32], one.scales))
    made.networks[one.key] = facts
    made.files.update(paths)


def _each(extreme: Callable[[Iterable[float]], float], limits: Sequence[GoldenLimits]) -> GoldenLimits:
    """The smallest or largest of each kind."""
    return GoldenLimits(map=extreme(own.map for own in limits), score=extreme(own.score for own in limits))


def _require_complete(session: Session, image: Expected, one: _OneNetwork, by_network: Compared) -> None:
    """Hold `complete.onnx` to what `network.onnx` and its head give of a photograph.

    Raises:
        ConfigError: It gives something else.
    """
    each = [session([view[None]]) for view in image.views.views]
    maps, scores = (np.concatenate(both) for both in zip(*each, strict=True))
    map_off = float(np.abs(maps - image.found.maps).max())
    score_off = float(np.abs(scores - image.view_scores).max())
    size = float(np.abs(image.found.maps).max())
    most = max(1e-5 * max(1.0, size), 2 * by_network.map_deviation)
    if not (map_off <= most and score_off <= most):
        raise ConfigError(
            f"complete network must give torch's maps and scores within {most:.0e}, got maps off by {map_off:.1e} and "
            f"scores by {score_off:.1e} of {type(one.detector).__name__}. Report this with the run's config.toml."
        )


def _add_golden(made: _Contents, one: _OneNetwork, image: Expected) -> None:
    member = f"{GOLDEN}{len(made.golden)}.safetensors"
    made.files[member] = safetensors.numpy.save(image.golden)
    made.golden.append(GoldenFacts(member=member, network=one.key, category=image.category))


def _photographs(folder: Path, key: str, facts: Mapping[str, Any], given: Path | None) -> Files:
    """What a network is measured by: given photographs, else all that the run kept for calibration, else some others.

    Raises:
        DataError: There are none.
    """
    categories = tuple(facts.get("categories", ()))
    if given is not None:
        found = [(_category_of(source.path, categories), source.path) for source in find_images([given])]
        files = [(category, path) for category, path in found if not key or category == key]
    else:
        kept = calibration_files(folder)
        files = [*(kept if all(path.is_file() for _, path in kept) else [])] or [*training_files(folder)]
    if not files:
        raise DataError(
            "photographs must be there to measure the bundle by, got none"
            + (f" of {key}" if key else "")
            + ": those of the run are not where they were. Name some: --images GOOD_IMAGES"
        )
    return files


def _category_of(path: Path, categories: Sequence[str]) -> str | None:
    """The innermost folder named like one, or the only one there is."""
    if len(categories) == 1:
        return categories[0]
    return next((name for name in reversed(path.absolute().parent.parts) if name in categories), None)


def _require_place(out: Path, force: bool) -> None:
    """Refuse a place that cannot be written, before anything is computed.

    Raises:
        CheckpointError: It cannot.
    """
    if out.is_dir():
        raise CheckpointError(f"bundle must be a file, got {out}, a folder. Name a file such as {out / 'run'}{SUFFIX}.")
    if out.exists() and not force:
        raise CheckpointError(f"bundle must be a new file, got {out}, which is there. Name another, or use --force.")
    if not out.absolute().parent.is_dir():
        raise CheckpointError(f"bundle must be in an existing folder, got {out}. Make {out.parent} first.")


def _detector_facts(detector: Detector) -> DetectorFacts:
    config: Any = getattr(detector, "config", None)
    if config is None:
        return DetectorFacts(name=type(detector).__name__)
    return DetectorFacts(name=config.name, settings=TypeAdapter(type(config)).dump_python(config, mode="json"))


def _encoders(facts: Mapping[str, Any]) -> Iterator[EncoderFacts]:
    """Each frozen network; the fingerprint is that of all together."""
    together = facts.get("encoder")
    if together is not None:
        for own in facts.get("encoders") or (together,):
            yield EncoderFacts(**{**own, "fingerprint": together["fingerprint"]})


def _accuracy(run: Path) -> Mapping[str, Any] | None:
    """The run's evaluation as it stands there; None for a run that was not evaluated.

    Raises:
        CheckpointError: It cannot be read.
    """
    path = run / "evaluation.json"
    return parse_json(path, "Evaluate again.") if path.is_file() else None


def _versions() -> dict[str, str | None]:
    """Of the packages that exported it."""
    found: dict[str, str | None] = {}
    for package in _MADE_WITH:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found
