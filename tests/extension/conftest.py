"""Photographs of three small products, and a run of two of them that is extended by the third."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

import muad

MEMORY = """
[detector]
name = "patchcore"
resize_px = [56, 56]
crop_px = [56, 56]
map_px = 32
coreset_fraction = 0.1
candidate_fraction = 0.5

[detector.encoder]
name = "random-custom"
layout = {width = 32, depth = 4, heads = 2, registers = 1, position_grid = 4}
tap_layers = [0, 1, 2, 3]

[training]
calibration_share = 0.3
batch_size = 4
"""
"""A memory of patches of a random ViT of four small blocks."""
SHAPES = {"bolt": (200, 3), "cap": (90, 7), "nut": (140, 13), "washer": (60, 21)}
"""Brightness and period of the stripes of each product."""


def draw(folder: Path, product: str, numbers: Sequence[int], *, odd: bool = False) -> list[Path]:
    """Photographs of a product: stripes of its own with a little noise; odd ones have a bright block."""
    brightness, period = SHAPES[product]
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number in numbers:
        random = np.random.default_rng([brightness, number])
        rows, columns = np.mgrid[:64, :64]
        level, phase = brightness + random.integers(-25, 25), random.integers(0, 4)
        stripes = level + 40 * np.sin((rows + phase) * 2 * np.pi / period + 0.1 * columns)
        pixels = stripes[..., None] + random.normal(0, 6, (64, 64, 3))
        if odd:
            pixels[10:50, 10:50] = random.integers(0, 255, (40, 40, 1))
        files.append(folder / f"{product}_{number:03d}.png")
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(files[-1])
    return files


def digests(folder: Path) -> dict[str, bytes]:
    """All files of a folder by name."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture(scope="session")
def old_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve good photographs of two products; not to be changed."""
    root = tmp_path_factory.mktemp("old") / "data"
    for product in ("bolt", "nut"):
        draw(root / product / "good", product, range(12))
    return root


@pytest.fixture(scope="session")
def new_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve good photographs of two more products; not to be changed."""
    root = tmp_path_factory.mktemp("new") / "data"
    for product in ("cap", "washer"):
        draw(root / product / "good", product, range(12))
    return root


@pytest.fixture(scope="session", autouse=True)
def images_are_described_once() -> Iterator[None]:
    """What tells suspicious images is asked once for the same pixels: most of a tiny extension's time."""
    from muad.checking.suspicion import Describer

    known: dict[bytes, torch.Tensor] = {}
    computed = Describer.describe

    def describe(describer: Describer, views: Sequence[np.ndarray]) -> torch.Tensor:
        for view in views:
            if view.tobytes() not in known:
                known[view.tobytes()] = computed(describer, [view])
        return torch.cat([known[view.tobytes()] for view in views])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Describer, "describe", describe)
        yield


@pytest.fixture(scope="session")
def memory_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of MEMORY."""
    file = tmp_path_factory.mktemp("recipe") / "memory.toml"
    file.write_text(MEMORY, encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def old_run(old_data: Path, memory_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A memory of two products with limits; not to be changed."""
    run = tmp_path_factory.mktemp("memory") / "run"
    muad.train(old_data, run, recipe=memory_recipe, device="cpu")
    return run


class Extended(NamedTuple):
    """A run that was extended in two goes, because the first was cut short after the first of two products.

    Attributes:
        run: The new run.
        before: All files of the old one before.
        cut: The same after it was cut short.
        after: The same at the end.
        notes: Of the second go.
        looks: How often the second go reported a look at images.
    """

    run: Path
    before: dict[str, bytes]
    cut: dict[str, bytes]
    after: dict[str, bytes]
    notes: list[str]
    looks: int


@pytest.fixture(scope="session")
def extended(old_run: Path, new_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Extended:
    """The run of two products with two more; not to be changed."""
    out = tmp_path_factory.mktemp("extended") / "run"
    before, shown, notes = digests(old_run), list[str](), list[str]()

    def stop(what: str, *_: object) -> None:
        shown.append(what)
        if shown.count("look") == 3:  # of two looks at each product
            raise KeyboardInterrupt

    every = muad.ExtensionSettings(take_suspicious=True)
    with pytest.raises(KeyboardInterrupt):
        muad.extend(old_run, new_data, out, settings=every, device="cpu", progress=stop)
    assert not out.exists()
    cut, begun = digests(old_run), len(shown)
    muad.extend(
        old_run, new_data, out, settings=every, device="cpu", note=notes.append,
        progress=lambda what, *_: shown.append(what),
    )  # fmt: skip
    return Extended(out, before, cut, digests(old_run), notes, shown[begun:].count("look"))


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Path], Path]:
    """A copy of a run that may be changed."""
    return lambda run: Path(shutil.copytree(run, tmp_path / "copied"))
