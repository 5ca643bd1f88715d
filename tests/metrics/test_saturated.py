"""Saturated overlap against its definition, threshold by threshold."""

import numpy as np
import pytest

from muad.errors import ConfigError
from muad.metrics.collection import ArrayMaps
from muad.metrics.inputs import MetricInputError
from muad.metrics.region import pixel_metrics
from muad.metrics.saturated import SaturatedRegion, saturated_overlap


def brute_force(maps: np.ndarray, regions: dict, images: list[int], limit: float) -> float:
    """One binary map a threshold, the mean over defects of what is found, trapezoids up to the limit."""
    normal = np.ones(maps.shape, bool)
    for image, own in regions.items():
        for region in own:
            normal[image] &= ~region.mask
    rates, overlaps = [], []
    for threshold in [np.inf, *np.unique(maps)[::-1], -np.inf]:
        found = maps > threshold
        rates.append(np.mean(np.concatenate([found[i][normal[i]] for i in images])))
        overlaps.append(
            np.mean([min((found[i] & one.mask).sum() / one.enough, 1) for i in images for one in regions.get(i, ())])
        )
    rates, overlaps = np.array(rates), np.array(overlaps)
    inside = rates <= limit
    at_limit = overlaps[inside][-1]
    if not inside.all():
        left, right = rates[inside][-1], rates[~inside][0]
        share = (limit - left) / (right - left)
        at_limit += share * (overlaps[~inside][0] - overlaps[inside][-1])
    xs, ys = np.append(rates[inside], limit), np.append(overlaps[inside], at_limit)
    return float(np.trapezoid(ys, xs) / limit)


def some(seed: int, levels: int) -> tuple[np.ndarray, dict[int, list[SaturatedRegion]]]:
    """Six maps of few distinct values, so that there are ties; defects that overlap and touch."""
    rng = np.random.default_rng(seed)
    maps = rng.integers(0, levels, (6, 9, 11)).astype(np.float32)
    regions: dict[int, list[SaturatedRegion]] = {}
    for image in (1, 3, 4):
        for _ in range(int(rng.integers(1, 4))):
            mask = np.zeros((9, 11), bool)
            top, left = rng.integers(0, 6), rng.integers(0, 7)
            mask[top : top + 3, left : left + 4] = True
            maps[image][mask] += rng.integers(0, levels // 2 + 1)
            regions.setdefault(image, []).append(SaturatedRegion(mask=mask, enough=int(rng.integers(1, 13))))
    return maps, regions


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("levels", [4, 40, 10_000])
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_it_is_the_area_under_the_curve_of_its_definition(seed: int, levels: int, limit: float) -> None:
    maps, regions = some(seed, levels)
    labelled = ArrayMaps(maps, np.zeros(maps.shape, bool))
    for images in ([0, 1, 2, 3, 4, 5], [0, 3, 5]):
        found = saturated_overlap(labelled, regions, images, fpr_limit=limit)
        assert found == pytest.approx(brute_force(maps, regions, images, limit), abs=1e-9)


def test_finding_enough_of_a_defect_is_finding_it() -> None:
    maps, mask = np.zeros((2, 4, 5), np.float32), np.zeros((4, 5), bool)
    mask[0] = True
    maps[1, 0, :2] = 1.0
    labelled = ArrayMaps(maps, np.zeros(maps.shape, bool))
    whole, part = (saturated_overlap(labelled, {1: [SaturatedRegion(mask=mask, enough=n)]}, [0, 1]) for n in (5, 2))
    assert part == 1.0
    assert whole is not None
    assert whole < 0.45


def test_where_the_whole_defect_is_needed_it_is_aupro() -> None:
    maps, regions = some(7, 10_000)
    whole = {i: [SaturatedRegion(mask=own[0].mask, enough=int(own[0].mask.sum()))] for i, own in regions.items()}
    masks = np.zeros(maps.shape, bool)
    for image, own in whole.items():
        masks[image] = own[0].mask
    labelled = ArrayMaps(maps, masks)
    expected = pixel_metrics(maps, masks, fpr_limit=0.3).aupro
    assert saturated_overlap(labelled, whole, range(6), fpr_limit=0.3) == pytest.approx(expected)


def test_what_cannot_be_measured_is_none_or_named() -> None:
    maps = np.zeros((1, 3, 3), np.float32)
    labelled = ArrayMaps(maps, np.zeros(maps.shape, bool))
    everything = SaturatedRegion(mask=np.ones((3, 3), bool), enough=1)
    assert saturated_overlap(labelled, {}, [0]) is None
    assert saturated_overlap(labelled, {0: [everything]}, [0]) is None
    with pytest.raises(ConfigError, match="fpr_limit must be in"):
        saturated_overlap(labelled, {}, [0], fpr_limit=0)
    with pytest.raises(MetricInputError, match="at least one pixel"):
        saturated_overlap(labelled, {0: [SaturatedRegion(mask=np.zeros((3, 3), bool), enough=1)]}, [0])
