"""Distances against brute force, what a coreset promises, and what a memory of normal patches does."""

import sys
import tomllib
from collections.abc import Iterable

import pytest
import torch

from muad.configuration.run_config import config_to_toml, load_config, parse_config
from muad.detectors.neighbours import ApproximateSearch, greedy_coreset, nearest, reweighted
from muad.detectors.patchcore import PatchCore, PatchCoreConfig
from muad.detectors.types import Batch
from muad.device import has_fast_bf16
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


def test_a_nearest_patch_sought_in_bfloat16_is_measured_in_float32() -> None:
    generator = torch.Generator().manual_seed(3)
    patches, memory = (torch.randn(2, count, 96, generator=generator) for count in (300, 1250))
    memory = memory.flatten(0, 1)
    before = torch.backends.mkldnn.matmul.fp32_precision
    found = nearest(patches, memory, lowered=True)
    distances = torch.cdist(patches.double(), memory.double()).square()
    assert torch.backends.mkldnn.matmul.fp32_precision == before
    # The distance of a patch that is there, and hardly ever another one's than the nearest's.
    assert (distances - found[..., None]).abs().amin(-1).max() < 1e-3
    least = distances.amin(-1)
    assert (found - least).min() > -1e-3
    assert (found / least).max() < 1.01
    assert (found / least - 1).abs().mean() < 1e-4


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
    assert torch.equal(
        greedy_coreset(patches, 20, seed=3, projection=8), greedy_coreset(patches, 20, seed=3, projection=8)
    )
    assert not torch.equal(
        greedy_coreset(patches, 20, seed=3, projection=8), greedy_coreset(patches, 20, seed=4, projection=8)
    )
    assert len(set(greedy_coreset(patches, 200).tolist())) == 200


def test_nothing_remembered_and_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"memory must hold normal patches"):
        make().predict(torch.zeros(1, 3, *SIZE))
    with pytest.raises(ConfigError, match=r"detector\.coreset_fraction must be above 0 and at most 1, got 0"):
        make(coreset_fraction=0)
    with pytest.raises(ConfigError, match=r"detector\.groups must divide the 4 tapped layers, got 3"):
        make(groups=3)


def test_the_score_is_reweighted_as_the_paper_has_it() -> None:
    generator = torch.Generator().manual_seed(5)
    memory, patches = torch.randn(40, 6, generator=generator), torch.randn(3, 10, 6, generator=generator)
    between = torch.cdist(patches, memory)
    distance = between.amin(2)
    for neighbours in (1, 4, 100):
        scores = []
        for image in range(3):
            patch = int(distance[image].argmax())
            first = int(between[image, patch].argmin())
            around = torch.cdist(memory[first : first + 1], memory)[0].argsort()[:neighbours]
            exponents = between[image, patch, around].double().exp()
            share = between[image, patch, first].double().exp() / exponents.sum()
            scores.append(float((1 - share) * distance[image, patch]))
        ours = reweighted(patches, distance, memory, neighbours)
        assert torch.allclose(ours, torch.tensor(scores), rtol=1e-4, atol=1e-5)


def test_a_reweighted_score_is_the_networks() -> None:
    plain, detector = make(score_from="patches", top_fraction=1e-6), make(reweight_neighbours=5)
    images = torch.randn(3, 3, *SIZE)
    for one in (plain, detector):
        fit(one, [images])
    strange = torch.randn(2, 3, *SIZE)
    ours = detector.predict(strange)
    largest = plain.predict(strange)
    assert torch.allclose(ours.anomaly_map, largest.anomaly_map)
    assert (ours.score < largest.score).all()
    assert (ours.score > 0).all()


def test_nearest_is_a_direct_search_over_blocks_and_approximate_search_finds_almost_the_same() -> None:
    generator = torch.Generator().manual_seed(6)
    memory = torch.randn(5000, 8, generator=generator)
    patches = memory[:300].reshape(2, 150, 8) + 0.05 * torch.randn(2, 150, 8, generator=generator)
    exact = nearest(patches, memory)
    assert torch.allclose(exact, torch.cdist(patches, memory).amin(2).square(), atol=1e-4)
    pytest.importorskip("faiss")
    search = ApproximateSearch()
    found = search(patches, memory)
    assert ((found - exact).abs() < 1e-4).float().mean() > 0.98
    assert (found > exact - 1e-4).all()
    memory[0] = 100.0
    assert not search(patches, memory).equal(found)


def test_without_faiss_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(
        ConfigError, match=r"detector\.search must be exact without the package faiss-cpu.*muad\[search"
    ):
        make(search="faiss")


