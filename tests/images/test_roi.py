"""Regions of interest: nothing outside reaches the detector, its score or its map; a wrong mask is told."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from muad.errors import ConfigError, DataError
from muad.images.preprocessing import Preprocessing
from muad.images.roi import InterestMasks, copy_masks

SIZE = (60, 80)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Left half of `bolt`, all of `cloth`, a few pixels of `pin`; drawn at half, full and double size."""
    root = tmp_path / "roi"
    root.mkdir()
    drawn = {"bolt": ((30, 40), np.s_[:, :20]), "cloth": (SIZE, np.s_[:]), "pin": ((120, 160), np.s_[60:62, 80:82])}
    for name, (size, box) in drawn.items():
        mask = np.zeros(size, np.uint8)
        mask[box] = 255
        Image.fromarray(mask).save(root / f"{name}.png")
    return root


def _photograph(size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(0).integers(100, 256, (*size, 3), np.uint8)


def _preprocessing(folder: Path, **changes: object) -> Preprocessing:
    return Preprocessing(resize_px=(60, 80), crop_px=(60, 80), interest=InterestMasks(folder), **changes)  # type: ignore[arg-type]


def test_what_is_outside_reaches_the_detector_as_zero(folder: Path) -> None:
    preprocessing, image = _preprocessing(folder), _photograph()
    views = preprocessing.views(image, category="bolt")
    np.testing.assert_array_equal(views[0, :, :40], image[:, :40])
    assert np.abs(preprocessing.normalise(views)[0, :, :, 40:]).max() < 0.01
    changed = image.copy()
    changed[:, 40:] = 0
    np.testing.assert_array_equal(preprocessing.views(changed, category="bolt"), views)
    np.testing.assert_array_equal(preprocessing.views(image, category="cloth")[0], image)


@pytest.mark.parametrize("changes", [{}, {"fit": "letterbox"}, {"tiles": (2, 2), "tile_overlap": 0.2}])
def test_the_map_is_nan_outside_and_cells_there_do_not_count(folder: Path, changes: dict[str, object]) -> None:
    preprocessing = _preprocessing(folder, **changes)
    shown = preprocessing.inspected((120, 160), (32, 32), "bolt")
    assert shown is not None
    maps = np.where(shown, 1, 2).astype(np.float32)
    restored = preprocessing.to_original(maps, (120, 160), category="bolt")
    assert np.isnan(restored[:, 80:]).all()
    assert not np.isnan(restored[:, :80]).any()
    np.testing.assert_allclose(restored[:, :70], 1)
    assert preprocessing.inspected((120, 160), (32, 32), "pin").sum() >= 1  # type: ignore[union-attr]
    assert np.isfinite(preprocessing.to_original(maps, (120, 160), category="pin")).sum() == 4


def test_masks_are_known_by_their_content(folder: Path, tmp_path: Path) -> None:
    copy_masks(folder, tmp_path / "run" / "roi")
    copy_masks(tmp_path / "run" / "roi", tmp_path / "run" / "roi")
    assert repr(InterestMasks(tmp_path / "run" / "roi")) == repr(InterestMasks(folder))
    Image.new("L", (40, 30), 255).save(folder / "bolt.png")
    assert repr(InterestMasks(tmp_path / "run" / "roi")) != repr(InterestMasks(folder))


def test_a_missing_an_empty_and_a_misshapen_mask_are_told(folder: Path, tmp_path: Path) -> None:
    masks = InterestMasks(folder)
    with pytest.raises(ConfigError, match=r"must hold a mask for each category, got .* without screw\.png"):
        masks.require(["bolt", "screw"])
    with pytest.raises(DataError, match=r"image a must have the shape of its region of interest, 30x40 .* got 60x60"):
        masks.mask("bolt", (60, 60), "image a")
    with pytest.raises(ConfigError, match=r"category must be given for image, got none"):
        masks.mask(None, SIZE)
    with pytest.raises(ConfigError, match=r"images\.roi_dir must be a folder with a mask <category>\.png"):
        InterestMasks(tmp_path / "nothing")
    Image.new("L", (40, 30)).save(folder / "bolt.png")
    with pytest.raises(DataError, match=r"bolt\.png must be white where to inspect, got a mask that is black all over"):
        InterestMasks(folder)
