"""What a check says of depth beside colour."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from muad.checking.depth import check_depth
from muad.datasets.index import open_catalog
from muad.toy_factory.moulded_tray import render_tray


@pytest.fixture
def trays(tmp_path: Path) -> Path:
    for folder in ("rgb", "xyz"):
        (tmp_path / "tray/train/good" / folder).mkdir(parents=True)
    for number in range(4):
        made = render_tray(seed=0, index=number, image_px=32)
        cv2.imwrite(str(tmp_path / f"tray/train/good/rgb/{number}.png"), made.colour)
        cv2.imwrite(str(tmp_path / f"tray/train/good/xyz/{number}.tiff"), made.points[..., ::-1].copy())
    return tmp_path


def test_missing_dead_and_foreign_depth_are_named_and_the_rest_is_summed_up(trays: Path) -> None:
    depth = trays / "tray/train/good/xyz"
    (depth / "0.tiff").unlink()
    cv2.imwrite(str(depth / "1.tiff"), np.zeros((32, 32), np.float32))
    cv2.imwrite(str(depth / "2.tiff"), np.ones((30, 32), np.float32))
    seen: list[tuple[int, int]] = []
    findings, notes = check_depth(open_catalog(trays), lambda done, total: seen.append((done, total)))
    assert [finding.kind for finding in findings] == ["unreadable"] * 3
    told = [finding.text for finding in findings]
    assert "must lie beside it" in told[0]
    assert "must have a measured pixel" in told[1]
    assert "must have its size, 32x32, got 30x32" in told[2]
    assert notes[0].startswith("tray: depth was measured in 70% of the pixels")
    assert seen[-1] == (4, 4)


def test_other_layouts_have_no_depth_to_check(trays: Path) -> None:
    assert check_depth(open_catalog(trays / "tray/train/good/rgb"), lambda *_: None) == ([], [])
