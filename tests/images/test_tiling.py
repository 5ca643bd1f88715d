"""Tiles that pay: large enough, as few as possible, never of pixels that are not there."""

import pytest

from muad.images.tiling import magnification, square_tiles, tiles_for


def test_an_axis_grows_by_its_tiles_less_what_they_share() -> None:
    assert magnification(1, 0.2) == 1
    assert magnification(3, 0.2) == pytest.approx(2.6)


@pytest.mark.parametrize(
    ("photo", "wanted", "tiles"),
    [
        ((2000, 2000), 1.0, (1, 1)),
        ((2000, 2000), 3.0, (2, 2)),
        ((2000, 2000), 3.2, (2, 2)),
        ((500, 2000), 2.0, (1, 3)),
        ((2000, 500), 2.0, (3, 1)),
        ((300, 300), 2.0, None),
        ((600, 600), 30.0, None),
    ],
)
def test_the_fewest_tiles_that_magnify_enough(
    photo: tuple[int, int], wanted: float, tiles: tuple[int, int] | None
) -> None:
    assert tiles_for(photo, (280, 280), wanted, 0.2) == tiles


@pytest.mark.parametrize(
    ("photo", "tiles"), [((500, 500), None), ((500, 2000), (1, 4)), ((1500, 500), (3, 1)), ((100, 400), None)]
)
def test_long_parts_are_cut_into_squares(photo: tuple[int, int], tiles: tuple[int, int] | None) -> None:
    assert square_tiles(photo, (280, 280)) == tiles
