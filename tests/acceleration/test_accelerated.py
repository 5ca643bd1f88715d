"""Every backend predicts what the detector predicts, or is refused with the figure."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from muad.acceleration import AcceleratedDetector, Acceleration, DeviationError
from muad.acceleration.accelerated import BACKENDS, MAX_FP32_DEVIATION
from muad.acceleration.deviation import Compared, Scale, compared
from muad.acceleration.exports import _find_or_write, content_key
from muad.device import has_fast_bf16
from muad.errors import CheckpointError, ConfigError

COMBINATIONS = [(backend, precision) for backend, precisions in BACKENDS.items() for precision in precisions]
NEEDED = {"torch": (), "onnx": ("onnxruntime", "onnx", "onnxscript"), "openvino": ("openvino", "onnx", "onnxscript")}
CPU = torch.device("cpu")


def skip_unless_installed(backend: str, precision: str = "fp32") -> None:
    for package in (*NEEDED[backend], *(("nncf",) if precision == "int8" else ())):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed; it comes with pip install 'muad[{backend}]'")
    if backend == "openvino" and precision == "bf16" and not has_fast_bf16(CPU):
        pytest.skip("this processor has no bf16 units")


@pytest.fixture(scope="module")
def export_folder(tmp_path_factory):
    """One for all tests of the trained detector: it is exported once."""
    return tmp_path_factory.mktemp("run") / "exports"


@pytest.mark.parametrize(("backend", "precision"), COMBINATIONS)
def test_maps_and_scores_are_the_detectors(trained_detector, make_images, export_folder, backend, precision) -> None:
    skip_unless_installed(backend, precision)
    options = Acceleration(backend=backend, precision=precision)
    fast = AcceleratedDetector(trained_detector, options, folder=export_folder, batch_size=2)
    images = make_images(16)
    prediction, expected = fast.predict(images), trained_detector.predict(images)
    assert fast.deviation is not None
    assert (fast.judgement is None) == (precision == "fp32")
    bound = {"fp32": MAX_FP32_DEVIATION, "bf16": 1e-3, "int8": 5e-3}[precision]
    assert fast.deviation <= bound
    # It was checked on the first images; all of them are seen here.
    assert (prediction.anomaly_map - expected.anomaly_map).abs().max() < 2 * bound
    assert (prediction.score - expected.score).abs().max() < 2 * bound
    again = AcceleratedDetector(trained_detector, options, folder=export_folder, batch_size=2)
    alone = torch.cat([again.predict(image[None]).anomaly_map for image in images[:3]])
    assert again.deviation is None, "a check once passed is not repeated"
    assert alone.allclose(prediction.anomaly_map[:3], atol=1e-5 if precision == "fp32" else 1e-3)


def test_without_a_folder_nothing_is_kept(make_detector, make_images, tmp_path, monkeypatch) -> None:
    skip_unless_installed("onnx")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    detector = make_detector({"depth": 2}, taps=(0, 1))
    AcceleratedDetector(detector, Acceleration(backend="onnx", precision="fp32")).predict(make_images(1))
    assert not list(tmp_path.iterdir())


def test_compiled_network_fills_up_the_last_batch(make_detector, make_images) -> None:
    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler, and there is no g++")
    detector, images = make_detector({"depth": 2}, taps=(0, 1)), make_images(3)
    fast = AcceleratedDetector(detector, Acceleration(precision="fp32", compile=True), batch_size=2)
    assert fast.predict(images).anomaly_map.allclose(detector.predict(images).anomaly_map, atol=1e-5)


def spread_by(part: float) -> dict[str | None, Scale]:
    """Scales by which a difference of bf16 is about the given part of the way to the limit."""
    return {None: Scale(score=1e-4 / part, map=1e-3 / part)}


def test_a_backend_too_far_off_for_the_limits_is_refused_with_the_figures(make_detector, make_images, tmp_path) -> None:
    detector, options, images = make_detector(), Acceleration(precision="bf16"), make_images(6)
    fast = AcceleratedDetector(detector, options, folder=tmp_path, scales=lambda: spread_by(1.0))
    with pytest.raises(
        DeviationError,
        match=r"backend torch in bf16 must keep .* within 10% and maps within 20% of the way to their limit, and every "
        r"verdict, got scores off by up to .* %.* of 4 verdicts changed. Use precision fp32",
    ):
        fast.predict(images)
    again = AcceleratedDetector(detector, options, folder=tmp_path, scales=lambda: spread_by(1.0))
    with pytest.raises(DeviationError):
        again.predict(images)
    assert again.deviation is None, "what was found is kept, also of a backend that was refused"
    wider = AcceleratedDetector(detector, options, folder=tmp_path, scales=lambda: spread_by(0.001))
    wider.predict(images)
    assert wider.deviation is None, "and judged by the limits as they are now"


def test_a_kept_check_that_cannot_be_read_is_made_anew(make_detector, make_images, tmp_path) -> None:
    detector, options, images = make_detector(), Acceleration(precision="fp32"), make_images(2)
    AcceleratedDetector(detector, options, folder=tmp_path).predict(images)
    (record,) = tmp_path.glob("*/check-*.json")
    kept = record.read_text()
    record.write_text(kept[:20])
    again = AcceleratedDetector(detector, options, folder=tmp_path)
    again.predict(images)
    assert again.deviation is not None
    assert record.read_text() == kept


def test_images_of_the_run_are_judged_before_those_that_come(make_detector, make_images) -> None:
    detector = make_detector()
    seen = []

    def compare(plain, fast) -> list[Compared]:
        images = make_images(3, seed=1)
        pairs = [scorer.predict(images) for scorer in (plain, fast)]
        seen.extend(
            compared("screw", *((float(found.score[k]), found.anomaly_map[k].numpy()) for found in pairs))
            for k in range(3)
        )
        return seen

    fast = AcceleratedDetector(
        detector,
        Acceleration(precision="bf16"),
        comparison=compare,
        scales=lambda: {"screw": Scale(score=1.0, map=1.0)},
    )
    fast.predict(make_images(1))
    assert len(seen) == 3
    assert fast.judgement is not None
    assert fast.judgement.count == 3


def test_scores_moved_as_a_whole_are_said_once_with_the_command(make_detector, make_images, tmp_path) -> None:
    images = [
        Compared(category="screw", expected=0.1, score=0.1 + 0.05, usual=0.0, peak=0.2, map_deviation=1e-4)
        for _ in range(3)
    ]
    notes: list[str] = []
    for _ in range(2):
        AcceleratedDetector(
            make_detector(),
            Acceleration(precision="bf16"),
            folder=tmp_path,
            comparison=lambda *_: images,
            scales=lambda: {"screw": Scale(score=1.0, map=1.0)},
            note=notes.append,
        ).predict(make_images(1))
    (note,) = notes
    assert "off by +5.0% of the way to the limit on median (screw)" in note
    assert note.endswith("muad calibrate RUN GOOD_IMAGES --backend torch --precision bf16")


def test_auto_falls_back_to_float32_and_says_so(make_detector, make_images) -> None:
    if not has_fast_bf16(CPU):
        pytest.skip("this processor has no bf16 units, so auto is fp32 from the start")
    detector, images, notes = make_detector(), make_images(6), []
    fast = AcceleratedDetector(detector, Acceleration(), note=notes.append, scales=lambda: spread_by(1.0))
    assert fast.predict(images).anomaly_map.allclose(detector.predict(images).anomaly_map, atol=1e-6)
    assert len(notes) == 1
    assert notes[0].startswith("computing in fp32, because backend torch in bf16 must keep")


def test_a_detector_that_cannot_be_folded_runs_as_it_is_and_says_so(make_detector, make_images) -> None:
    detector, images, notes = make_detector(attention="conv3"), make_images(2), []
    prediction = AcceleratedDetector(detector, Acceleration(precision="fp32"), note=notes.append).predict(images)
    assert prediction.anomaly_map.allclose(detector.predict(images).anomaly_map, atol=1e-6)
    assert notes == ["the network runs as it is, not folded, because detector.attention is conv3"]
    with pytest.raises(ConfigError, match="backend must be torch for this detector, because"):
        AcceleratedDetector(detector, Acceleration(backend="openvino"))


def test_other_weights_are_exported_and_checked_anew(make_detector, make_images, tmp_path) -> None:
    skip_unless_installed("onnx")
    options, images = Acceleration(backend="onnx", precision="fp32"), make_images(2)
    keys = []
    for seed in (1, 2):
        detector = make_detector({"depth": 2}, taps=(0, 1), seed=seed)
        fast = AcceleratedDetector(detector, options, folder=tmp_path)
        assert fast.predict(images).anomaly_map.allclose(detector.predict(images).anomaly_map, atol=1e-5)
        assert fast.deviation is not None
        keys.append(content_key(detector))
    assert keys[0] != keys[1]
    (network,) = tmp_path.glob("*/float32")
    assert network.stat().st_mode == network.parent.stat().st_mode, "others may read it as they may the run"
    assert [entry.name for entry in tmp_path.iterdir()] == [keys[1]], "the export of earlier weights is deleted"


def test_int8_refuses_to_learn_ranges_from_a_few_images(make_detector, make_images, tmp_path) -> None:
    skip_unless_installed("onnx", "int8")
    environment = dict(os.environ)
    detector = make_detector({"depth": 2}, taps=(0, 1))
    fast = AcceleratedDetector(detector, Acceleration(backend="onnx", precision="int8"), folder=tmp_path)
    with pytest.raises(ConfigError, match="calibration images must be at least 8 for precision int8, got 3"):
        fast.predict(make_images(3))
    assert dict(os.environ) == environment
    assert not list(tmp_path.glob("*/*.partial")), "nothing half written is left"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backend": "tensorrt"}, "backend must be one of auto, torch, openvino, onnx, got 'tensorrt'"),
        ({"precision": "int8"}, "precision must be one of auto, fp32, bf16 with backend torch, got 'int8'"),
        ({"backend": "onnx", "precision": "bf16"}, "precision must be one of auto, fp32, int8 with backend onnx"),
        ({"backend": "openvino", "compile": True}, "compile must be off with backend openvino"),
    ],
)
def test_options_that_contradict_each_other_are_refused(settings, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Acceleration(**settings)


@pytest.mark.parametrize(("backend", "package"), [("openvino", "openvino"), ("onnx", "onnxruntime")])
def test_a_missing_package_is_named_with_its_extra(make_detector, monkeypatch, backend, package) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"package {package} must be installed .* pip install 'muad\[{backend}\]'"):
        AcceleratedDetector(make_detector(), Acceleration(backend=backend))


def test_loading_packages_does_not_report_to_their_makers(tmp_path) -> None:
    """Left alone, both write an identity into ~/intel and send a message with it."""
    skip_unless_installed("openvino", "int8")
    code = (
        "from pathlib import Path; from muad.acceleration.exports import require_package\n"
        "for package in ('openvino', 'nncf'):\n"
        "    require_package(package, 'openvino')\n"
        "    assert not Path.home().joinpath('intel').exists(), package\n"
    )
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"HOME": str(tmp_path)}, check=True)
    assert not (tmp_path / "intel").exists()


def test_a_changed_export_is_refused_by_its_name(tmp_path: Path) -> None:
    def write(draft: Path) -> None:
        (draft / "network.onnx").write_bytes(b"network")

    place = _find_or_write(tmp_path / "float32", write)
    assert _find_or_write(tmp_path / "float32", write) == place
    assert place.stat().st_mode == tmp_path.joinpath("float32").stat().st_mode
    (place / "network.onnx").write_bytes(b"netwark")
    with pytest.raises(CheckpointError, match=r"network\.onnx must be as it was written.*Delete .*float32: it is exp"):
        _find_or_write(tmp_path / "float32", write)
    (place / "network.onnx").unlink()
    with pytest.raises(CheckpointError, match=r"network\.onnx must be readable"):
        _find_or_write(tmp_path / "float32", write)
    (place / "digests.json").unlink()
    assert _find_or_write(tmp_path / "float32", write) == place, "of an older release"
