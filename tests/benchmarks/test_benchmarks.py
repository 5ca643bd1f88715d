"""What the benchmark compares with gives the same figures; only so is a ratio worth something."""

import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from muad.detectors import Dinomaly, DinomalyConfig
from muad.detectors.types import Batch
from muad.encoders.encoder import EncoderConfig
from muad.encoders.families import VitLayout
from muad.metrics.region import pixel_metrics
from muad.nn.denoiser import DenoiserConfig


@pytest.fixture
def maps_and_masks() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    masks = np.zeros((6, 32, 32), bool)
    masks[0, 3:9, 4:12] = masks[2, 20:30, 20:30] = masks[2, 2:5, 2:5] = True
    return (generator.random((6, 32, 32)) + 0.5 * masks).astype(np.float32), masks


def test_the_reference_path_is_the_detector(load) -> None:
    layout = VitLayout(width=32, depth=5, heads=2, patch_px=7, registers=2, position_grid=6)
    encoder = EncoderConfig(name="random-custom", layout=layout, tap_layers=(1, 2, 3, 4))
    detector = Dinomaly(DinomalyConfig(encoder=encoder, resize_px=(56, 42), crop_px=(56, 42), map_px=32))
    images = torch.randn(2, 3, 56, 42, generator=torch.Generator().manual_seed(0))
    expected = detector.predict(images)
    maps, scores = load("reference_path").ReferencePath(detector)(images)
    assert maps.allclose(expected.anomaly_map, atol=1e-5)
    assert scores.allclose(expected.score, atol=1e-5)


def test_the_reference_step_has_the_loss_and_gradient_of_ours(load) -> None:
    layout = VitLayout(width=32, depth=5, heads=2, patch_px=7, registers=2, position_grid=6)
    encoder = EncoderConfig(name="random-custom", layout=layout, tap_layers=(1, 2, 3, 4))
    config = DinomalyConfig(
        encoder=encoder, resize_px=(56, 42), crop_px=(56, 42), map_px=32, dropout_rate=0.0, easy_ramp_steps=2
    )
    detector = Dinomaly(config)
    images = torch.randn(4, 3, 56, 42, generator=torch.Generator().manual_seed(0))
    batch = Batch(images=images, seeds=(0, 1, 2, 3), categories=("part",) * 4)
    found = {}
    reference = load("training_rows").ReferenceStep(detector)
    for name, loss in {"ours": detector(batch, 2).total, "plain": reference.loss(2, reference.encode(images))}.items():
        loss.backward()
        gradients = [p.grad.flatten().clone() for p in detector.parameters() if p.grad is not None]
        found[name] = (loss.item(), torch.cat(gradients))
        detector.zero_grad()
    assert found["plain"][0] == pytest.approx(found["ours"][0], rel=1e-5)
    assert found["plain"][1].allclose(found["ours"][1], rtol=1e-3, atol=1e-6)


def test_a_step_has_parts(load) -> None:
    rows = load("training_rows")
    figures = rows.training_row("tiny", 28, rows.KEPT, steps=1)
    assert figures["ms"] == pytest.approx(sum(figures[name] for name in rows.PARTS))


def test_generated_data_are_evaluated_and_predicted(load) -> None:
    rows = load("data_rows")
    assert {verb: rows.verb_row(verb, 24)["s"] > 0 for verb in rows.VERBS} == {"evaluate": True, "predict": True}


def test_the_command_for_a_card_runs_in_miniature_on_a_processor(load, monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["gpu.py", "--quick", "--device", "cpu"])
    load("gpu").main()
    said = capsys.readouterr().out
    assert "TFLOP/s, a large matrix product" in said
    assert "recording off: " in said
    assert "4 steps, 16 images: " in said
    assert "ms a step" in said
    assert "images/s" in said


def test_results_measured_in_parts_are_merged_on_the_same_machine_alone(load, tmp_path: Path) -> None:
    bench = load("bench")
    first, second = ({"row": ["metrics", "ours, all exact", count], "s": 1.0} for count in (1725, 100))
    file = tmp_path / "results.json"
    machine = {"processor": "a CPU", "load at start": "0.1"}
    assert bench.merge([first], 1.0, machine, file) == ([first], 1.0)
    assert bench.merge([second], 2.0, machine | {"load at start": "3"}, file) == ([second, first], 3.0)
    assert bench.merge([first], 1.0, {"processor": "another"}, file) == ([first], 1.0)


