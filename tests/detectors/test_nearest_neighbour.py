"""The baseline against brute force, and what a coreset promises."""

import pytest
import torch

from muad.detectors.nearest_neighbour import NearestNeighbour, greedy_coreset
from muad.errors import ConfigError


def test_with_all_patches_remembered_a_known_image_has_no_distance(make_detector) -> None:
    baseline = NearestNeighbour(make_detector(blur_sigma_px=0.0), coreset_fraction=1.0)
    images = torch.randn(3, 3, *baseline.frozen.config.crop_px)
    baseline.remember([images])
    # Distances come from 1 - cosine in float32, whose root magnifies rounding.
    assert baseline.predict(images).anomaly_map.abs().max() < 3e-3
    assert baseline.predict(images + torch.randn_like(images)).score.min() > 0.01


def test_distances_are_those_of_a_direct_search(make_detector) -> None:
    detector = make_detector(blur_sigma_px=0.0, map_px=0)
    baseline = NearestNeighbour(detector, coreset_fraction=1.0)
    normal, image = torch.randn(2, 3, *detector.config.crop_px), torch.randn(1, 3, *detector.config.crop_px)
    baseline.remember([normal[:1], normal[1:]])
    direct = torch.cdist(baseline.describe(image)[0], baseline.describe(normal).flatten(0, 1)).amin(1)
    expected = detector.resize_map(direct.reshape(1, *detector.encoder.grid))
    assert torch.allclose(baseline.predict(image).anomaly_map, expected, atol=1e-3)


def test_categories_are_remembered_side_by_side(make_detector) -> None:
    baseline = NearestNeighbour(make_detector(), coreset_fraction=0.5)
    baseline.remember([torch.randn(2, 3, *baseline.frozen.config.crop_px)])
    first = len(baseline.memory)
    baseline.remember([torch.randn(2, 3, *baseline.frozen.config.crop_px)])
    assert len(baseline.memory) == 2 * first == 2 * baseline.frozen.encoder.grid[0] * baseline.frozen.encoder.grid[1]


def test_coreset_covers_separate_clusters_before_it_repeats_one() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = 20 * torch.randn(6, 32, generator=generator)
    sizes = (500, 40, 8, 4, 2, 1)
    patches = torch.cat(
        [c + 0.1 * torch.randn(n, 32, generator=generator) for c, n in zip(centres, sizes, strict=True)]
    )
    labels = torch.repeat_interleave(torch.arange(6), torch.tensor(sizes))
    assert set(labels[greedy_coreset(patches, 6)].tolist()) == set(range(6))


def test_coreset_is_a_function_of_the_seed() -> None:
    patches = torch.randn(200, 16, generator=torch.Generator().manual_seed(1))
    assert torch.equal(greedy_coreset(patches, 20, seed=3), greedy_coreset(patches, 20, seed=3))
    assert not torch.equal(greedy_coreset(patches, 20, seed=3), greedy_coreset(patches, 20, seed=4))
    assert len(set(greedy_coreset(patches, 200).tolist())) == 200


def test_nothing_remembered_and_impossible_fractions_are_refused(make_detector) -> None:
    with pytest.raises(ConfigError, match=r"memory must hold normal patches"):
        NearestNeighbour(make_detector()).predict(torch.zeros(1, 3, 112, 84))
    with pytest.raises(ConfigError, match=r"coreset_fraction must be above 0 and at most 1, got 0"):
        NearestNeighbour(make_detector(), coreset_fraction=0)
