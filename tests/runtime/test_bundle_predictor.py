"""A bundle predicts as its run would, without torch, in as many threads as there are."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from muad.bundles.archive import BundleError
from muad.bundles.bundle import open_bundle
from muad.errors import CheckpointError, ConfigError
from muad.runtime.choice import choices
from muad.runtime.computing import Acceleration
from muad.runtime.golden import golden_samples, measure
from muad.runtime.predictor import Predictor
from muad.runtime.sessions import runtimes


def photo(seed: int = 0, size: tuple[int, int] = (60, 70)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_a_bundle_gives_the_maps_and_scores_of_its_golden_samples(patch_bundle: Path, backend: str) -> None:
    predictor = Predictor(patch_bundle, backend=backend)
    for sample in golden_samples(open_bundle(patch_bundle), ""):
        for pixels, anomaly_map, score in zip(sample.pixels, sample.maps, sample.scores, strict=True):
            (found,) = predictor.predict(pixels, category="bolt")
            assert found.score == pytest.approx(float(score), abs=1e-5)
            assert found.anomaly_map.shape == (56, 56)
            assert float(np.nanmax(found.anomaly_map)) == pytest.approx(float(anomaly_map.max()), abs=0.2)


def test_limits_in_the_bundle_give_verdicts_and_categories_come_from_folders(
    patch_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "bolt").mkdir()
    Image.fromarray(photo()).save(tmp_path / "bolt" / "1.png")
    (found,) = Predictor(patch_bundle, backend="onnx").predict(tmp_path / "bolt" / "1.png")
    assert (found.category, found.limits.reject, found.map_limit) == ("bolt", 0.9, 0.8)
    assert found.verdict == ("reject" if found.score > 0.9 else "review" if found.score > 0.5 else "pass")
    assert found.overlay().shape[1] >= 70


def test_without_limits_there_is_no_verdict(write_patch_bundle: Callable[..., Path], tmp_path: Path) -> None:
    predictor = Predictor(write_patch_bundle(tmp_path / "b.muad", limits=False), backend="onnx")
    (found,) = predictor.predict(photo(), category="bolt")
    assert predictor.limits is None
    assert found.verdict is None
    assert found.score is not None


def test_each_category_has_the_network_of_its_own(write_patch_bundle: Callable[..., Path], tmp_path: Path) -> None:
    bundle = write_patch_bundle(tmp_path / "b.muad", per_category=True)
    predictor = Predictor(bundle, backend="onnx")
    scores = {name: predictor.predict(photo(), category=name)[0].score for name in ("bolt", "cloth")}
    assert scores["bolt"] != scores["cloth"]
    with pytest.raises(ConfigError, match="one detector per category"):
        predictor.predict(photo())


def test_regions_of_interest_and_tiles_are_those_of_the_bundle(
    write_patch_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    mask = np.zeros((60, 70), np.uint8)
    mask[:, :35] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    roi = {f"roi/{name}.png": (tmp_path / "mask.png").read_bytes() for name in ("bolt", "cloth")}
    plain = Predictor(write_patch_bundle(tmp_path / "plain.muad"), backend="onnx")
    predictor = Predictor(write_patch_bundle(tmp_path / "roi.muad", run=roi), backend="onnx")
    image = photo()
    outside = image.copy()
    outside[:, 40:] = 0
    (found,), (other,) = (predictor.predict(pixels, category="bolt") for pixels in (image, outside))
    assert np.isnan(found.anomaly_map[:, 40:]).all()
    assert found.score == other.score
    assert found.score != plain.predict(image, category="bolt")[0].score


def test_eight_threads_get_what_one_gets_while_limits_change(
    write_patch_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    file = write_patch_bundle(tmp_path / "b.muad", per_category=True)
    notes: list[str] = []
    predictor = Predictor(file, backend="onnx", note=notes.append)
    images = [photo(seed) for seed in range(16)]
    names = ["bolt", "cloth"] * 8
    alone = [predictor.predict(image, category=name)[0].score for image, name in zip(images, names, strict=True)]
    begin = threading.Barrier(8)

    def work(number: int) -> list[float | None]:
        begin.wait()
        if number == 3:
            changed = {"limits.toml": b"[categories.bolt]\nreview = 0.01\n"}
            write_patch_bundle(tmp_path / "n.muad", per_category=True, limits=False, run=changed).replace(file)
        return [predictor.predict(image, category=name)[0].score for image, name in zip(images, names, strict=True)]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [alone] * 8
    (found,) = predictor.predict(images[0], category="bolt")
    assert (found.verdict, found.limits.review) == ("review", 0.01)
    assert sum("has changed" in note for note in notes) == 1


def test_a_bundle_that_is_broken_or_gone_leaves_a_running_predictor_its_limits(
    write_patch_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    file = write_patch_bundle(tmp_path / "b.muad")
    notes: list[str] = []
    predictor = Predictor(file, backend="onnx", note=notes.append)
    file.write_bytes(b"half of it")
    before = predictor.predict(photo(), category="bolt")[0]
    file.unlink()
    after = predictor.predict(photo(), category="bolt")[0]
    assert before.limits == after.limits
    assert before.limits.reject == 0.9
    assert [note for note in notes if "limits stay as they were" in note]


def test_what_goes_with_no_bundle_is_one_line(patch_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be auto, onnx or openvino for a bundle, got torch"):
        Predictor(patch_bundle, backend="torch")
    with pytest.raises(ConfigError, match=r"one that the bundle holds for onnx.*fp32, got int8"):
        Predictor(patch_bundle, acceleration=Acceleration(backend="onnx", precision="int8"))
    with pytest.raises(ConfigError, match="encoder_weights must be left out"):
        Predictor(patch_bundle, encoder_weights=tmp_path / "w")
    with pytest.raises(ConfigError, match="device must be"):
        Predictor(patch_bundle, backend="onnx", device="cuda")
    with pytest.raises(ConfigError, match="device must be"):
        Predictor(patch_bundle, backend="openvino", device="cuda")
    with pytest.raises(ConfigError, match="beside acceleration"):
        Predictor(patch_bundle, backend="onnx", acceleration=Acceleration())


def test_the_fastest_runtime_is_remembered_and_a_read_only_cache_is_no_fault(
    patch_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(choices(open_bundle(patch_bundle), None, "auto")) == len(runtimes()) == 2
    monkeypatch.setenv("MUAD_CACHE", str(tmp_path / "cache"))
    notes: list[str] = []
    Predictor(patch_bundle, note=notes.append)
    assert sum("the fastest of 2 ways here" in note for note in notes) == 1
    (kept,) = (tmp_path / "cache" / "runtimes").iterdir()
    chosen = json.loads(kept.read_text())
    other = next(name for name in ("onnx", "openvino") if name != chosen[0])
    kept.write_text(json.dumps([other, "fp32"]))
    again = Predictor(patch_bundle, note=notes.append)
    assert again._source.choice == (other, "fp32")
    assert sum("the fastest of 2 ways here" in note for note in notes) == 1
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MUAD_CACHE", str(tmp_path / "file"))
    Predictor(patch_bundle).predict(photo(), category="bolt")


def test_a_runtime_off_the_golden_samples_is_measured(patch_bundle: Path) -> None:
    bundle = open_bundle(patch_bundle)
    predictor = Predictor(patch_bundle, backend="onnx")
    found = measure(predictor._detector(None), golden_samples(bundle, ""))
    assert found.map_deviation < 1e-5
    assert found.ms_per_view > 0
    assert found.within(bundle.manifest.golden_limits)


def test_no_torch_is_loaded(patch_bundle: Path) -> None:
    code = (
        "import sys, muad, numpy; p = muad.Predictor(sys.argv[1], backend='onnx');"
        "p.predict(numpy.zeros((60, 60, 3), 'uint8'), category='bolt'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(patch_bundle)], check=True)


@pytest.mark.parametrize("network", [b"", b"no network", b"\x08\x08\x3a\x7f"])
def test_a_network_that_is_none_is_one_line(
    write_patch_bundle: Callable[..., Path], tmp_path: Path, network: bytes
) -> None:
    file = write_patch_bundle(tmp_path / "b.muad", network=network)
    for backend in ("onnx", "openvino"):
        with pytest.raises(CheckpointError) as caught:
            Predictor(file, backend=backend)
        assert "\n" not in str(caught.value)


def test_a_network_that_names_another_file_or_gives_something_else_is_refused(
    write_patch_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    import onnx
    from onnx import TensorProto, helper

    def network(node: str, shape: list[int | str], *, outside: bool = False) -> bytes:
        weight = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
        if outside:
            weight.ClearField("float_data")
            weight.data_location = TensorProto.EXTERNAL
            weight.external_data.add(key="location", value="/etc/passwd")
        graph = helper.make_graph(
            [helper.make_node(node, ["images", "w"], ["y"])],
            "g",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["b", 3, 56, 56])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
            [weight],
        )
        model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        return model.SerializeToString()

    outside = write_patch_bundle(tmp_path / "o.muad", network=network("Mul", ["b", 3, 56, 56], outside=True))
    with pytest.raises(BundleError, match="names another file"):
        Predictor(outside, backend="onnx")
    unknown = write_patch_bundle(tmp_path / "u.muad", network=network("Launch", ["b"]))
    with pytest.raises(BundleError, match="that ONNX Runtime can compute"):
        Predictor(unknown, backend="onnx")
    other = write_patch_bundle(tmp_path / "w.muad", network=network("Mul", ["b", 3, 56, 56]))
    with pytest.raises(BundleError, match="encoded_0, decoded_0 of each image"):
        Predictor(other, backend="onnx")


def test_a_fault_in_a_small_file_names_the_bundle_and_no_private_folder(
    write_patch_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    file = write_patch_bundle(tmp_path / "b.muad", limits=False, run={"limits.toml": b"[categories"})
    with pytest.raises(ConfigError, match=r"limits.toml must be valid TOML, got .*b\.muad/limits\.toml"):
        Predictor(file, backend="onnx")


def test_parts_of_a_network_run_one_after_the_other(patch_bundle: Path) -> None:
    from muad.runtime.network_scorer import NetworkScorer

    bundle = open_bundle(patch_bundle)
    facts = bundle.manifest.networks[""]
    (sample, *_) = golden_samples(bundle, "")
    whole = Predictor(patch_bundle, backend="onnx")._detector(None)
    parts = NetworkScorer([lambda images: [images[0] * 1], whole._sessions[0]], facts, whole.preprocessing)
    first, second = (scorer.score_views(sample.pixels, [None, None]) for scorer in (whole, parts))
    np.testing.assert_array_equal(first.scores, second.scores)
    np.testing.assert_allclose(whole.expand_grids(first.grids), first.maps, atol=1e-6)


def test_threads_take_turns_at_the_network_of_a_run_folder(tiny_run: Path) -> None:
    predictor = Predictor(tiny_run, device="cpu")
    images = [photo(seed, (64, 64)) for seed in range(4)]
    alone = [predictor.predict(image, category="pill_blister")[0].score for image in images]
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda image: predictor.predict(image, category="pill_blister")[0].score, images * 4)
        assert list(found) == alone * 4


def test_a_head_this_release_does_not_have_is_one_line() -> None:
    from muad.bundles.manifest import HeadFacts
    from muad.runtime.network_scorer import head_of

    good = {"grids": ["a"], "input_px": [56, 56]}
    assert head_of(HeadFacts(kind="GridHead", settings=good)).grids == ("a",)
    for kind, settings, said in (
        ("NewHead", good, "one that this release has, got 'NewHead'"),
        ("ConfigError", good, "one that this release has"),
        ("GridHead", good | {"sharpness": 3}, "only settings of this release, got 'sharpness'"),
        ("GridHead", good | {"map_px": 10**9}, "at most 16384"),
        ("GridHead", good | {"map_px": "wide"}, "map_px must be"),
        ("GridHead", {"grids": ["a"]}, "input_px must be given"),
    ):
        with pytest.raises(BundleError, match=said) as caught:
            head_of(HeadFacts(kind=kind, settings=settings))
        assert "\n" not in str(caught.value)
