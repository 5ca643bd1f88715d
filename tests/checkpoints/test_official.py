"""Checkpoints of the authors' code, with generated numbers in their naming."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from muad.checkpoints.checkpoint import build_detector, load_detector, read_config
from muad.checkpoints.official import import_official
from muad.configuration.run_config import RunConfig, load_config
from muad.errors import CheckpointError, ConfigError
from muad.runs.folder import read_run
from muad.runtime.predictor import Predictor

Tensors = dict[str, torch.Tensor]
WIDTH, DEPTH, PATCH = 32, 4, 14
SIZES = ("detector.resize_px=[56, 56]", "detector.crop_px=[42, 42]", "detector.map_px=32")
TAPS = "detector.encoder.tap_layers=[0, 1, 2, 3]"


def linear(name: str, outputs: int, inputs: int, random: torch.Generator) -> Tensors:
    return {
        f"{name}.weight": torch.randn(outputs, inputs, generator=random) / inputs**0.5,
        f"{name}.bias": 0.1 * torch.randn(outputs, generator=random),
    }


def block(name: str, random: torch.Generator) -> Tensors:
    tensors = linear(f"{name}.attn.qkv", 3 * WIDTH, WIDTH, random) | linear(f"{name}.attn.proj", WIDTH, WIDTH, random)
    tensors |= linear(f"{name}.mlp.fc1", 4 * WIDTH, WIDTH, random) | linear(f"{name}.mlp.fc2", WIDTH, 4 * WIDTH, random)
    for norm in ("norm1", "norm2"):
        tensors |= {f"{name}.{norm}.weight": torch.ones(WIDTH), f"{name}.{norm}.bias": torch.zeros(WIDTH)}
    return tensors


def official_tensors() -> Tensors:
    """A state_dict as the authors save it: a DINOv2 encoder with registers, the bottleneck as a list, the decoder."""
    random = torch.Generator().manual_seed(4)
    tensors = {
        "encoder.cls_token": torch.randn(1, 1, WIDTH, generator=random),
        "encoder.mask_token": torch.zeros(1, WIDTH),
        "encoder.pos_embed": torch.randn(1, 1 + 5 * 5, WIDTH, generator=random),
        "encoder.register_tokens": torch.randn(1, 4, WIDTH, generator=random),
        "encoder.patch_embed.proj.weight": 0.05 * torch.randn(WIDTH, 3, PATCH, PATCH, generator=random),
        "encoder.patch_embed.proj.bias": torch.zeros(WIDTH),
        "encoder.norm.weight": torch.ones(WIDTH),
        "encoder.norm.bias": torch.zeros(WIDTH),
    }
    for index in range(DEPTH):
        tensors |= block(f"encoder.blocks.{index}", random) | block(f"decoder.{index}", random)
        tensors |= {f"encoder.blocks.{index}.ls{scale}.gamma": torch.ones(WIDTH) for scale in (1, 2)}
    tensors |= linear("bottleneck.0.fc1", 4 * WIDTH, WIDTH, random)
    return tensors | linear("bottleneck.0.fc2", WIDTH, 4 * WIDTH, random)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_file(official_tensors(), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.fixture
def config() -> RunConfig:
    return load_config(None, [*SIZES, TAPS])


@pytest.fixture
def spoil(tmp_path: Path) -> Callable[[Callable[[Tensors], object]], Path]:
    """A file of the same tensors after something was done to them."""

    def write(change: Callable[[Tensors], object]) -> Path:
        tensors = official_tensors()
        change(tensors)
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "spoilt.safetensors")
        return tmp_path / "spoilt.safetensors"

    return write


def test_the_shape_is_read_from_the_file(file: Path, config: RunConfig, tmp_path: Path) -> None:
    layout = import_official(file, tmp_path / "run", config, heads=2).detector.encoder.layout
    assert layout is not None
    assert (layout.width, layout.depth, layout.heads, layout.patch_px) == (32, 4, 2, 14)
    assert (layout.registers, layout.class_token, layout.layer_scale, layout.position_grid) == (4, True, True, 5)


def test_heads_are_a_64th_of_the_width_unless_given(file: Path, config: RunConfig, tmp_path: Path) -> None:
    layout = import_official(file, tmp_path / "run", config).detector.encoder.layout
    assert layout is not None
    assert layout.heads == 1
    with pytest.raises(ConfigError, match="heads must divide the width 32, got 5"):
        import_official(file, tmp_path / "other", config, heads=5)


def test_what_the_file_does_not_say_comes_from_the_configuration(file: Path, tmp_path: Path) -> None:
    settings = [*SIZES, "detector.encoder.tap_layers=[1, 3]", "detector.encoder.position_interpolation=antialias"]
    with pytest.raises(CheckpointError, match=r"decoder\.2\.\S+ unexpected"):
        import_official(file, tmp_path / "two", load_config(None, settings))  # two taps, but four decoder blocks
    settings[-2] = TAPS
    encoder = import_official(file, tmp_path / "run", load_config(None, settings)).detector.encoder
    assert encoder.tap_layers == (0, 1, 2, 3)
    assert encoder.position_interpolation == "antialias"
    with pytest.raises(ConfigError, match=r"tap_layers must be rising .* no default for this depth"):
        import_official(file, tmp_path / "none", load_config(None, SIZES))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".bin"])
def test_the_run_is_a_run_like_any_other(
    file: Path, config: RunConfig, tmp_path: Path, photos: Path, suffix: str
) -> None:
    """Every trainable tensor is the file's, and it predicts what a detector built by hand predicts."""
    tensors = official_tensors()
    if suffix != ".safetensors":
        file = tmp_path / f"model{suffix}"
        torch.save(tensors, file)
    run = tmp_path / "run"
    imported = import_official(file, run, config, heads=2)
    assert read_run(run)["finished"] is True
    assert read_run(run)["imported_from"] == file.name
    detector = load_detector(run)
    ours = {name.replace("bottleneck.", "bottleneck.0."): t for name, t in detector.trainable_state().items()}
    expected = {name: tensor for name, tensor in tensors.items() if not name.startswith("encoder.")}
    assert ours.keys() == expected.keys()
    assert all(ours[name].equal(tensor) for name, tensor in expected.items())
    by_hand = build_detector(imported)
    by_hand.load_state_dict(detector.state_dict())
    images = torch.randn(2, 3, 42, 42, generator=torch.Generator().manual_seed(1))
    assert detector.predict(images).score.equal(by_hand.predict(images).score)

    (prediction,) = Predictor(run, device="cpu").predict(photos / "bolt/test/good/005.png")
    assert prediction.score is not None
    assert prediction.anomaly_map is not None
    assert prediction.anomaly_map.shape == (60, 64)
    # The crop of 42 out of 56 resized pixels hid the rim of the photograph.
    assert np.isnan(prediction.anomaly_map[:7]).all()
    assert np.isfinite(prediction.anomaly_map[9:-9, 9:-9]).all()