def test_encoders_side_by_side_each_see_images_as_they_were_trained_to() -> None:
    small = EncoderConfig(name="random-vit-tiny", tap_layers=(1, 2, 3, 4))
    lite = EncoderConfig(name="random-efficientnet-lite0")
    both = PatchCore(PatchCoreConfig(encoders=(small, lite), resize_px=(56, 42), crop_px=(56, 42)))
    alone = [PatchCore(PatchCoreConfig(encoder=one, resize_px=(56, 42), crop_px=(56, 42))) for one in (small, lite)]
    assert both.grid == (7, 6)
    assert both.encoder.taps == ((1, 2, 3, 4), (2, 3, 4))
    assert len({one.fingerprint for one in (both, *alone)}) == 3
    pixels = torch.rand(2, 3, 56, 42, generator=torch.Generator().manual_seed(7))
    shown = []
    for one in (both, *alone):
        mean, std = (torch.tensor(part)[:, None, None] for part in (one.preprocessing.mean, one.preprocessing.std))
        shown.append(one.encode((pixels - mean) / std))
    for ours, theirs in zip(shown[0], (*shown[1], *shown[2]), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)
    patches = both.patches(shown[0])
    assert patches.shape == (2, 7 * 6, 2 * 192 + 40 + 80 + 112)
    layers = torch.split(patches, [192, 192, 40, 80, 112], dim=2)
    assert all(torch.allclose(layer.norm(dim=2), torch.ones(())) for layer in layers)


def test_encoders_are_given_by_name_or_by_table_and_not_both_ways() -> None:
    config = PatchCoreConfig(encoders=("random-resnet18", EncoderConfig(name="muad-tiny")))
    assert [one.name for one in config.side_by_side] == ["random-resnet18", "muad-tiny"]
    assert [one.name for one in PatchCoreConfig().side_by_side] == ["muad-tiny"]
    with pytest.raises(ConfigError, match=r"detector\.encoder must be left out with detector\.encoders"):
        PatchCoreConfig(encoder=EncoderConfig(), encoders=("random-resnet18",))


def test_encoders_of_a_recipe_come_back_from_its_text_and_mistakes_in_them_are_named() -> None:
    given = ["detector.name=patchcore", 'detector.encoders=["muad-tiny", {name="random-resnet18", tap_layers=[1,2]}]']
    config = load_config(None, given)
    assert parse_config(tomllib.loads(config_to_toml(config))) == config
    assert config.encoder_name == "muad-tiny + random-resnet18"
    for value, message in (
        ("[3]", r"detector\.encoders must be a table of keys, got 3"),
        ('["muad-tin"]', r"encoder\.name must be a known encoder.*muad-tiny"),
        ('[{name="muad-tiny", tap=1}]', r"'detector\.encoders\.tap'"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_config(None, [given[0], f"detector.encoders={value}"])


def test_few_candidates_and_a_limit_make_a_small_memory_that_does_not_depend_on_batches() -> None:
    images = torch.randn(6, 3, *SIZE, generator=torch.Generator().manual_seed(8))
    one, other = (make(coreset="random", coreset_fraction=0.1) for _ in range(2))
    fit(one, [images])
    fit(other, [images[:1], images[1:3], images[3:]])
    assert len(one.memory) == len(other.memory) == int(0.1 * 6 * 48)
    few = make(candidate_fraction=0.5, coreset_fraction=0.5, most_patches=7)
    fit(few, [images])
    assert len(few.memory) == 7
    assert make(candidate_fraction=0.1).needed_bytes(100) < make().needed_bytes(100) / 5


def test_in_bfloat16_distances_hardly_differ_and_the_network_stays_float32() -> None:
    plain, quick = make(), make(precision="auto", search="exact")
    images = torch.randn(3, 3, *SIZE, generator=torch.Generator().manual_seed(9))
    fit(plain, [images])
    quick.memory = plain.memory
    strange = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(10))
    exact = plain.measure(strange)["distance"]
    assert torch.allclose(quick.measure(strange)["distance"], exact, rtol=0.02)
    assert quick.network()(strange)["distance"].equal(exact)
    assert quick.config.precision == "auto"


@pytest.mark.skipif(not has_fast_bf16(torch.device("cpu")), reason="this processor has no units for bfloat16")
def test_only_vision_transformers_are_encoded_in_bfloat16() -> None:
    pair = (EncoderConfig(name="muad-tiny"), EncoderConfig(name="random-efficientnet-lite0"))
    plain, quick = (
        PatchCore(PatchCoreConfig(encoders=pair, resize_px=SIZE, crop_px=SIZE, precision=precision))
        for precision in ("fp32", "auto")
    )
    images = torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(11))
    same = [one.equal(other) for one, other in zip(plain.encode(images), quick.encode(images), strict=True)]
    assert same == [False, False, True, True, True]
    quick.compute_in_float32()
    assert all(one.equal(other) for one, other in zip(plain.encode(images), quick.encode(images), strict=True))


def test_a_coarser_grid_is_one_all_layers_are_brought_to() -> None:
    lite = EncoderConfig(name="random-efficientnet-lite0")
    detector = PatchCore(PatchCoreConfig(encoder=lite, resize_px=SIZE, crop_px=SIZE, grid_px=14))
    assert detector.grid == (4, 3)
    assert detector.patches(detector.encode(torch.zeros(1, 3, *SIZE))).shape == (1, 12, 40 + 80 + 112)
    with pytest.raises(ConfigError, match=r"detector\.grid_px must be from 0 to the side of crop_px, got 57"):
        make(grid_px=57)
