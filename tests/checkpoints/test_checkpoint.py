"""Run folders: what lies in them, what happens when the disk is full or a file is damaged."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from muad import Predictor, api, open_catalog
from muad.checkpoints.checkpoint import (
    build_detector,
    copy_tensors,
    load_detector,
    load_optimizer,
    load_weights,
    read_config,
)
from muad.configuration.run_config import load_config
from muad.datasets.content_hash import content_hash
from muad.detectors import Detector
from muad.errors import CheckpointError
from muad.runs.folder import FORMAT_VERSION, category_folder, checkpoints, read_run, write_text
from muad.training.loop import resume
from muad.training.optimizer import build_optimizer

TrainTiny = Callable[..., object]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_recipe: Path, photos: Path) -> Path:
    out = tmp_path_factory.mktemp("trained") / "run"
    api.train(photos, out, recipe=tiny_recipe, device="cpu")
    return out


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A trained run to damage."""
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def limit_file_size() -> Iterator[Callable[[int], None]]:
    """Writes beyond so many bytes of a file fail from now on, as on a full disk; lifted after the test."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (before[0] if size < 0 else size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_only_tensors_and_text_lie_in_a_run_folder(trained: Path) -> None:
    files = [path for path in trained.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".safetensors", ".json", ".jsonl", ".toml"}
    for path in files:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as tensors:
                assert list(tensors.keys())
        else:
            path.read_text(encoding="utf-8")


def test_the_newest_two_checkpoints_are_kept_and_only_an_unfinished_one_can_go_on(trained: Path) -> None:
    found = checkpoints(trained)
    assert [checkpoint.step for checkpoint in found] == [10, 12]
    assert sorted(path.name for path in found[0].folder.iterdir()) == [
        "optimizer.safetensors", "state.json", "weights.safetensors",
    ]  # fmt: skip
    assert sorted(path.name for path in found[1].folder.iterdir()) == ["state.json", "weights.safetensors"]


def test_a_checkpoint_holds_the_trainable_tensors_and_no_others(trained: Path) -> None:
    detector = load_detector(trained)
    saved = load_file(trained / "checkpoints/00000012/weights.safetensors")
    assert saved.keys() == {name for name, tensor in detector.named_parameters() if tensor.requires_grad}
    assert not [name for name in saved if name.startswith("encoder")]
    assert all(tensor.equal(saved[name]) for name, tensor in detector.trainable_state().items())


def test_a_disk_that_fills_up_costs_nothing_but_the_new_checkpoint(
    train_tiny: TrainTiny, tmp_path: Path, limit_file_size: Callable[[int], None]
) -> None:
    run = tmp_path / "run"

    def fill_up(name: str, done: int, total: int, loss: float | None) -> None:
        if done == 6:
            limit_file_size(50_000)

    with pytest.raises(CheckpointError, match=r"checkpoint of step 10 .* step 5 is intact; free disk space .*--resume"):
        train_tiny(run, progress=fill_up)
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["00000005"]
    assert load_detector(run).trainable_state()
    limit_file_size(-1)
    train_tiny(run, resume=True)
    assert [checkpoint.step for checkpoint in checkpoints(run)] == [10, 12]


def test_a_full_disk_before_the_first_checkpoint_says_so(
    train_tiny: TrainTiny, tmp_path: Path, limit_file_size: Callable[[int], None]
) -> None:
    limit_file_size(50_000)
    with pytest.raises(CheckpointError, match="No earlier checkpoint exists"):
        train_tiny(tmp_path / "run")
    assert list((tmp_path / "run/checkpoints").iterdir()) == []


def test_a_text_file_is_the_old_one_or_the_new_one(tmp_path: Path, limit_file_size: Callable[[int], None]) -> None:
    file = tmp_path / "evaluation.json"
    write_text(file, "old")
    limit_file_size(1000)
    with pytest.raises(CheckpointError, match=r"evaluation\.json must be writable"):
        write_text(file, "new" * 1000)
    assert file.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [file]
    write_text(file, "new")
    assert file.read_text(encoding="utf-8") == "new"


def test_a_folder_that_cannot_be_made_is_one_line(train_tiny: TrainTiny, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    with pytest.raises(CheckpointError, match="run folder must be writable"):
        train_tiny(tmp_path / "file" / "run")


def test_another_format_version_is_refused(run: Path) -> None:
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    (run / "run.json").write_text(json.dumps({**facts, "format_version": 99, "muad": "7.0"}), encoding="utf-8")
    with pytest.raises(CheckpointError, match=rf"format version 1 or {FORMAT_VERSION}, got 99 .*release.*7\.0"):
        load_detector(run)


def test_the_manifest_says_what_the_run_was_made_of(trained: Path, photos: Path) -> None:
    facts = read_run(trained)
    assert facts["format_version"] == FORMAT_VERSION
    assert facts["data_hash"] == content_hash(open_catalog(photos).select(split="train"), photos)
    assert facts["calibration"] == {}
    assert facts["preprocessing"]["resize_px"] == [56, 56]
    assert facts["encoder"]["name"] == "random-custom"
    assert facts["encoder"]["licence"] == "Apache-2.0"
    assert facts["encoder"]["fingerprint"] == load_detector(trained).fingerprint


def test_each_folder_of_a_per_category_run_is_described_as_well(tiny_runs: Path) -> None:
    whole, part = read_run(tiny_runs), read_run(tiny_runs / "categories" / "pill_blister")
    assert whole["encoder"] == part["encoder"]
    assert whole["preprocessing"] == part["preprocessing"]
    assert whole["data_hash"] != part["data_hash"]


VERSION_1 = {
    "format_version": 1,
    "mode": "multi_class",
    "categories": {"bolt": 5, "cloth": 5},
    "data": "/elsewhere/photos",
    "layout": "mvtec",
    "seed": 1,
    "created": "2026-11-22T11:51:34+00:00",
    "muad": "0.1.0",
    "finished": True,
    "map_scale": [0.003, 0.05],
}


def test_a_run_folder_of_version_1_loads_as_before(run: Path) -> None:
    before = load_detector(run).trainable_state()
    (run / "run.json").write_text(json.dumps(VERSION_1), encoding="utf-8")
    after = load_detector(run).trainable_state()
    assert all(tensor.equal(after[name]) for name, tensor in before.items())
    predictor = Predictor(run, device="cpu")
    assert predictor.categories == ("bolt", "cloth")
    assert predictor.map_scale == (0.003, 0.05)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "null"])
def test_a_damaged_run_json_is_one_line(run: Path, content: str) -> None:
    (run / "run.json").write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"run\.json must be readable"):
        read_run(run)


def test_a_folder_without_a_run_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"must be a folder written by `muad train`, got .*no run\.json"):
        load_detector(tmp_path)


def test_a_run_without_a_checkpoint_says_so(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(CheckpointError, match="run must hold a checkpoint"):
        load_detector(run)


@pytest.mark.parametrize(
    ("name", "content"),
    [("weights.safetensors", None), ("weights.safetensors", b""), ("state.json", b"{"), ("state.json", b"[1]"),
     ("state.json", b"{}")],
)  # fmt: skip
def test_a_damaged_checkpoint_names_its_file_and_the_way_back(run: Path, name: str, content: bytes | None) -> None:
    file = run / "checkpoints/00000012" / name
    file.write_bytes(file.read_bytes()[:-1000] if content is None else content)
    with pytest.raises(CheckpointError, match=rf"{name} must .*00000012.*Delete its folder"):
        load_detector(run)
    shutil.rmtree(file.parent)
    assert load_detector(run).trainable_state()


def test_a_half_written_checkpoint_is_not_looked_at(run: Path) -> None:
    (run / "checkpoints/00000013.partial").mkdir()
    (run / "checkpoints/00000013.partial/weights.safetensors").write_bytes(b"half")
    assert checkpoints(run)[-1].step == 12
    assert load_detector(run).trainable_state()


def test_weights_on_top_of_another_encoder_are_refused(run: Path, tiny_recipe: Path) -> None:
    other = build_detector(load_config(tiny_recipe, ["detector.encoder.seed=5"]))
    before = {name: tensor.clone() for name, tensor in other.trainable_state().items()}
    with pytest.raises(CheckpointError, match="encoder weights must be those the run was trained with"):
        load_weights(checkpoints(run)[-1], other)
    assert all(tensor.equal(before[name]) for name, tensor in other.trainable_state().items())


def test_every_tensor_that_does_not_fit_is_listed_and_none_is_copied() -> None:
    target = {"a": torch.zeros(2), "b": torch.zeros(3), "c": torch.zeros(1)}
    source = {"a": torch.ones(2), "b": torch.ones(4), "d": torch.ones(1)}
    with pytest.raises(CheckpointError, match=r"got 3 .*c missing, d unexpected, b \(4,\) instead of \(3,\)"):
        copy_tensors(source, target)
    assert not target["a"].any()


def test_the_optimizers_state_does_not_depend_on_its_file(run: Path, photos: Path, tiny_recipe: Path) -> None:
    """Loaded tensors are copies: the file behind them is deleted while the run goes on."""
    _, optimizer = _detector_and_optimizer(tiny_recipe)
    checkpoint = checkpoints(run)[0]
    saved = load_file(checkpoint.folder / "optimizer.safetensors")
    expected = {name: tensor.clone() for name, tensor in saved.items()}
    load_optimizer(checkpoint, optimizer)
    os.truncate(checkpoint.folder / "optimizer.safetensors", 0)
    state = optimizer.state_dict()["state"]
    assert {entry["step"] for entry in state.values()} == {10}
    assert all(state[int(key.split(".")[0])][key.split(".")[1]].equal(tensor) for key, tensor in expected.items())


def test_the_encoders_file_may_be_given_anew(train_tiny: TrainTiny, tmp_path: Path, tiny_recipe: Path) -> None:
    encoder = build_detector(load_config(tiny_recipe)).encoder
    kept = {name: tensor.clone() for name, tensor in encoder.network.state_dict().items()}
    file, run = tmp_path / "encoder.safetensors", tmp_path / "run"
    save_file(kept, file)
    train_tiny(run, 'detector.encoder.name="custom"', f'detector.encoder.weights="{file}"', "schedule.total_steps=2")
    moved = file.rename(tmp_path / "elsewhere.safetensors")
    with pytest.raises(CheckpointError, match=r"existing file, got .*encoder\.safetensors"):
        load_detector(run)
    assert load_detector(run, moved).trainable_state()
    assert read_config(run, moved).detector.encoder.weights == moved
    save_file({name: tensor + 1 for name, tensor in kept.items()}, file)
    with pytest.raises(CheckpointError, match="encoder weights must be those the run was trained with"):
        load_detector(run)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "c:", "x*", "../up"])
def test_a_category_cannot_lead_out_of_the_run_folder(name: str) -> None:
    with pytest.raises(CheckpointError, match="usable as a folder name"):
        category_folder(Path("run"), name)
    assert category_folder(Path("run"), "metal plate") == Path("run/categories/metal plate")


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors"])
def test_bytes_changed_inside_a_tensor_file_are_found(run: Path, name: str, tiny_recipe: Path) -> None:
    file = run / "checkpoints/00000010" / name
    content = bytearray(file.read_bytes())
    content[-5] ^= 1  # a number, not the header: the file reads as before
    file.write_bytes(content)
    assert load_file(file)
    shutil.rmtree(run / "checkpoints/00000012")
    with pytest.raises(CheckpointError, match=rf"{name} must be as it was written .*00000010.*Delete its folder"):
        resume(load_config(tiny_recipe), run, *_detector_and_optimizer(tiny_recipe), None)


def _detector_and_optimizer(recipe: Path) -> tuple[Detector, torch.optim.Optimizer]:
    config = load_config(recipe)
    detector = build_detector(config)
    return detector, build_optimizer(config.optim, detector)


def test_a_run_without_digests_loads_as_before(run: Path) -> None:
    before = load_detector(run).trainable_state()
    file = run / "checkpoints/00000012/state.json"
    state = json.loads(file.read_text(encoding="utf-8"))
    assert state.pop("digests").keys() == {"weights.safetensors"}
    file.write_text(json.dumps(state), encoding="utf-8")
    after = load_detector(run).trainable_state()
    assert all(tensor.equal(after[name]) for name, tensor in before.items())


def test_a_state_of_another_step_is_refused(run: Path) -> None:
    (run / "checkpoints/00000012").rename(run / "checkpoints/00000013")
    with pytest.raises(CheckpointError, match=r"state\.json: step must be that of its folder, 13, got 12"):
        load_detector(run)


@pytest.mark.skipif(os.name == "nt", reason="modes of another kind")
def test_every_file_of_a_run_has_the_mode_of_the_others(trained: Path) -> None:
    modes = {path.stat().st_mode for path in trained.rglob("*") if path.is_file()}
    assert modes == {(trained / "run.json").stat().st_mode}
