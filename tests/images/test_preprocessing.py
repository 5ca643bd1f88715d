"""Preprocessing: torchvision's pixels going in, the photograph's pixels coming out."""

import numpy as np
import pytest
from PIL import Image
from torchvision import transforms

from muad.errors import ConfigError, DataError
from muad.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

SIZES = [(64, 64), (37, 90), (301, 120)]
VIEWS = [((448, 448), (392, 392)), ((56, 70), (56, 70)), ((57, 64), (42, 41))]


def _photograph(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(size[0]).integers(0, 256, (*size, 3), np.uint8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("resize", "crop"), VIEWS)
def test_the_encoder_sees_what_torchvision_would_give_it(
    size: tuple[int, int], resize: tuple[int, int], crop: tuple[int, int]
) -> None:
    reference = transforms.Compose(
        [
            transforms.Resize((size[0], resize[1])),  # rows first, as older releases of Pillow do by themselves
            transforms.Resize(resize),
            transforms.ToTensor(),
            transforms.CenterCrop(crop),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    image = _photograph(size)
    preprocessing = Preprocessing(resize_px=resize, crop_px=crop)
    seen = preprocessing.normalise(preprocessing.view(image)[None])[0]
    np.testing.assert_array_equal(seen, reference(Image.fromarray(image)).numpy())
    assert seen.flags.c_contiguous
    at_once = np.asarray(transforms.CenterCrop(crop)(transforms.Resize(resize)(Image.fromarray(image))))
    assert np.abs(preprocessing.view(image).astype(int) - at_once).max() <= 1


def test_a_mask_is_cut_like_its_image() -> None:
    preprocessing = Preprocessing(resize_px=(64, 48), crop_px=(40, 40))
    mask = _photograph((90, 70))[..., 0]
    image = np.stack([mask] * 3, axis=2)
    np.testing.assert_array_equal(preprocessing.view(mask), preprocessing.view(image)[..., 0])


@pytest.mark.parametrize("size", [(97, 97), (60, 250), (400, 130)])
@pytest.mark.parametrize(("resize", "crop"), VIEWS)
@pytest.mark.parametrize("map_px", [28, 256])
def test_a_hot_spot_comes_back_to_the_place_it_was_seen_at(
    size: tuple[int, int], resize: tuple[int, int], crop: tuple[int, int], map_px: int
) -> None:
    """Its centre of mass, computed by hand: cell to view, view to resized image, resized image to photograph."""
    preprocessing = Preprocessing(resize_px=resize, crop_px=crop)
    offset = [round((whole - part) / 2) for whole, part in zip(resize, crop, strict=True)]
    for cell in ((map_px // 2, map_px // 2), (map_px // 4, map_px // 2), (3 * map_px // 4, map_px // 3)):
        rows, columns = np.mgrid[:map_px, :map_px]
        far = ((rows - cell[0]) ** 2 + (columns - cell[1]) ** 2) * (24 / map_px) ** 2
        anomaly_map = np.exp(-far / 2).astype(np.float32)
        restored = preprocessing.to_original(anomaly_map[None], size)
        weights = np.nan_to_num(restored)
        for axis in (0, 1):
            places = np.arange(size[axis]) + 0.5
            found = (weights.sum(axis=1 - axis) * places).sum() / weights.sum()
            seen_at = (cell[axis] + 0.5) * crop[axis] / map_px + offset[axis]
            assert found == pytest.approx(seen_at * size[axis] / resize[axis], abs=0.05)


@pytest.mark.parametrize("size", [(64, 64), (61, 250), (400, 130)])
def test_a_spot_in_the_photograph_and_the_peak_of_its_map_agree(size: tuple[int, int]) -> None:
    """The view itself as the map: what is bright in the photograph must be high at the same place."""
    preprocessing = Preprocessing(resize_px=(112, 112), crop_px=(98, 98))
    for place in ((0.3, 0.3), (0.5, 0.7), (0.8, 0.2)):
        row, column = (int(share * side) for share, side in zip(place, size, strict=True))
        image = np.zeros((*size, 3), np.uint8)
        image[row - 1 : row + 2, column - 1 : column + 2] = 255
        restored = preprocessing.to_original(preprocessing.views(image)[..., 0].astype(np.float32), size)
        peak = np.unravel_index(np.nanargmax(restored), size)
        assert abs(peak[0] - row) <= 2 + size[0] / 112
        assert abs(peak[1] - column) <= 2 + size[1] / 112


def test_what_the_crop_hid_is_nan_and_the_rest_is_not() -> None:
    preprocessing = Preprocessing(resize_px=(100, 200), crop_px=(50, 150))
    restored = preprocessing.to_original(np.ones((1, 8, 8), np.float32), (200, 400))
    seen = ~np.isnan(restored)
    assert seen[50:150, 50:350].all()
    assert seen.sum() == 100 * 300


def test_without_a_crop_every_pixel_has_a_value() -> None:
    preprocessing = Preprocessing(resize_px=(64, 64), crop_px=(64, 64))
    anomaly_map = np.random.default_rng(0).random((16, 16), np.float32)
    restored = preprocessing.to_original(anomaly_map[None], (333, 77))
    assert restored.shape == (333, 77)
    assert restored.dtype == np.float32
    assert anomaly_map.min() <= restored.min() <= restored.max() <= anomaly_map.max()


def test_a_map_of_the_photographs_size_comes_back_unchanged() -> None:
    preprocessing = Preprocessing(resize_px=(64, 48), crop_px=(64, 48))
    anomaly_map = np.random.default_rng(0).random((64, 48), np.float32)
    np.testing.assert_allclose(preprocessing.to_original(anomaly_map[None], (64, 48)), anomaly_map, atol=1e-6)


def test_an_image_too_small_is_refused_by_name() -> None:
    preprocessing = Preprocessing(resize_px=(64, 64), crop_px=(64, 64))
    assert preprocessing.view(np.zeros((16, 16, 3), np.uint8)).shape == (64, 64, 3)
    with pytest.raises(DataError, match=r"^image a\.png must be at least 16 px high and wide, got 16x15 "):
        preprocessing.view(np.zeros((16, 15, 3), np.uint8), "image a.png")


@pytest.mark.parametrize("crop", [(65, 64), (64, 0)])
def test_a_crop_outside_the_image_is_refused(crop: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=r"detector\.crop_px must be from 1 to detector\.resize_px"):
        Preprocessing(resize_px=(64, 64), crop_px=crop)


LONG = [(60, 250), (400, 130), (100, 101), (64, 64)]


def _letterbox(resize: tuple[int, int], crop: tuple[int, int] | None = None) -> Preprocessing:
    return Preprocessing(resize_px=resize, crop_px=crop or resize, fit="letterbox")


@pytest.mark.parametrize("size", LONG)
def test_a_letterbox_keeps_the_aspect_ratio(size: tuple[int, int]) -> None:
    """A square drawn in the photograph is a square in the view."""
    image = np.zeros((*size, 3), np.uint8)
    middle = [length // 2 for length in size]
    image[middle[0] - 15 : middle[0] + 15, middle[1] - 15 : middle[1] + 15] = 255
    bright = _letterbox((224, 224)).view(image)[..., 0] > 127
    height, width = np.flatnonzero(bright.any(axis=1)).size, np.flatnonzero(bright.any(axis=0)).size
    assert height == pytest.approx(30 * 224 / max(size), abs=2)
    assert width == pytest.approx(height, abs=2)


@pytest.mark.parametrize("size", LONG)
def test_a_letterbox_continues_the_rim_of_an_image_and_leaves_nothing_beside_a_mask(size: tuple[int, int]) -> None:
    preprocessing = _letterbox((96, 96))
    grey = preprocessing.view(np.full((*size, 3), 77, np.uint8))
    assert (grey == 77).all()
    mask = preprocessing.cut(np.full(size, 255, np.uint8))
    shown = preprocessing.inspected(size, (96, 96))
    np.testing.assert_array_equal(mask == 255, np.ones((1, 96, 96), bool) if shown is None else shown)


@pytest.mark.parametrize("size", [*LONG, (16, 900)])
@pytest.mark.parametrize("map_px", [(28, 28), (256, 256), (30, 17)])
def test_padding_reaches_neither_the_map_nor_the_cells_that_count(
    size: tuple[int, int], map_px: tuple[int, int]
) -> None:
    preprocessing = _letterbox((112, 112))
    shown = preprocessing.inspected(size, map_px)
    maps = np.where(np.ones((1, *map_px), bool) if shown is None else shown, 1.0, 1e6).astype(np.float32)
    restored = preprocessing.to_original(maps, size)
    np.testing.assert_allclose(restored, 1)


@pytest.mark.parametrize("tiles", [(1, 1), (2, 3), (3, 1)])
@pytest.mark.parametrize("size", [(200, 500), (300, 301)])
def test_a_linear_ramp_comes_back_as_it_was(size: tuple[int, int], tiles: tuple[int, int]) -> None:
    """The views themselves as maps: whatever is cut, resized, padded and put together again, ends in its own place."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    image = (40 + 90 * rows / size[0] + 90 * columns / size[1]).astype(np.uint8)
    preprocessing = Preprocessing(
        resize_px=(168, 168), crop_px=(168, 168), fit="letterbox", tiles=tiles, tile_overlap=0.25
    )
    restored = preprocessing.to_original(preprocessing.views(image).astype(np.float32), size)
    assert np.abs(restored - image).max() < 3


def test_a_letterbox_with_a_crop_loses_the_rim_and_nothing_else() -> None:
    preprocessing = _letterbox((100, 100), (80, 80))
    restored = preprocessing.to_original(np.ones((1, 8, 8), np.float32), (100, 200))
    seen = ~np.isnan(restored)
    assert seen.all(axis=0)[20:180].all()  # 200 px became 100, of which 10 are cut at each end; above is padding
    assert seen.sum() == 100 * 160


def test_tiles_are_parts_of_the_image_row_by_row() -> None:
    image = _photograph((80, 120))
    preprocessing = Preprocessing(resize_px=(40, 40), crop_px=(40, 40), tiles=(2, 3))
    views = preprocessing.views(image)
    assert views.shape == (6, 40, 40, 3)
    np.testing.assert_array_equal(views[4], image[40:, 40:80])


def test_tiles_that_disagree_are_blended_without_a_seam() -> None:
    preprocessing = Preprocessing(resize_px=(32, 32), crop_px=(32, 32), tiles=(1, 2), tile_overlap=0.4)
    maps = np.stack([np.zeros((16, 16)), np.ones((16, 16))]).astype(np.float32)
    row = preprocessing.to_original(maps, (100, 400))[50]
    assert (row[:140] == 0).all()
    assert (row[-140:] == 1).all()
    assert 0 <= np.diff(row).min() <= np.diff(row).max() < 0.02


def test_a_map_may_be_asked_for_at_another_size() -> None:
    preprocessing = Preprocessing(resize_px=(64, 64), crop_px=(64, 64), fit="letterbox", tiles=(2, 2), tile_overlap=0.2)
    maps = np.random.default_rng(0).random((4, 32, 32), np.float32)
    maps = np.stack([np.full((32, 32), value.mean() + index) for index, value in enumerate(maps)]).astype(np.float32)
    whole, small = preprocessing.to_original(maps, (200, 120)), preprocessing.to_original(maps, (200, 120), (50, 30))
    assert small.shape == (50, 30)
    np.testing.assert_allclose(small, whole.reshape(50, 4, 30, 4).mean(axis=(1, 3)), atol=0.05)


def test_a_tile_too_small_is_refused_by_name() -> None:
    preprocessing = Preprocessing(resize_px=(64, 64), crop_px=(64, 64), tiles=(1, 4))
    with pytest.raises(DataError, match=r"^each tile of image a\.png must be at least 16 px high and wide, got 40x15 "):
        preprocessing.views(np.zeros((40, 60, 3), np.uint8), "image a.png")


def test_a_crop_that_would_leave_stripes_between_tiles_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"images\.tile_overlap must be above 0\.125, the share .* got 0\.1\."):
        Preprocessing(resize_px=(448, 448), crop_px=(392, 392), tiles=(2, 2), tile_overlap=0.1)
    preprocessing = Preprocessing(resize_px=(64, 64), crop_px=(56, 56), tiles=(2, 2), tile_overlap=0.15)
    hidden = np.isnan(preprocessing.to_original(np.ones((4, 8, 8), np.float32), (300, 300)))
    assert not hidden[12:-12, 12:-12].any()
    assert hidden[0].all()
