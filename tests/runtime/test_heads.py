"""Maps and scores in numpy against the same in torch and scipy."""

import dataclasses
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

from muad.detectors.scoring import mean_of_largest
from muad.errors import ConfigError
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


@pytest.mark.parametrize(("size", "sigma"), [((33, 40), 4.0), ((9, 14), 5.0), ((30, 30), 0.7)])
def test_the_reflected_blur_is_scipys(size: tuple[int, int], sigma: float) -> None:
    grids = random_grids(2, *size)
    maps, _ = GridHead(grids=("a",), input_px=size, blur_sigma_px=sigma, blur="reflected")({"a": grids})
    for blurred, grid in zip(maps, grids, strict=True):
        np.testing.assert_allclose(blurred, gaussian_filter(grid, sigma), atol=1e-6)


def test_weights_are_factors_of_the_grids() -> None:
    fine, coarse = random_grids(3, 8, 8), random_grids(3, 2, 2)
    tensors = {"fine": fine, "coarse": coarse}
    weighted, _ = GridHead(grids=("fine", "coarse"), weights=(0.5, 3.0), input_px=(16, 16))(tensors)
    by_hand, _ = GridHead(grids=("fine", "coarse"), input_px=(16, 16))({"fine": 0.5 * fine, "coarse": 3 * coarse})
    np.testing.assert_allclose(weighted, by_hand, atol=1e-6)


@pytest.mark.parametrize("size", [(30, 40), (20, 9)])
def test_the_maximum_after_pooling_is_torchs(size: tuple[int, int]) -> None:
    maps, scores = GridHead(grids=("a",), input_px=size, pool_px=16)({"a": random_grids(3, *size)})
    window = (min(16, size[0]), min(16, size[1]))
    expected = F.avg_pool2d(torch.from_numpy(maps)[:, None], window, stride=1).flatten(1).amax(1)
    np.testing.assert_allclose(scores, expected.numpy(), rtol=1e-6)


def test_pooled_scores_of_a_part_are_those_of_the_fullest_window_of_each_of_its_pixels() -> None:
    side, size = 4, (11, 13)
    head = GridHead(grids=("a",), input_px=size, pool_px=side)
    maps, scores = head({"a": random_grids(3, *size)})
    inspected = np.zeros((3, *size), bool)
    inspected[0, 2:9, 1:8] = inspected[0, 10, 11:] = True  # wide enough for whole windows, and a scrap that is not
    inspected[1] = True
    np.testing.assert_allclose(head.score(maps, inspected)[1], scores[1], rtol=1e-6)
    assert head.score(maps, inspected)[2] == -np.inf

    places = [(row, column) for row in range(size[0] - side + 1) for column in range(size[1] - side + 1)]
    parts = {place: np.s_[place[0] : place[0] + side, place[1] : place[1] + side] for place in places}
    counted = set()
    for row, column in zip(*np.nonzero(inspected[0]), strict=True):
        own = [place for place in places if place[0] <= row < place[0] + side and place[1] <= column < place[1] + side]
        counts = {place: inspected[0][parts[place]].sum() for place in own}
        counted |= {place for place, count in counts.items() if count == max(counts.values())}
    expected = max(maps[0][parts[place]][inspected[0][parts[place]]].mean() for place in counted)
    np.testing.assert_allclose(head.score(maps, inspected)[0], expected, rtol=1e-6)


@pytest.mark.parametrize("map_px", [0, 48])
def test_the_largest_patch_is_found_in_the_grid_and_again_in_the_inspected_part_of_the_blurred_map(map_px: int) -> None:
    grids = random_grids(2, 8, 8)
    grids[0, 1, 2], grids[0, 5, 6] = 3.0, 2.0
    head = GridHead(
        grids=("a",), input_px=(64, 64), map_px=map_px, blur_sigma_px=4.0, blur="reflected", score_grid=(8, 8)
    )
    maps, scores = head({"a": grids})
    np.testing.assert_allclose(scores, grids.max(axis=(1, 2)))
    assert maps[0].max() < 2.5
    inspected = np.ones_like(maps, bool)
    np.testing.assert_allclose(head.score(maps, inspected), scores, rtol=1e-4)
    inspected[0, : len(maps[0]) // 2] = False
    inspected[1] = False
    assert head.score(maps, inspected) == pytest.approx([2.0, -np.inf], rel=1e-4)


def test_a_score_the_network_gives_is_taken_and_that_of_a_part_is_read_from_the_map() -> None:
    head = GridHead(grids=("a",), input_px=(6, 6), score_tensor="logit", top_pixels=2)
    maps, scores = head({"a": random_grids(2, 6, 6), "logit": np.array([[-4.0], [9.0]])})
    np.testing.assert_array_equal(scores, [-4, 9])
    part = np.zeros_like(maps, bool)
    part[:, :2] = True
    np.testing.assert_allclose(head.score(maps, part), np.sort(maps[:, :2].reshape(2, -1))[:, -2:].mean(1), rtol=1e-6)


def test_a_head_survives_json() -> None:
    head = GridHead(grids=("a", "b"), weights=(0.5, 0.5), input_px=(6, 6), blur="reflected", blur_sigma_px=4.0)
    assert GridHead(**json.loads(json.dumps(dataclasses.asdict(head)))) == head
    patch = GridHead(grids=("a",), input_px=(6, 6), score_grid=(3, 3))
    assert GridHead(**json.loads(json.dumps(dataclasses.asdict(patch)))) == patch


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"weights": (1.0, 2.0)}, "one for each of 1 grids"),
        ({"blur": "wide"}, "five_px or reflected"),
        ({"score_grid": (3, 3), "pool_px": 4}, "left out"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        GridHead(**{"grids": ("a",), "input_px": (6, 6), **settings})