def test_processes_that_are_measured_together_begin_at_one_moment(load, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MUAD_BENCH_MEETING", f"{tmp_path}:2")
    waiting = threading.Thread(target=load("measure").wait_for_others)
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    (tmp_path / "the other").touch()
    waiting.join(5)
    assert not waiting.is_alive()


def test_the_plain_metrics_are_ours(load, maps_and_masks) -> None:
    maps, masks = maps_and_masks
    plain = load("plain_metrics")
    found = pixel_metrics(maps, masks, aupro="thresholds_200")
    sklearn = plain.sklearn_metrics(maps, masks)
    assert sklearn["auroc"] == pytest.approx(found.auroc, abs=1e-9)
    assert sklearn["ap"] == pytest.approx(found.average_precision, abs=1e-9)
    assert sklearn["f1"] == pytest.approx(found.f1_max, abs=1e-6)
    assert plain.plain_aupro(maps, masks, 200)["aupro"] == pytest.approx(found.aupro, abs=1e-5)


def test_a_row_that_failed_and_one_without_its_reference_are_reported(load) -> None:
    figures = {"ms": 51.0, "best_ms": 50.0, "noisy": False, "flops": 2e10, "deviation": 4e-4}
    figures |= {"setup_s": 1.0, "peak_mib": 700.0}
    results = [
        {"row": ["peak", "bf16"], "flops": 8e11},
        {"row": ["inference", "S", 392, "reference, float32 eager", 1], **figures, "best_ms": 300.0},
        {"row": ["inference", "S", 392, "torch bf16", 1], **figures, "together": 2.1},
        {"row": ["inference", "S", 392, "openvino int8", 1], "failed": "package openvino must be installed"},
        {"row": ["inference", "B", 392, "torch bf16", 8], **figures},
    ]
    text = load("report").write_report(results, {"processor": "a CPU"}, minutes=1.0)
    assert "| S | 392 | 1 | torch bf16 | 6.0 | 51.0 | 50% | 2.10 | 1.0 | 700 |" in text
    assert "| S | 392 | 1 | openvino int8 | package openvino must be installed | | | | | |" in text
    assert "4096 rows: 0.80 TFLOP/s in bf16" in text
    assert "| B | 392 | 8 | torch bf16 |  | 51.0 |" in text


def test_every_planned_row_is_one_the_rows_know(load) -> None:
    rows, bench = load("rows"), load("bench")
    planned = bench.plan(list(bench.SECTIONS), quick=False)
    names = {row[3] for row in planned if row[0] == "inference"}
    assert names <= {rows.REFERENCE, *rows.VARIANTS}
    assert len({str(row) for row in planned}) == len(planned)


def test_costs_are_counted_for_both_detectors(load) -> None:
    cost = load("cost")
    layout = VitLayout(width=32, depth=5, heads=2, patch_px=7, registers=2, position_grid=6)
    encoder = EncoderConfig(name="random-custom", layout=layout, tap_layers=(1, 2, 3, 4))
    small = DenoiserConfig(width=8, multipliers=(1, 1), blocks_per_level=1, attention_levels=0)
    kept, none = cost.measure_cost(cost._dinomaly(encoder, 56)), cost.measure_cost(cost._diffusion(64, small, 4))
    assert 0 < kept["kept_gflop"] < kept["train_gflop"]
    # A training step of one image is three times its forward pass, but for the first layer's input.
    assert 2.5 < none["train_gflop"] / none["predict_gflop"] < 3
    assert none["kept_gflop"] == none["train_gflop"]
    text = cost.table({"one": kept, "other": none})
    assert text.count("none to keep") == 1
    assert len(text.splitlines()) == 4


def test_the_simulated_splits_follow_the_promised_distribution(load) -> None:
    """Distinct scores: exactly beta-binomial; equal ones: fewer false alarms."""
    calibration = load("calibration")
    pool = np.random.default_rng(0).normal(size=50)
    expected = calibration.promised(25, 25, 0.1)
    above = calibration.simulate(pool, 25, 0.1, 4000)
    found = np.bincount(above, minlength=26)[:8] / 4000
    assert found == pytest.approx(expected.pmf(np.arange(8)), abs=0.025)
    assert calibration.simulate(np.round(pool), 25, 0.1, 4000).mean() < above.mean()
    rows = calibration.split_rows({"bolt": pool[:20]}, 100)
    assert [row[:23] for row in rows] == ["| bolt | 10 + 10 | 10 %", "| bolt | 10 + 10 | 20 %"]


def test_limits_from_a_share_and_from_folds_are_those_that_are_promised(load) -> None:
    bench = load("cross_fitting")
    found = list(bench.simulate((24,), 120, seed=1))
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in found]
    assert [row[:5] for row in cells[:2]] == [
        ["simulated, steady", "24", "share", "8", "review"],
        ["simulated, steady", "24", "share and folds", "24", "review"],
    ]
    for row in cells:
        (mean, error), promised = map(float, row[6].removesuffix(" %").split(" ± ")), float(row[5].removesuffix(" %"))
        assert mean - 3 * error < promised
    assert cells[0][7] == cells[0][5] == "11.11 %"


def test_a_memory_of_patches_scores_as_the_detector_does(load) -> None:
    bench = load("cross_fitting")
    patches = torch.nn.functional.normalize(torch.randn(9, 16, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    memory = bench.PatchMemory(patches, top=2)
    apart = torch.cdist(patches.flatten(0, 1), patches.flatten(0, 1)).reshape(9, 16, 9, 16).amin(3)
    for image, remembered in ((0, [1, 4, 7]), (5, [2, 3])):
        expected = apart[image][:, remembered].amin(1).topk(2).values.mean()
        assert memory.fit(np.array(remembered))(np.array([image]))[0] == pytest.approx(float(expected), abs=2e-3)
    assert memory.own(np.array([1, 4, 7]))[1] == memory.fit(np.array([1, 7]))(np.array([4]))[0]


def test_images_unlike_those_calibrated_on_are_seen_in_their_p_values(load) -> None:
    calibration, random = load("calibration"), np.random.default_rng(0)
    rows = calibration.shift_rows({"bolt": random.normal(size=100)}, {"bolt": random.normal(size=40) + 3})
    assert len(rows) == 3
    assert "| 38 of 40 |" in rows[2]
    assert rows[2].endswith("| 0.01 |")


def test_what_takes_little_is_told_together(load) -> None:
    pytest.importorskip("openvino", reason="layers are counted by OpenVINO")
    lines = load("layers").table("A step", Counter({"mm": 90.0, "add": 9.0, "neg": 1.0}), 5e9, 1e11)
    assert lines[0] == "**A step**: 100 ms, 50% of 0.10 TFLOP/s."
    assert lines[4:-1] == ["| mm | 90 | 90% |", "| add | 9 | 9% |", "| all else | 1 | 1% |"]
