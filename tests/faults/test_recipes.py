"""Recipes and settings: what is misspelt, of another type, out of range, or contradicts another setting."""

from collections.abc import Callable
from pathlib import Path

import pytest

SETTINGS = {
    "optim.lr": "override must look like",
    "=5": "override must look like",
    "optim=5": "optim must be a table",
    "optim.lr.x=5": "optim.lr",
    "optim.learning_rate=1": "known one",
    "optimiser.lr=1": "known one",
    "optim.lr=fast": "optim.lr must be a number",
    'optim.lr="1e-3"': "optim.lr must be a number",
    "optim.lr=true": "optim.lr must be a number",
    "optim.lr=nan": "optim.lr must be a finite number",
    "optim.lr=inf": "optim.lr must be a finite number",
    "optim.lr=0": "optim.lr must be above 0",
    "optim.lr=[1]": "optim.lr must be a number",
    "optim.betas=[0.9]": "optim.betas must be 2 values",
    "optim.betas=[0.9, 0.99, 0.999]": "optim.betas must be 2 values",
    "optim.kind=newton": "optim.kind must be one of",
    "schedule.total_steps=1.5": "schedule.total_steps must be a whole number",
    "schedule.total_steps=0": "schedule.total_steps must be from 1",
    "schedule.total_steps=10000000000": "schedule.total_steps must be from 1",
    "schedule.warmup_steps=100": "schedule.warmup_steps must be from 0",
    "schedule.kind=step": "schedule.kind must be one of",
    "training.batch_size=0": "training.batch_size must be from 1",
    "training.batch_size=99999999999": "training.batch_size must be from 1",
    "training.accumulate=2": "training.accumulate must be 1",
    "training.mode=single": "training.mode must be one of",
    "training.precision=fp8": "training.precision must be one of",
    "training.cache=ram": "training.cache must be one of",
    "training.seed=-1": "training.seed must be from 0",
    "training.calibration_share=0.9": "training.calibration_share must be from 0",
    "training.skip_bad=1": "training.skip_bad must be true or false",
    "training.ema_decay=1": "training.ema_decay must be from 0",
    "detector.name=yolo": "detector.name must be one of",
    "detector.top_fraction=0": "detector.top_fraction must be above 0",
    "detector.top_fraction=1.5": "detector.top_fraction must be above 0",
    "detector.map_px=4": "detector.map_px must be 0 or from 8",
    "detector.resize_px=[56]": "detector.resize_px must be 2 values",
    "detector.resize_px=[-56, 56]": "detector.resize_px must be height and width",
    "detector.resize_px=[99999999, 99999999]": "detector.resize_px must be height and width",
    "detector.crop_px=[64, 64]": "detector.crop_px must be from 1 to",
    "detector.crop_px=[50, 50]": "must be multiples of 14",
    "detector.decoder_depth=3": "decoder_depth",
    "detector.neighbour_mask=4": "detector.neighbour_mask must be 0 or an odd",
    "detector.attention=hard": "detector.attention must be one of",
    "detector.segmenter_width=64": "detector.segmenter_width",
    "detector.encoder.name=resnet50": "resnet50",
    "detector.encoder.name=dinov2-basee": "dinov2-base",
    "detector.encoder.tap_layers=[9]": "tap_layers",
    "detector.encoder.tap_layers=[]": "tap_layers",
    "detector.encoder.layout.depth=0": "layout.depth must be from 1",
    "detector.encoder.layout.heads=3": "layout.width must be a multiple",
    'detector.encoder.weights="x.safetensors"': "encoder.weights must be left out",
    "images.fit=squash": "images.fit must be one of",
    "images.tiles=[0, 2]": "images.tiles must be rows and columns",
    "images.tile_overlap=0.9": "images.tile_overlap must be from 0",
    "images.value_range=[5, 1]": "images.value_range must be a rising pair",
    'images.roi_dir="nowhere"': "nowhere",
    "published.image_auroc=99": "published.image_auroc must be from 0",
}
FILES = {
    "no TOML": (b"[optim\nlr = 1", "must be valid TOML"),
    "a key twice": (b"[optim]\nlr = 1.0\nlr = 2.0", "must be valid TOML"),
    "binary": (b"\xff\xfe\x00\x01", "must be a readable TOML file"),
    "YAML": (b"optim:\n  lr: 1e-3\n", "must be valid TOML"),
    "a date": (b"[optim]\nlr = 2026-01-01", "optim.lr must be a number"),
    "a list of tables": (b"[[optim]]\nlr = 1.0", "optim must be a table"),
    "a number in the place of a table": (b"detector = 5", "detector must be a table"),
    "text in the place of a table": (b'training = "fast"', "training must be a table"),
    "a huge number": (b"[schedule]\ntotal_steps = " + b"9" * 400, "total_steps must be"),
    "a foreign table": (b"[model]\nname = 1", "known one"),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_wrong_setting_is_one_line(
    setting: str, data: Path, tiny_recipe: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    out = tmp_path / "run"
    said = refused("train", data, "--out", out, "--recipe", tiny_recipe, "--device", "cpu", "--set", setting)
    assert SETTINGS[setting] in said
    assert not out.exists()


@pytest.mark.parametrize("name", FILES)
def test_a_wrong_recipe_file_is_one_line(name: str, data: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    content, words = FILES[name]
    recipe = tmp_path / "recipe.toml"
    recipe.write_bytes(content)
    assert words in refused("train", data, "--out", tmp_path / "run", "--recipe", recipe, "--device", "cpu")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("recipe", ["nowhere.toml", "dinomaly", "", ".", "x" * 300 + ".toml"])
def test_a_recipe_that_is_not_there_is_one_line(
    recipe: str, data: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    assert "recipe must be" in refused("train", data, "--out", tmp_path / "run", "--recipe", recipe)