def test_a_run_that_was_moved_finds_its_encoder(
    file: Path, config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    import_official(file, Path("run"), config)
    images = torch.randn(1, 3, 42, 42, generator=torch.Generator().manual_seed(1))
    expected = load_detector(Path("run")).predict(images).score
    file.unlink()
    shutil.move("run", "moved")
    monkeypatch.chdir("/")
    assert load_detector(tmp_path / "moved").predict(images).score.equal(expected)
    assert read_config(tmp_path / "moved").detector.encoder.weights == tmp_path / "moved/encoder.safetensors"


def test_a_copy_uses_its_own_encoder_whatever_lies_where_it_was(file: Path, config: RunConfig, tmp_path: Path) -> None:
    run = tmp_path / "run"
    import_official(file, run, config)
    shutil.copytree(run, tmp_path / "copy")
    encoder = {name: tensor + 1 for name, tensor in load_file(run / "encoder.safetensors").items()}
    save_file(encoder, run / "encoder.safetensors")
    assert load_detector(tmp_path / "copy").trainable_state()
    with pytest.raises(CheckpointError, match="encoder weights must be those the run was trained with"):
        load_detector(run)


@pytest.mark.parametrize(
    ("change", "listed"),
    [
        (lambda t: t.pop("decoder.1.attn.qkv.weight"), r"1 that do not: decoder\.1\.attn\.qkv\.weight missing"),
        (lambda t: t.update({"decoder.4.norm1.bias": torch.zeros(32)}), r"decoder\.4\.norm1\.bias unexpected"),
        (
            lambda t: t.update({"decoder.0.mlp.fc1.weight": torch.zeros(64, 32)}),
            r"decoder\.0\.mlp\.fc1\.weight \(64, 32\) instead of \(128, 32\)",
        ),
        (lambda t: t.pop("encoder.blocks.2.mlp.fc1.weight"), r"1 missing: blocks\.2\.mlp\.fc1\.weight"),
        (lambda t: t.update({"encoder.foreign": torch.zeros(2)}), r"1 unexpected: foreign"),
        (lambda t: t.update({"encoder.cls_token": torch.zeros(1, 1, 8)}), r"cls_token must be \(1, 1, 32\), got"),
        (lambda t: t.pop("encoder.patch_embed.proj.weight"), r"plain vision transformer, .*patch_embed\.proj\.weight"),
        (lambda t: [t.pop(name) for name in list(t) if ".blocks." in name], r"plain vision transformer, .*blocks\.0"),
        (
            lambda t: [t.pop(name) for name in list(t) if name.startswith("encoder.")],
            "must hold its encoder or have width 384, 768, 1024, got 32",
        ),
    ],
)
def test_what_does_not_fit_is_listed_and_nothing_is_left_behind(
    spoil: Callable[..., Path], config: RunConfig, tmp_path: Path, change: Callable[[Tensors], object], listed: str
) -> None:
    with pytest.raises(CheckpointError, match=listed):
        import_official(spoil(change), tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


def test_settings_of_dinomaly2_are_refused_for_a_checkpoint_of_the_first(file: Path, tmp_path: Path) -> None:
    config = load_config(None, [*SIZES, TAPS, "detector.bottleneck_width=256"])
    with pytest.raises(ConfigError, match=r"must be left out for a checkpoint of Dinomaly, got 256\. Name a recipe of"):
        import_official(file, tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


def test_another_kind_of_file_is_named(tmp_path: Path, config: RunConfig) -> None:
    save_file({"conv1.weight": torch.zeros(2, 2)}, tmp_path / "resnet.safetensors")
    with pytest.raises(
        CheckpointError, match=r"must hold bottleneck\.0\.fc1\.weight, or .*, got resnet\.safetensors with conv1"
    ):
        import_official(tmp_path / "resnet.safetensors", tmp_path / "run", config)
    with pytest.raises(CheckpointError, match=r"official checkpoint must be an existing file, got .*nowhere\.pth"):
        import_official(tmp_path / "nowhere.pth", tmp_path / "run", config)
    (tmp_path / "text.pth").write_text("not a checkpoint", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"readable file of tensors, got .*text\.pth"):
        import_official(tmp_path / "text.pth", tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


def test_objects_in_a_checkpoint_are_refused_in_our_own_words(tmp_path: Path, config: RunConfig) -> None:
    torch.save({"model": torch.nn.Linear(2, 2), "config": Path("x")}, tmp_path / "whole.pth")
    with pytest.raises(CheckpointError, match=r"^official checkpoint must be a readable file of tensors") as caught:
        import_official(tmp_path / "whole.pth", tmp_path / "run", config)
    assert "could run code" in str(caught.value)
    assert "weights_only" not in str(caught.value)
    assert "trust" not in str(caught.value)


def test_an_existing_folder_is_not_touched(file: Path, config: RunConfig, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(CheckpointError, match="run folder must be new or empty"):
        import_official(file, run, config)
    assert [path.name for path in run.iterdir()] == ["notes.txt"]


def test_a_second_encoder_is_refused(file: Path, config: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be left out for a checkpoint that holds its encoder"):
        import_official(file, tmp_path / "run", config, encoder_weights=file)


def test_nothing_in_the_run_folder_can_execute_code(file: Path, config: RunConfig, tmp_path: Path) -> None:
    import_official(file, tmp_path / "run", config)
    names = {str(path.relative_to(tmp_path / "run")) for path in (tmp_path / "run").rglob("*") if path.is_file()}
    folder = f"checkpoints/{config.schedule.total_steps:08d}"
    assert names == {
        "run.json", "config.toml", "encoder.safetensors", f"{folder}/weights.safetensors", f"{folder}/state.json",
    }  # fmt: skip
    assert json.loads((tmp_path / "run/run.json").read_text(encoding="utf-8"))["mode"] == "multi_class"
