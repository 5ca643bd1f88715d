"""Perlin noise against its definition, and the statistics of the masks cut out of it."""

import math

import numpy as np
import pytest
import torch

from muad.synthesis.perlin import draw_angles, draw_cells, perlin_masks, perlin_noise


def generators(count: int, first: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(first, first + count)]


def written_out(cells: tuple[int, int], angles: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    noise = np.empty(size)
    for y, x in np.ndindex(size):
        v, u = y * cells[0] / size[0], x * cells[1] / size[1]
        i, j = int(v), int(u)
        corner = {
            (a, b): math.cos(angles[i + a, j + b]) * (v - i - a) + math.sin(angles[i + a, j + b]) * (u - j - b)
            for a in (0, 1)
            for b in (0, 1)
        }
        f, g = (6 * t**5 - 15 * t**4 + 10 * t**3 for t in (v - i, u - j))
        upper = corner[0, 0] * (1 - g) + corner[0, 1] * g
        lower = corner[1, 0] * (1 - g) + corner[1, 1] * g
        noise[y, x] = math.sqrt(2) * (upper * (1 - f) + lower * f)
    return noise


def test_noise_is_the_definition_written_out() -> None:
    cells = torch.tensor([[1, 4], [8, 2], [3, 5]])
    angles = draw_angles(generators(3), 9)
    noise = perlin_noise(cells, angles, (16, 24))
    for ours, (down, across), directions in zip(noise, cells.tolist(), angles, strict=True):
        expected = written_out((down, across), directions.double().numpy(), (16, 24))
        assert np.abs(ours.numpy() - expected).max() < 1e-5


def test_numbers_of_cells_are_powers_of_two_drawn_independently() -> None:
    cells = draw_cells(generators(600), 3)
    counts = torch.stack([((cells[:, 0] == 2**k) & (cells[:, 1] == 2**m)).sum() for k in range(4) for m in range(4)])
    assert counts.sum() == 600
    assert counts.min() > 15  # of 37.5 expected
    assert counts.max() < 65


@pytest.fixture(scope="module")
def single_draws() -> tuple[torch.Tensor, torch.Tensor]:
    """Share of the image above the threshold in single draws at 256 px, unrotated, and the larger number of cells."""
    areas, cells = [], []
    for first in range(0, 900, 50):
        drawn = generators(50, first)
        cells.append(draw_cells(drawn, 5))
        areas.append((perlin_noise(cells[-1], draw_angles(drawn, 33), (256, 256)) > 0.5).float().mean(dim=(1, 2)))
    return torch.cat(areas), torch.cat(cells).amax(dim=1)


def test_noise_is_below_the_threshold_everywhere_as_often_as_the_authors(
    single_draws: tuple[torch.Tensor, torch.Tensor],
) -> None:
    empty, largest = (single_draws[0] == 0).float(), single_draws[1]
    assert empty.mean().item() == pytest.approx(0.05, abs=0.02)
    for cells, expected in ((1, 0.62), (2, 0.37), (4, 0.07)):
        found = empty[largest == cells]
        assert found.mean().item() == pytest.approx(expected, abs=3 * math.sqrt(expected / len(found)))
    assert empty[largest > 4].mean() < 0.005


def test_noise_is_above_the_threshold_over_as_much_of_the_image_as_the_authors(
    single_draws: tuple[torch.Tensor, torch.Tensor],
) -> None:
    areas = single_draws[0][single_draws[0] > 0]
    quantiles = torch.quantile(areas, torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95])).tolist()
    assert quantiles == pytest.approx([0.021, 0.046, 0.054, 0.064, 0.10], rel=0.15)


def test_rotation_takes_the_corners_off_the_masks() -> None:
    """A square turned by an angle a overlaps itself by 1 / (1 + tan(a / 2)), up to 45 degrees; on average by 0.86."""
    foregrounds = torch.ones(60, 1, 128, 128)
    masks = perlin_masks(generators(60), foregrounds, max_exponent=4, threshold=0.0, attempts=1)
    assert masks.mean().item() == pytest.approx(0.86 / 2, abs=0.02)  # half of the noise is above 0


def test_masks_lie_in_the_foreground_and_keep_its_softness() -> None:
    foregrounds = torch.zeros(20, 1, 64, 64)
    foregrounds[:, :, 20:40, 10:50] = 0.7
    masks = perlin_masks(generators(20), foregrounds, max_exponent=3, threshold=0.5, attempts=50)
    assert torch.equal(masks.unique(), torch.tensor([0, 0.7]))
    assert (masks[foregrounds == 0] == 0).all()
    assert (masks.flatten(1).amax(dim=1) > 0).all()


def test_empty_masks_are_drawn_again_and_the_rest_left_alone() -> None:
    foregrounds = torch.zeros(40, 1, 64, 64)
    foregrounds[:, :, 28:36, 28:36] = 1
    once, often = (
        perlin_masks(generators(40), foregrounds, max_exponent=3, threshold=0.5, attempts=attempts)
        for attempts in (1, 50)
    )
    full = once.flatten(1).amax(dim=1) > 0
    assert 0 < full.sum() < 40
    assert torch.equal(once[full], often[full])
    assert (often.flatten(1).amax(dim=1) > 0).sum() > full.sum()


def test_without_a_foreground_masks_stay_empty() -> None:
    foregrounds = torch.zeros(2, 1, 32, 32)
    masks = perlin_masks(generators(2), foregrounds, max_exponent=2, threshold=0.5, attempts=3)
    assert (masks == 0).all()


def test_a_mask_does_not_depend_on_its_batch() -> None:
    foregrounds = torch.zeros(8, 1, 64, 64)
    foregrounds[:, :, 24:40, 24:40] = 1
    together = perlin_masks(generators(8), foregrounds, max_exponent=3, threshold=0.5, attempts=9)
    for index in range(8):
        alone = perlin_masks(
            generators(1, index), foregrounds[index : index + 1], max_exponent=3, threshold=0.5, attempts=9
        )
        assert torch.equal(alone[0], together[index])
