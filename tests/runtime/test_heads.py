"""Maps and scores in numpy against the same in torch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from muad.detectors.scoring import mean_of_largest
from muad.runtime.heads import GridHead


def random_grids(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).random(shape, np.float32)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(
    ("size", "input_px", "map_px"), [((5, 7), (70, 49), 32), ((1, 3), (14, 42), 0), ((8, 8), (8, 8), 5)]
)
def test_enlarging_is_torchs(
    size: tuple[int, int], input_px: tuple[int, int], map_px: int, align_corners: bool
) -> None:
    grids = random_grids(2, *size)
    head = GridHead(grids=("distance",), input_px=input_px, map_px=map_px, align_corners=align_corners)
    expected = F.interpolate(torch.from_numpy(grids)[:, None], input_px, mode="bilinear", align_corners=align_corners)
    if map_px:
        expected = F.interpolate(expected, (map_px, map_px), mode="bilinear", align_corners=False)
    maps, scores = head({"distance": grids})
    np.testing.assert_allclose(maps, expected[:, 0].numpy(), atol=2e-6)
    np.testing.assert_allclose(scores, maps.max(axis=(1, 2)))


def test_the_blur_is_a_gaussian_of_five_pixels_with_zeros_outside() -> None:
    grids = random_grids(1, 9, 11)
    offset = torch.arange(-2.0, 3.0)
    kernel = torch.exp(-(offset[:, None] ** 2 + offset**2) / (2 * 1.5**2))
    expected = F.conv2d(torch.from_numpy(grids)[:, None], (kernel / kernel.sum())[None, None], padding=2)
    maps, _ = GridHead(grids=("a",), input_px=(9, 11), blur_sigma_px=1.5)({"a": grids})
    np.testing.assert_allclose(maps, expected[:, 0].numpy(), atol=1e-6)


def test_grids_of_several_sizes_are_added_up() -> None:
    fine, coarse = random_grids(3, 8, 8), random_grids(3, 2, 2)
    both, _ = GridHead(grids=("fine", "coarse"), input_px=(16, 16))({"fine": fine, "coarse": coarse, "other": fine})
    each = [GridHead(grids=(name,), input_px=(16, 16))({name: grid})[0] for name, grid in (("a", fine), ("b", coarse))]
    np.testing.assert_allclose(both, each[0] + each[1], atol=1e-6)


@pytest.mark.parametrize("top", [{"top_fraction": 0.1}, {"top_pixels": 7}, {}])
def test_scores_of_whole_maps_and_of_their_inspected_part(top: dict[str, float]) -> None:
    head = GridHead(grids=("a",), input_px=(10, 10), **top)
    maps, scores = head({"a": random_grids(4, 10, 10)})
    inspected = np.random.default_rng(3).random((4, 10, 10)) < 0.5
    inspected[1] = False
    np.testing.assert_allclose(head.score(maps, np.ones_like(inspected)), scores, rtol=1e-6)

    def count(cells: int) -> int:
        return min(cells, head.top_pixels) if head.top_pixels else max(1, int(head.top_fraction * cells))

    expected = mean_of_largest(torch.from_numpy(maps), torch.from_numpy(inspected), count)
    np.testing.assert_allclose(head.score(maps, inspected), expected.numpy(), rtol=1e-6)
    assert head.score(maps, inspected)[1] == -np.inf
