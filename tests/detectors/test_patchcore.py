"""Distances against brute force, what a coreset promises, and what a memory of normal patches does."""

from collections.abc import Iterable

import pytest
import torch

from muad.detectors.patchcore import PatchCore, PatchCoreConfig, greedy_coreset
from muad.detectors.types import Batch
from muad.encoders.encoder import EncoderConfig
from muad.encoders.families import VitLayout
from muad.errors import ConfigError

SIZE = (56, 42)  # 8 x 6 patches


def make(**changes: object) -> PatchCore:
    layout = VitLayout(width=32, depth=5, heads=2, patch_px=7, registers=2, position_grid=6)
    encoder = EncoderConfig(name="random-custom", layout=layout, tap_layers=(1, 2, 3, 4))
    settings = {"encoder": encoder, "resize_px": SIZE, "crop_px": SIZE, "map_px": 32}
    return PatchCore(PatchCoreConfig(**(settings | changes)))


def fit(detector: PatchCore, batches: Iterable[torch.Tensor], seed: int = 0) -> None:
    shown = (Batch(images=images, seeds=(), categories=("nut",) * len(images)) for images in batches)
    with torch.no_grad():
        detector.fit(shown, seed, lambda *_: None)


def test_with_all_patches_remembered_a_known_image_has_no_distance() -> None:
    detector = make(blur_sigma_px=0.0, coreset_fraction=1.0)
    images = torch.randn(3, 3, *SIZE)
    fit(detector, [images])
    # Distances come from 1 - cosine in float32, whose root magnifies rounding.
    assert detector.predict(images).anomaly_map.abs().max() < 3e-3
    assert detector.predict(images + torch.randn_like(images)).score.min() > 0.01


def test_distances_are_those_of_a_direct_search() -> None:
    detector = make(coreset_fraction=1.0)
    normal, image = torch.randn(2, 3, *SIZE), torch.randn(1, 3, *SIZE)
    fit(detector, [normal[:1], normal[1:]])
    described = [detector.patches(detector.encode(images)) for images in (image, normal)]
    direct = torch.cdist(described[0][0], described[1].flatten(0, 1)).amin(1)
    measured = detector.measure(image)["distance"]
    assert torch.allclose(measured, direct.reshape(1, *detector.grid), atol=1e-3)


def test_categories_are_remembered_side_by_side() -> None:
    detector = make(coreset_fraction=0.5)
    fit(detector, [torch.randn(2, 3, *SIZE)])
    first = len(detector.memory)
    fit(detector, [torch.randn(2, 3, *SIZE)])
    assert len(detector.memory) == 2 * first == 2 * detector.grid[0] * detector.grid[1]


def test_a_random_coreset_is_a_share_of_the_patches_drawn_from_the_seed() -> None:
    images = torch.randn(2, 3, *SIZE)
    one, same, other = (make(coreset="random", coreset_fraction=0.25) for _ in range(3))
    for detector, seed in ((one, 1), (same, 1), (other, 2)):
        fit(detector, [images], seed)
    assert one.memory.equal(same.memory)
    assert not one.memory.equal(other.memory)
    patches = one.patches(one.encode(images)).flatten(0, 1)
    assert len(one.memory) == len(patches) // 4
    assert {tuple(row) for row in one.memory.tolist()} <= {tuple(row) for row in patches.tolist()}
    assert len(one.memory.unique(dim=0)) == len(one.memory)


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


def test_nothing_remembered_and_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"memory must hold normal patches"):
        make().predict(torch.zeros(1, 3, *SIZE))
    with pytest.raises(ConfigError, match=r"detector\.coreset_fraction must be above 0 and at most 1, got 0"):
        make(coreset_fraction=0)
    with pytest.raises(ConfigError, match=r"detector\.groups must divide the 4 tapped layers, got 3"):
        make(groups=3)
