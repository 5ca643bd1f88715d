"""Curves through a grid, held against brute force and against a package of their own."""

from typing import get_args

import numpy as np
import pytest
import torch

from muad.nn.scan_orders import Curve, curve, scan_orders


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (3, 5), (4, 2), (6, 6)])
@pytest.mark.parametrize("kind", get_args(Curve))
def test_a_curve_takes_every_place_once(kind: Curve, size: tuple[int, int]) -> None:
    assert sorted(curve(kind, *size)) == list(range(size[0] * size[1]))


@pytest.mark.parametrize("side", [2, 4, 8, 16, 32])
def test_hilbert_goes_from_neighbour_to_neighbour_as_the_package_does(side: int) -> None:
    rows, columns = np.divmod(curve("hilbert", side, side), side)
    assert (np.abs(np.diff(rows)) + np.abs(np.diff(columns)) == 1).all()
    hilbert = pytest.importorskip("hilbert", reason="needs numpy-hilbert-curve")
    points = hilbert.decode(np.arange(side * side), 2, side.bit_length() - 1).astype(int)
    assert (columns == points[:, 0]).all()
    assert (rows == points[:, 1]).all()


def test_a_rectangle_is_walked_as_the_square_around_it() -> None:
    whole = curve("hilbert", 8, 8)
    rows, columns = np.divmod(whole, 8)
    inside = (rows < 5) & (columns < 7)
    assert curve("hilbert", 5, 7).tolist() == (rows * 7 + columns)[inside].tolist()


def test_other_curves_in_a_small_grid() -> None:
    assert curve("sweep", 2, 3).tolist() == [0, 1, 2, 3, 4, 5]
    assert curve("scan", 2, 3).tolist() == [0, 1, 2, 5, 4, 3]
    assert curve("zigzag", 3, 3).tolist() == [0, 1, 3, 6, 4, 2, 5, 7, 8]
    assert curve("zorder", 4, 4).tolist()[:8] == [0, 4, 1, 5, 8, 12, 9, 13]


def test_directions_read_the_grid_its_transpose_and_quarter_turns() -> None:
    image = torch.arange(30.0).reshape(5, 6)
    orders = scan_orders("hilbert", 5, 6, 8)
    views = [image, image.T, torch.rot90(image), torch.rot90(image).T]
    for order, view in zip(orders[:4], views, strict=True):
        along = torch.from_numpy(curve("hilbert", *view.shape))
        assert image.flatten()[order].tolist() == view.flatten()[along].tolist()
    assert (orders[4:] == orders[:4].flip(1)).all()
    assert scan_orders("hilbert", 5, 6, 2).tolist() == orders[[0, 4]].tolist()
