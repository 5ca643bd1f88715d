"""`muad data foreground` and `muad data preview-synthesis`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from muad.images.preprocessing import Preprocessing
from muad.images.reading import read_image
from muad.synthesis.foreground import Foregrounds

SMALL = ("--set", "detector.resize_px=[64, 64]")


def test_masks_are_written_for_every_image_and_found_by_training(
    muad: Callable[..., Any], tiny_data: Path, tmp_path: Path
) -> None:
    done = muad("data", "foreground", tiny_data, "--out", tmp_path / "masks", *SMALL)
    assert done.code == 0, done.err
    assert len(list((tmp_path / "masks").glob("*/*.png"))) == 10
    rows = [line.split() for line in done.out.splitlines()]
    assert [row[:2] for row in rows if len(row) == 4 and row[1] == "5"] == [
        ["pill_blister", "5"],
        ["printed_board", "5"],
    ]
    assert f"--set detector.synthesis.foreground_dir={tmp_path / 'masks'}" in done.err
    whole = Preprocessing(resize_px=(64, 64), crop_px=(64, 64), mean=(0.0,) * 3, std=(1.0,) * 3)
    view = whole.view(read_image(tiny_data / "printed_board/train/good/000.png"))
    masks, _ = Foregrounds(tmp_path / "masks").of(torch.from_numpy(whole.normalise(view[None])))
    assert masks.shape == (1, 1, 64, 64)
    trained = ("--set", "detector.name=diffusion_ad", "--set", "schedule.total_steps=1", "--device", "cpu", *SMALL)
    small = ("--set", "detector.denoiser={width=8, multipliers=[1, 1], blocks_per_level=1, attention_levels=0}")
    folder = ("--set", f"detector.synthesis.foreground_dir={tmp_path / 'masks'}")
    assert muad("train", tiny_data, "--out", tmp_path / "run", *trained, *small, *folder).code == 0


def test_the_sheet_has_a_row_per_category_and_shows_the_same_twice(
    muad: Callable[..., Any], tiny_data: Path, tmp_path: Path
) -> None:
    for name in ("one.png", "two.png"):
        done = muad("data", "preview-synthesis", tiny_data, "--out", tmp_path / name, *SMALL, "--seed", 3)
        assert done.code == 0, done.err
    sheet = np.asarray(Image.open(tmp_path / "one.png"))
    assert sheet.shape == (2 * (18 + 112 + 4), 3 * (4 * 112 + 4), 3)
    original, mask, synthetic = (sheet[18:130, 112 * place : 112 * (place + 1)].astype(int) for place in range(3))
    changed = np.abs(original - synthetic).max(axis=2) > 8
    assert mask.max() > 200
    assert not changed[mask[..., 0] == 0].any()
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_other_detectors_and_pictures_are_refused(muad: Callable[..., Any], tiny_data: Path, tmp_path: Path) -> None:
    arguments = ("data", "preview-synthesis", tiny_data, "--out")
    assert "picture must end in .png or .jpg" in muad(*arguments, tmp_path / "sheet.txt").error
    wrong = muad(*arguments, tmp_path / "sheet.png", "--recipe", "dinomaly-mvtec")
    assert "detector.synthesis" in wrong.error
    assert (
        "detector.name must be diffusion_ad"
        in muad("data", "foreground", tiny_data, "--out", tmp_path / "masks", "--recipe", "dinomaly-mvtec").error
    )
