"""Tiles cover an axis evenly, and what several of them say of a place is blended without a seam."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muad.images.placement import Placement, blend_weights, tile_axis

LENGTHS = st.integers(40, 3000)
COUNTS = st.integers(1, 8)
OVERLAPS = st.floats(0, 0.5)


def _placements(length: int, count: int, overlap: float) -> list[Placement]:
    return [
        Placement(start=start, length=part, offset=0, extent=56, view=56)
        for start, part in tile_axis(length, count, overlap)
    ]


@given(LENGTHS, COUNTS, OVERLAPS)
def test_tiles_are_equally_long_and_cover_the_axis_from_end_to_end(length: int, count: int, overlap: float) -> None:
    tiles = tile_axis(length, count, overlap)
    assert len(tiles) == count
    assert len({part for _, part in tiles}) == 1
    assert tiles[0][0] == 0
    assert sum(tiles[-1]) == length
    for (start, part), (following, _) in pairwise(tiles):
        assert start <= following <= start + part
        assert start + part - following >= int(overlap * part) - 1


def test_tiles_are_as_small_as_the_overlap_allows() -> None:
    assert tile_axis(100, 4, 0.0) == [(0, 25), (25, 25), (50, 25), (75, 25)]
    assert tile_axis(300, 2, 0.5) == [(0, 200), (100, 200)]
    assert tile_axis(77, 1, 0.3) == [(0, 77)]


@given(LENGTHS, COUNTS, OVERLAPS)
def test_weights_of_all_tiles_sum_to_one_everywhere(length: int, count: int, overlap: float) -> None:
    weights = blend_weights(_placements(length, count, overlap), np.arange(length) + 0.5)
    np.testing.assert_allclose(weights.sum(axis=0), 1)
    assert (weights >= 0).all()


def test_weights_change_gently_where_tiles_overlap() -> None:
    weights = blend_weights(_placements(1000, 3, 0.25), np.arange(1000) + 0.5)
    assert np.abs(np.diff(weights, axis=1)).max() < 0.02
    assert weights[0, 0] == weights[2, -1] == 1


def test_what_no_tile_sees_has_no_weight() -> None:
    cut = Placement(start=0, length=100, offset=-10, extent=100, view=80)
    weights = blend_weights([cut], np.arange(100) + 0.5)
    np.testing.assert_array_equal(weights[0], np.r_[np.zeros(10), np.ones(80), np.zeros(10)])


@pytest.mark.parametrize("cells", [7, 32, 256])
def test_the_cells_of_a_letterboxed_axis_are_those_inside_the_image(cells: int) -> None:
    placement = Placement(start=0, length=300, offset=50, extent=124, view=224)
    centres = (np.arange(cells) + 0.5) * 224 / cells
    np.testing.assert_array_equal(placement.filled(cells), (centres >= 50) & (centres <= 174))


def test_an_image_thinner_than_a_cell_still_has_one() -> None:
    thin = Placement(start=0, length=20, offset=111, extent=1, view=224)
    assert thin.filled(8).sum() == 1
    np.testing.assert_array_equal(thin.sample(np.arange(20) + 0.5, 8), np.flatnonzero(thin.filled(8))[0])
