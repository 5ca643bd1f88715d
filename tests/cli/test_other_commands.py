"""The small commands: recipes, data, demo-data, import-official, fetch-encoder, doctor."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from muad import Predictor, load_config
from muad.checkpoints.checkpoint import build_detector
from muad.checkpoints.official import official_name
from muad.configuration.recipe_files import recipe_names, recipe_text


def test_recipes_list_names_every_recipe_in_full(muad: Callable[..., Any]) -> None:
    shown = muad("recipes", "list")
    assert shown.code == 0
    listed = [line.split()[0] for line in shown.out.splitlines() if line.strip()]
    assert set(recipe_names()) <= set(listed)


def test_recipes_show_prints_the_file_as_it_is(muad: Callable[..., Any]) -> None:
    assert muad("recipes", "show", "dinomaly-visa").out.rstrip() == recipe_text("dinomaly-visa").rstrip()
    assert "Did you mean 'dinomaly-visa'?" in muad("recipes", "show", "dinomaly-vsa").error


def test_small_commands_speak_json(muad: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUAD_CACHE", str(tmp_path))
    listed = json.loads(muad("recipes", "list", "--json").out)
    assert [entry["recipe"] for entry in listed] == list(recipe_names())
    shown = json.loads(muad("recipes", "show", "dinomaly-visa", "--json").out)
    assert shown["published"]["image_auroc"] == 0.987
    assert json.loads(muad("cache", "list", "--json").out) == []
    assert json.loads(muad("cache", "clear", "--json").out)["freed_bytes"] == 0


def test_data_summary_counts(muad: Callable[..., Any], tiny_data: Path) -> None:
    shown = muad("data", "summary", tiny_data)
    assert shown.code == 0
    assert "layout mvtec" in shown.err
    rows = [line.split() for line in shown.out.splitlines()]
    assert ["printed_board", "train", "5", "0", "0", "-", "64", "x", "64"] in rows


def test_data_summary_as_json_is_all_there_is_on_stdout(muad: Callable[..., Any], tiny_data: Path) -> None:
    found = json.loads(muad("data", "summary", tiny_data, "--json", "--check-files").out)
    assert found["layout"] == "mvtec"
    assert found["problems"] == []
    assert [(split["category"], split["split"], split["anomalous"]) for split in found["splits"]] == [
        ("pill_blister", "train", 0),
        ("pill_blister", "test", 6),
        ("printed_board", "train", 0),
        ("printed_board", "test", 6),
    ]


def test_data_summary_names_files_at_fault(muad: Callable[..., Any], tiny_data: Path, tmp_path: Path) -> None:
    data = copytree(tiny_data, tmp_path / "data")
    victim = data / "pill_blister" / "test" / "good" / "000.png"
    victim.write_bytes(b"")
    Image.new("L", (3, 3)).save(data / "printed_board" / "ground_truth" / "crack" / "000_mask.png")
    shown = muad("data", "summary", data, "--check-files")
    assert shown.code == 0
    assert f"image {victim} must not be empty" in shown.err
    assert "must have the size of its image" in shown.err


def test_demo_data_writes_a_data_set_and_knows_its_own(muad: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "holiday.jpg").write_bytes(b"keep me")
    assert str(tmp_path / "mine") in muad("demo-data", tmp_path / "mine").error
    assert (tmp_path / "mine" / "holiday.jpg").read_bytes() == b"keep me"


@pytest.fixture
def official(tiny_recipe: Path, tmp_path: Path) -> Path:
    """A checkpoint in the naming of the authors' code, of a small network without registers."""
    config = load_config(tiny_recipe, ["detector.encoder.layout.registers=0"])
    detector = build_detector(config)
    state = {official_name(name): tensor.clone() for name, tensor in detector.trainable_state().items()}
    network = detector.encoder.network.state_dict()
    state |= {f"encoder.{name}": tensor.clone() for name, tensor in network.items()}
    path = tmp_path / "official.safetensors"
    save_file(state, path)
    return path


def test_import_official_gives_a_run_that_predicts(
    muad: Callable[..., Any], official: Path, tiny_recipe: Path, tiny_data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = muad("import-official", official, "--out", run, "--recipe", tiny_recipe, "--heads", "2", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["run"] == str(run)
    assert f"Next: muad evaluate {run} DATA" in done.err
    image = next((tiny_data / "pill_blister" / "test" / "good").iterdir())
    assert Predictor(run, device="cpu").predict(image)[0].score is not None


def test_import_official_refuses_what_is_none_and_never_overwrites(
    muad: Callable[..., Any], official: Path, tiny_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert "must be an existing file" in muad("import-official", tmp_path / "lost.pth", "--out", run).error
    save_file({"weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    assert "bottleneck.0.fc1.weight" in muad("import-official", tmp_path / "other.safetensors", "--out", run).error
    assert not (run / "run.json").exists()
    before = (tiny_run / "run.json").read_bytes()
    assert "run folder must be new" in muad("import-official", official, "--out", tiny_run).error
    assert (tiny_run / "run.json").read_bytes() == before


def test_fetch_encoder_refuses_what_it_cannot_fetch(
    muad: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "encoder.safetensors"
    assert "Did you mean 'dinov2-reg-base'?" in muad("fetch-encoder", "dinov2-reg-bas", "--to", file).error
    assert "the hub cannot be reached" in muad("fetch-encoder", "dinov2-reg-base", "--to", file).error
    assert "must end in .safetensors" in muad("fetch-encoder", "dinov2-reg-base", "--to", tmp_path / "a.pth").error
    assert list(tmp_path.iterdir()) == []


def test_doctor_says_what_the_machine_offers(muad: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    shown = muad("doctor")
    assert shown.code == 0
    facts = {line.split("  ")[0]: line for line in shown.out.splitlines()}
    names = {"muad", "python", "torch", "timm", "device", "bf16 units", "precision", "threads", "free memory", "hub"}
    names |= {"cores"}
    assert names <= set(facts)
    assert "not reachable" in facts["hub"]
    assert json.loads(muad("doctor", "--json").out).keys() >= names
    assert "quota" in facts["cores"]
    assert "OMP_NUM_THREADS=" in facts["threads"] or "no variable is set" in facts["threads"]
