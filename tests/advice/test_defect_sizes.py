"""Sizes of defects: from masks alone, in patches of what the detector sees."""

from pathlib import Path

import cv2
import numpy as np

from muad.advice.defect_sizes import defect_areas, masked_defects
from muad.images.preprocessing import Preprocessing
from muad.types import Record


def _records(folder: Path) -> list[Record]:
    mask = np.zeros((60, 64), dtype=np.uint8)
    mask[10:30, 5:45] = 255
    mask[50, 60] = 255  # a speck
    cv2.imwrite(str(folder / "mask.png"), mask)
    bad = Record(path=folder / "bad.png", category="bolt", split="test", is_anomalous=True,
                 mask_path=folder / "mask.png")  # fmt: skip
    lost = Record(path=folder / "lost.png", category="bolt", split="test", is_anomalous=True,
                  mask_path=folder / "none.png")  # fmt: skip
    return [bad, lost, Record(path=folder / "good.png", category="bolt", split="test", is_anomalous=False)]


def test_specks_are_no_defects(tmp_path: Path) -> None:
    _records(tmp_path)
    assert defect_areas(cv2.imread(str(tmp_path / "mask.png"), cv2.IMREAD_GRAYSCALE)) == (800,)


def test_defects_are_measured_from_masks_alone(tmp_path: Path) -> None:
    records = _records(tmp_path)
    views = Preprocessing(resize_px=(120, 128), crop_px=(120, 128))
    sizes, photo_px = masked_defects(records, views, 10)
    np.testing.assert_allclose(sizes, [20 * 40 * 4 / 100])
    assert photo_px == (60, 64)
    assert masked_defects(records[1:], views, 10)[1] is None
