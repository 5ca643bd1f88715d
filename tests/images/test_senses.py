"""The files that show one part to several cameras."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from muad.errors import DataError
from muad.images.preprocessing import Preprocessing
from muad.images.reading import ImageBytes
from muad.images.senses import Senses, beside, missing_beside
from muad.runtime.views import ViewScores, original_map, predict_images, view_image


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    for name in ("a/rgb/7.png", "a/xyz/7.tiff", "RGB/test/hole/7.png", "Infrared/test/hole/7.jpg", "flat/7.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_the_innermost_folder_of_a_sense_is_exchanged(parts: Path) -> None:
    assert beside(parts / "a/rgb/7.png", "depth") == parts / "a/xyz/7.tiff"
    assert beside(parts / "a/xyz/7.tiff", "colour") == parts / "a/rgb/7.png"
    assert beside(parts / "RGB/test/hole/7.png", "infrared") == parts / "Infrared/test/hole/7.jpg"
    assert beside(parts / "a/rgb/7.png", "colour") == parts / "a/rgb/7.png"


def test_a_path_without_such_a_folder_is_colour(parts: Path) -> None:
    assert beside(parts / "flat/7.png", "colour") == parts / "flat/7.png"
    with pytest.raises(DataError, match=r"depth of image .*7\.png must lie beside it, .* no such folder in its path"):
        beside(parts / "flat/7.png", "depth")


def test_prepared_depth_goes_before_points(parts: Path) -> None:
    (parts / "a/Z").mkdir()
    assert missing_beside([parts / "a/rgb/7.png"], "depth") == [parts / "a/rgb/7.png"]
    (parts / "a/Z/7.png").write_bytes(b"")
    assert beside(parts / "a/rgb/7.png", "depth") == parts / "a/Z/7.png"


def test_none_and_several_are_named(parts: Path) -> None:
    with pytest.raises(DataError, match=r"infrared of image .* got none in"):
        beside(parts / "a/rgb/7.png", "infrared")
    (parts / "a/xyz/7.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"must be one file, got .*7\.png and .*7\.tiff"):
        beside(parts / "a/rgb/7.png", "depth")


@pytest.fixture
def tray(tmp_path: Path) -> Path:
    """Colour and depth of one part; the depth camera saw nothing in the left third."""
    points = np.full((24, 40, 3), 500, np.float32)
    points[8:16, 12:24] = 490
    points[:, :10] = 0
    for folder in ("rgb", "xyz", "ir"):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / "xyz/0.tiff"), points)
    Image.fromarray(np.full((24, 40, 3), (10, 20, 30), np.uint8)).save(tmp_path / "rgb/0.png")
    Image.fromarray(np.full((24, 40), 77, np.uint8)).save(tmp_path / "ir/0.png")
    return tmp_path / "rgb/0.png"


def test_two_senses_are_six_channels_and_colour_is_black_where_nothing_was_measured(tray: Path) -> None:
    both = Senses(names=("colour", "depth"), depth_gap_rounds=0).read(tray, None)
    assert both.shape == (24, 40, 6)
    assert not both[:, :10].any()
    np.testing.assert_array_equal(both[:, 10:, :3], np.broadcast_to([10, 20, 30], (24, 30, 3)))
    kept = Senses(names=("colour", "depth"), depth_gap_rounds=0, blank_background=False).read(tray, None)
    np.testing.assert_array_equal(kept[:, 0, :3], np.broadcast_to([10, 20, 30], (24, 3)))
    np.testing.assert_array_equal(Senses(names=("depth",), depth_gap_rounds=0).read(tray, None), both[..., 3:])
    infrared = Senses(names=("infrared", "depth"), blank_background=False).read(tray, None)
    assert (infrared[..., :3] == 77).all()


def test_senses_of_different_sizes_and_files_in_memory_are_refused(tray: Path) -> None:
    with pytest.raises(DataError, match="must be a file with those of the other senses beside it"):
        Senses(names=("depth",)).read(ImageBytes(tray.read_bytes(), "upload"), None)
    Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save(tray)
    with pytest.raises(DataError, match=r"must have the size of its colour, 20x40, got 24x40"):
        Senses(names=("colour", "depth")).read(tray, None)


def test_each_sense_is_a_channel_of_a_view_or_a_view_of_its_own(tray: Path) -> None:
    sizes = {"resize_px": (16, 16), "crop_px": (16, 16)}
    alone = [Preprocessing(**sizes, senses=Senses(names=(name,))) for name in ("colour", "depth")]
    joined = Preprocessing(**sizes, senses=Senses(names=("colour", "depth"), blank_background=False))
    apart = Preprocessing(**sizes, senses=replace(joined.senses, fusion="scores"))
    assert (joined.count, apart.count) == (1, 2)
    singles = [one.views(one.read(tray)) for one in alone]
    np.testing.assert_array_equal(joined.views(joined.read(tray)), np.concatenate(singles, axis=3))
    np.testing.assert_array_equal(apart.views(apart.read(tray)), np.concatenate(singles))
    six = joined.normalise(joined.views(joined.read(tray)))
    np.testing.assert_array_equal(six[0, 3:], alone[1].normalise(singles[1])[0])


def test_scores_and_maps_of_views_of_their_own_are_summed(tray: Path) -> None:
    class Reader:
        """Scores a view by its mean brightness."""

        def __init__(self, preprocessing: Preprocessing) -> None:
            self.preprocessing = preprocessing

        def score_views(self, views: np.ndarray, categories: object) -> ViewScores:
            maps = self.preprocessing.normalise(views).mean(axis=1)
            return ViewScores(maps=maps, scores=maps.max(axis=(1, 2)))

    found = {}
    for names in (("colour",), ("depth",), ("colour", "depth")):
        senses = Senses(names=names, fusion="scores", blank_background=False)
        preprocessing = Preprocessing(resize_px=(16, 16), crop_px=(16, 16), tiles=(1, 2), senses=senses)
        image = view_image(preprocessing, preprocessing.read(tray), "image", None)
        (one,) = predict_images(Reader(preprocessing), [image], 2)
        found[names] = one.score, original_map(preprocessing, image, one)
    (first, first_map), (second, second_map), (both, both_map) = found.values()
    assert both == pytest.approx(first + second)
    np.testing.assert_allclose(both_map, first_map + second_map, rtol=1e-5, atol=1e-5)
