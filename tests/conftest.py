"""Fixtures every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

if TYPE_CHECKING:
    from muad.configuration.run_config import RunConfig

torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Features are kept below a temporary folder, never in the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("MUAD_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Reference numbers and real images, kept outside the project; MUAD_SHARED names another place."""
    folder = Path(os.environ.get("MUAD_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    if not (folder / "golden").is_dir():
        pytest.skip(f"needs the shared reference data, not found at {folder}; set MUAD_SHARED to its folder")
    return folder


@pytest.fixture(scope="session")
def golden(shared_dir: Path) -> dict[str, torch.Tensor]:
    """Numbers recorded once from the authors' implementation of Dinomaly."""
    from safetensors.torch import load_file

    return load_file(shared_dir / "golden" / "dinomaly.safetensors")


TINY_RECIPE = """
[detector]
resize_px = [56, 56]
crop_px = [56, 56]
map_px = 32
easy_ramp_steps = 1

[detector.encoder]
name = "random-custom"
tap_layers = [0, 1, 2, 3]

[detector.encoder.layout]
width = 32
depth = 4
heads = 2
registers = 1
position_grid = 4

[schedule]
total_steps = 12
warmup_steps = 2

[training]
cache = "off"
batch_size = 4
precision = "32-true"
log_every_steps = 1
save_every_steps = 5
"""


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run that takes a second: a random ViT of four small blocks, 12 steps of four images."""
    file = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    file.write_text(TINY_RECIPE, encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two categories in MVTec layout, five training images each; read only, copy it to change it."""
    root = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(3)
    for category in ("bolt", "cloth"):
        places = ["train/good"] * 5 + ["test/good"] * 2 + ["test/scratch"] * 2
        for number, place in enumerate(places):
            pixels = random.integers(60, 180, (60, 64, 3), np.uint8)
            file = root / category / place / f"{number:03d}.png"
            if "scratch" in place:
                pixels[20:40, 10:50] = 255
                mask = root / category / "ground_truth/scratch" / f"{number:03d}_mask.png"
                mask.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.where(pixels.min(axis=2) == 255, 255, 0).astype(np.uint8)).save(mask)
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
    return root


@pytest.fixture
def train_tiny(tiny_recipe: Path, photos: Path) -> Callable[..., RunConfig]:
    """`muad.train` with the tiny recipe: `train_tiny(out, "section.key=value", …, resume=True)`."""

    def train(out: Path, *overrides: str, data: Path = photos, **how: Any) -> RunConfig:
        from muad import api

        return api.train(data, out, recipe=tiny_recipe, overrides=overrides, device="cpu", **how)

    return train


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two products of the toy factory, 64 px wide; not to be changed."""
    from muad.toy_factory import write_toy_factory

    folder = tmp_path_factory.mktemp("toy") / "data"
    categories = ("pill_blister", "printed_board")
    write_toy_factory(
        folder, image_px=64, train_per_category=5, test_normal=3, test_per_defect=1, categories=categories
    )
    return folder


@pytest.fixture(scope="session")
def tiny_run(tiny_data: Path, tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One detector trained on the inner 56 of 64 px of both products; not to be changed."""
    from muad import train

    folder = tmp_path_factory.mktemp("multi_class") / "run"
    train(tiny_data, folder, recipe=tiny_recipe, overrides=["detector.resize_px=[64, 64]"], device="cpu")
    return folder


@pytest.fixture(scope="session")
def tiny_runs(tiny_data: Path, tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One detector for each product; not to be changed."""
    from muad import train

    folder = tmp_path_factory.mktemp("per_category") / "run"
    train(tiny_data, folder, recipe=tiny_recipe, overrides=["training.mode=per_category"], device="cpu")
    return folder
