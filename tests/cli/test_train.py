"""`muad train`: what it writes, what it says, what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from PIL import Image

from muad.configuration.run_config import load_config


def _copy(data: Path, out: Path) -> Path:
    return Path(copytree(data, out))


def test_a_run_folder_holds_what_the_run_was(
    muad: Callable[..., Any], tiny_data: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = muad("train", tiny_data, "--out", run, "--recipe", tiny_recipe, "--set", "optim.lr=1e-3", "--device", "cpu")
    assert done.code == 0, done.err
    assert done.out == ""
    assert "Recognised" in done.err
    assert f"Next: muad evaluate {run} {tiny_data}" in done.err
    assert "Automatic Mixed Precision" not in done.err
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert facts["categories"] == {"pill_blister": 5, "printed_board": 5}
    assert facts["finished"] is True
    assert load_config(run / "config.toml").optim.lr == 1e-3
    assert (run / "checkpoints" / "00000012" / "weights.safetensors").is_file()
    assert json.loads((run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])["loss"] < 1.5


def test_a_finished_run_is_never_overwritten(
    muad: Callable[..., Any], tiny_data: Path, tiny_run: Path, tiny_recipe: Path
) -> None:
    before = (tiny_run / "run.json").read_bytes()
    assert "which holds a run" in muad("train", tiny_data, "--out", tiny_run, "--recipe", tiny_recipe).error
    assert (tiny_run / "run.json").read_bytes() == before


def test_a_run_that_failed_before_its_first_checkpoint_can_be_started_again(
    muad: Callable[..., Any], tiny_data: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    """Or else a forgotten --encoder-weights would ask for another folder, or for --resume of nothing."""
    run = tmp_path / "run"
    lost = ("--encoder", "dinov2-reg-small", "--encoder-weights", tmp_path / "lost.safetensors")
    lost_layout = ("--set", "detector.encoder={}")
    failed = muad("train", tiny_data, "--out", run, "--recipe", tiny_recipe, *lost_layout, *lost, "--device", "cpu")
    assert "lost.safetensors" in failed.error
    done = muad("train", tiny_data, "--out", run, "--recipe", tiny_recipe, "--device", "cpu")
    assert done.code == 0, done.err
    assert load_config(run / "config.toml").detector.encoder.name == "random-custom"


@pytest.mark.parametrize("content", [b"", b"not an image", b"truncated"], ids=["empty", "text", "truncated"])
def test_a_damaged_training_image_is_named_and_can_be_left_out(
    content: bytes, muad: Callable[..., Any], tiny_data: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    data, run = _copy(tiny_data, tmp_path / "data"), tmp_path / "run"
    victim = data / "pill_blister" / "train" / "good" / "000.png"
    victim.write_bytes(victim.read_bytes()[:2000] if content == b"truncated" else content)
    arguments = ("train", data, "--out", run, "--recipe", tiny_recipe, "--device", "cpu")
    refused = muad(*arguments).error
    assert str(victim) in refused
    assert "--skip-bad" in refused
    done = muad(*arguments, "--skip-bad", "--resume")
    assert done.code == 0, done.err
    assert done.err.count(f"left out of training: image {victim}") == 1


def test_an_image_too_small_is_named(
    muad: Callable[..., Any], tiny_data: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    data = _copy(tiny_data, tmp_path / "data")
    victim = data / "pill_blister" / "train" / "good" / "000.png"
    Image.new("RGB", (15, 64)).save(victim)
    fault = muad("train", data, "--out", tmp_path / "run", "--recipe", tiny_recipe, "--device", "cpu").error
    assert fault.startswith(f"image {victim} must be at least 16 px high and wide, got 64x15")


def test_a_category_without_good_training_images_is_named(
    muad: Callable[..., Any], tiny_data: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    data = _copy(tiny_data, tmp_path / "data")
    for file in (data / "pill_blister" / "train" / "good").iterdir():
        file.unlink()
    fault = muad("train", data, "--out", tmp_path / "run", "--recipe", tiny_recipe).error
    assert "normal training images" in fault
    assert "pill_blister" in fault
    assert not (tmp_path / "run").exists()


def test_missing_empty_and_unknown_data_are_told_apart(muad: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd" / "a" / "b" / "c").mkdir(parents=True)
    out = ("--out", tmp_path / "run")
    assert "must exist" in muad("train", tmp_path / "nowhere", *out).error
    assert "an empty folder" in muad("train", tmp_path / "empty", *out).error
    looked_for = muad("train", tmp_path / "odd", *out).error
    assert all(name in looked_for for name in ("mvtec:", "visa:", "real_iad:", "dagm:", "folder:"))
    named = muad("train", tmp_path / "odd", *out, "--layout", "mvtek").error
    assert "Did you mean 'mvtec'?" in named
    assert "real_iad" in named


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--set", "detector.dropout=0.1"), "got 'detector.dropout'. Did you mean 'detector.dropout_rate'?"),
        (("--set", "optm.lr=1"), "got 'optm'. Did you mean 'optim'?"),
        (("--set", "optim.lr=fast"), "optim.lr must be a number"),
        (("--set", "optim.lr"), "override must look like section.key=value, got 'optim.lr'."),
        (("--recipe", "dinomaly-mvtek"), "Did you mean 'dinomaly-mvtec'?"),
        (("--recipe", "lost.toml"), "recipe must be a readable TOML file, got lost.toml"),
        (("--encoder", "dinov2-reg-bas"), "Closest: dinov2-reg-base"),
        (("--device", "tpu7"), "device must be one of auto, cpu"),
    ],
)
def test_a_wrong_setting_is_told_with_its_path_and_the_closest_valid_one(
    arguments: tuple[str, ...], told: str, muad: Callable[..., Any], tiny_data: Path, tmp_path: Path
) -> None:
    assert told in muad("train", tiny_data, "--out", tmp_path / "run", *arguments).error
    assert not (tmp_path / "run").exists()


def test_without_network_the_remedy_names_both_ways(
    muad: Callable[..., Any], tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    fault = muad("train", tiny_data, "--out", tmp_path / "run", "--encoder", "dinov2-reg-base").error
    assert "muad fetch-encoder dinov2-reg-base --to dinov2-reg-base.safetensors" in fault
    assert "--encoder-weights FILE" in fault


def test_an_output_folder_that_cannot_be_written_is_told(
    muad: Callable[..., Any], tiny_data: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    out = tmp_path / "file" / "run"
    fault = muad("train", tiny_data, "--out", out, "--recipe", tiny_recipe, "--device", "cpu").error
    assert f"run folder must be writable, got {out}" in fault
    assert (tmp_path / "file").read_text(encoding="utf-8") == "in the way"
