"""DiffusionAD under the detector's contract, at a size where a step takes milliseconds."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from muad.detectors.diffusion_ad import DiffusionAd, DiffusionAdConfig, focal_loss, normal_mean, top_mean
from muad.detectors.types import Batch, Losses
from muad.errors import ConfigError
from muad.nn.denoiser import DenoiserConfig
from muad.nn.diffusion import add_noise, one_step
from muad.optim import StableAdamW
from muad.synthesis import SynthesisConfig

TINY = DenoiserConfig(width=8, multipliers=(1, 1, 2), blocks_per_level=1, attention_levels=1, heads=2)
SYNTHESIS = SynthesisConfig(max_cells_exponent=2, foreground="whole_image")


def make_config(**changes: object) -> DiffusionAdConfig:
    settings = {"resize_px": (64, 64), "denoiser": TINY, "segmenter_width": 4, "synthesis": SYNTHESIS}
    return DiffusionAdConfig(**(settings | changes))


def make_detector(**changes: object) -> DiffusionAd:
    """With an output that is not zero, as after some training."""
    torch.manual_seed(3)
    detector = DiffusionAd(make_config(**changes))
    torch.nn.init.normal_(detector.denoiser.network.conv_out.weight, std=0.05)
    return detector


def make_batch(seeds: tuple[int, ...] = (0, 1, 2, 3)) -> Batch:
    images = torch.rand(len(seeds), 3, 64, 64, generator=torch.Generator().manual_seed(9))
    return Batch(images=images, seeds=seeds, categories=("screw",) * len(seeds))


def losses_of(detector: DiffusionAd, batch: Batch, step: int = 0) -> Losses:
    return detector(detector.prepare(batch), step)


def without_anomalies(probability: float = 0.0) -> SynthesisConfig:
    return SynthesisConfig(max_cells_exponent=2, foreground="whole_image", probability=probability)


def test_shapes_ranges_and_named_terms() -> None:
    detector, batch = make_detector(), make_batch()
    losses = losses_of(detector, batch)
    assert set(losses.terms) == {"noise", "focal", "smooth_l1", "anomalous_fraction"}
    terms = {name: term.item() for name, term in losses.terms.items()}
    assert losses.total.item() == pytest.approx(terms["noise"] + 5 * terms["focal"] + terms["smooth_l1"], rel=1e-5)
    prediction = detector.predict(batch.images)
    assert prediction.anomaly_map.shape == (4, 64, 64)
    assert prediction.score.shape == (4,)
    assert 0 < prediction.anomaly_map.min() < prediction.anomaly_map.max() < 1
    assert not prediction.anomaly_map.requires_grad


def test_weights_of_the_terms_come_from_the_configuration() -> None:
    losses = losses_of(make_detector(noise_weight=0.5, focal_weight=2.0, smooth_l1_weight=3.0), make_batch())
    terms = losses.terms
    assert losses.total.item() == pytest.approx(
        (0.5 * terms["noise"] + 2 * terms["focal"] + 3 * terms["smooth_l1"]).item(), rel=1e-5
    )


def test_loss_is_a_function_of_weights_images_and_seeds() -> None:
    detector = make_detector()
    first = losses_of(detector, make_batch((1, 2, 3, 4)), 0).total.item()
    torch.manual_seed(77)  # the global stream has no part in it
    assert losses_of(detector, make_batch((1, 2, 3, 4)), 5).total.item() == first
    assert losses_of(detector, make_batch((1, 2, 3, 5)), 0).total.item() != first


def test_an_images_timesteps_and_noise_do_not_depend_on_its_batch() -> None:
    detector, batch = make_detector(), make_batch((5, 6, 7, 8))
    timesteps, noise = detector._draw(batch.images, batch.seeds)
    alone, lone_noise = detector._draw(batch.images[2:3], batch.seeds[2:3])
    assert torch.equal(alone, timesteps[:, 2:3])
    assert torch.equal(lone_noise, noise[:, 2:3])
    assert not torch.equal(noise[0], noise[1])
    assert abs(noise.mean().item()) < 0.02
    assert noise.std().item() == pytest.approx(1, abs=0.02)


def test_timesteps_fill_their_ranges_and_do_not_follow_the_labels() -> None:
    detector = make_detector()
    seeds = tuple(range(400))
    images = torch.zeros(400, 1, 2, 2)
    small, large = detector._draw(images, seeds)[0]
    assert 0 <= small.min() < 15
    assert 285 < small.max() <= 299
    assert 300 <= large.min() < 330
    assert 970 < large.max() <= 999
    first_draws = torch.cat([torch.rand(1, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    for drawn in (small, large):
        assert abs(torch.corrcoef(torch.stack([drawn.float(), first_draws]))[0, 1]) < 0.15


def test_a_batch_of_anomalies_alone_has_no_noise_loss_and_finite_gradients() -> None:
    detector = make_detector(synthesis=without_anomalies(1.0), guidance_weight=0.0)
    losses = losses_of(detector, make_batch(), 0)
    assert losses.terms["anomalous_fraction"] == 1
    assert losses.terms["noise"] == 0
    losses.total.backward()
    assert all(torch.isfinite(p.grad).all() for p in detector.parameters() if p.grad is not None)


def test_noise_loss_is_the_mean_over_normal_images() -> None:
    values = torch.tensor([1.0, 2.0, 4.0, 5.0], requires_grad=True)
    is_normal = torch.tensor([True, False, True, False])
    loss = normal_mean(values, is_normal, is_normal.float().mean())
    assert loss == 2.5
    loss.backward()
    assert values.grad.tolist() == [0.5, 0, 0.5, 0]
    assert normal_mean(values, torch.tensor([False] * 4), torch.tensor(0.0)) == 0


def test_parts_of_a_batch_have_the_gradient_of_the_whole() -> None:
    """Seeds and the share of normal images are the whole batch's; batch norm, which sees a part, is held still."""
    detector = make_detector(synthesis=without_anomalies(0.5))
    detector.segmenter.eval()
    batch = detector.prepare(make_batch((0, 1, 2, 3, 4, 5)))
    assert 0 < batch.normal_fraction < 1

    def gradient(parts: int) -> torch.Tensor:
        detector.zero_grad()
        for part in batch.split(parts):
            (detector(part, 0).total / parts).backward()
        return torch.cat([p.grad.flatten().clone() for p in detector.parameters() if p.grad is not None])

    whole = gradient(1)
    assert len({int((part.masks.flatten(1).amax(1) == 0).sum()) for part in batch.split(3)}) > 1, "unequal parts"
    for parts in (2, 3, 6):
        assert float((gradient(parts) - whole).norm() / whole.norm()) < 1e-5


def test_a_batch_that_was_not_prepared_is_refused() -> None:
    with pytest.raises(ConfigError, match="batch must have anomalies drawn into it"):
        make_detector()(make_batch(), 0)


def test_segmentation_loss_trains_the_denoiser_too() -> None:
    detector = make_detector(noise_weight=0.0)
    losses_of(detector, make_batch(), 0).total.backward()
    gradient = detector.denoiser.network.conv_in.weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_everything_learns() -> None:
    detector = make_detector(synthesis=without_anomalies(0.5))
    state = torch.Generator().manual_seed(0)
    for parameter in detector.denoiser.parameters():  # what begins as nothing would hide what lies before it
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=state)
    losses_of(detector, make_batch(), 0).total.backward()
    groups = {group["name"]: group["params"] for group in detector.parameter_groups()}
    for name, parameters in groups.items():
        assert all(p.grad is not None for p in parameters), name
    still = [n for n, p in detector.denoiser.named_parameters() if p.grad.abs().sum() == 0]
    assert not [name for name in still if "to_k.bias" not in name]  # a softmax does not feel a shift of its keys


def test_parameter_groups_hold_every_parameter_once_with_its_learning_rate() -> None:
    detector = make_detector(segmenter_lr_factor=0.3, segmenter_swing_steps=7)
    groups = detector.parameter_groups()
    assert [(group["name"], group["lr_factor"]) for group in groups] == [("denoiser", 1.0), ("segmenter", 0.3)]
    assert "rate" not in groups[0]
    assert [groups[1]["rate"](step, 0.3) for step in (0, 7, 14)] == pytest.approx([0.3, 0.0, 0.3])
    held = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in detector.parameters())


def test_focal_loss_is_its_formula() -> None:
    logits, masks = torch.randn(2, 1, 4, 4, dtype=torch.float64), torch.rand(2, 1, 4, 4, dtype=torch.float64).round()
    truth = torch.where(masks > 0, logits.sigmoid(), 1 - logits.sigmoid())
    expected = (-0.5 * (1 - truth) ** 4 * truth.log()).mean()
    assert focal_loss(logits, masks.float()).item() == pytest.approx(expected.item(), rel=1e-4)


def test_predicting_twice_gives_the_same_and_leaves_the_mode_alone() -> None:
    detector, images = make_detector(), make_batch().images
    detector.train()
    first, again = detector.predict(images), detector.predict(images)
    assert torch.equal(first.anomaly_map, again.anomaly_map)
    assert detector.segmenter.training
    detector.eval()
    assert torch.equal(detector.predict(images).score, first.score)
    assert not detector.segmenter.training


def test_a_prediction_does_not_depend_on_the_other_images() -> None:
    detector, images = make_detector(), make_batch().images
    together, alone = detector.predict(images), detector.predict(images[2:3])
    assert alone.anomaly_map[0].allclose(together.anomaly_map[2], atol=1e-5)


def test_noise_of_predictions_follows_its_seed_and_is_averaged_over_draws() -> None:
    images = make_batch().images
    first, second = (make_detector(noise_seed=seed).predict(images).anomaly_map for seed in (0, 1))
    assert not torch.equal(first, second)
    assert make_detector(noise_draws=2).predict(images).anomaly_map.allclose((first + second) / 2, atol=1e-6)


def test_score_is_the_mean_of_the_largest_pixels() -> None:
    maps = torch.rand(2, 16, 16)
    assert top_mean(maps, 50).allclose(maps.flatten(1).sort(dim=1).values[:, -50:].mean(dim=1))
    assert top_mean(maps, 1000).allclose(maps.mean(dim=(1, 2)))


@pytest.mark.parametrize("reconstruction", ["norm_guided", "one_step", "iterative", "autoencoder"])
@pytest.mark.parametrize("mode", ["parity", "clean"])
def test_every_way_of_the_ablation_trains_and_predicts(reconstruction: str, mode: str) -> None:
    detector = make_detector(reconstruction=reconstruction, mode=mode, iterative_steps=3)
    losses = losses_of(detector, make_batch(), 0)
    losses.total.backward()
    assert torch.isfinite(losses.total)
    assert torch.isfinite(detector.predict(make_batch().images).score).all()


def test_without_guidance_the_reconstruction_is_one_step_at_the_small_scale() -> None:
    images = make_batch().images
    timesteps, noise = torch.tensor([200, 400])[:, None].expand(-1, 4), torch.randn(2, *images.shape)
    guided = make_detector(guidance_weight=0.0).reconstruct(images, timesteps, noise)[0]
    detector = make_detector(reconstruction="one_step")
    assert guided.allclose(detector.reconstruct(images, timesteps, noise)[0], atol=1e-5)
    noised = add_noise(images, noise[0], detector.alphas_cumprod[timesteps[0]])
    by_hand = one_step(noised, detector.denoiser(noised, timesteps[0]), detector.alphas_cumprod[timesteps[0]])
    assert guided.allclose(by_hand, atol=1e-5)


@pytest.mark.parametrize("mode", ["parity", "clean"])
def test_what_is_restored_is_what_the_segmenter_compares_with(mode: str) -> None:
    detector, images = make_detector(mode=mode), make_batch().images
    detector.eval()
    restored = detector.restore(images)
    assert 0 <= restored.min() < restored.max() <= 1
    compared = detector._reconstruct_for_prediction(detector.scale(images), detector.prediction_noise(0), None)
    inside = (detector.scale(restored) - compared).abs() < 1e-5
    assert inside[(compared > detector.scale(torch.zeros(1))) & (compared < 1)].all()


def make_conditioned(**changes: object) -> DiffusionAd:
    detector = make_detector(conditioning="category", categories=("nut", "screw"), **changes)
    for parameter in detector.denoiser.parameters():  # residual branches and embeddings begin as nothing
        torch.nn.init.normal_(parameter, std=0.1)
    return detector


def test_what_an_image_shows_decides_its_reconstruction_and_no_other() -> None:
    detector, images = make_conditioned(), make_batch().images
    nuts, screws = (detector.restore(images, [name] * 4) for name in ("nut", "screw"))
    assert (nuts - screws).abs().amax() > 2e-4
    mixed = detector.restore(images, ["nut", "screw", "nut", "screw"])
    assert mixed.allclose(torch.stack([nuts[0], screws[1], nuts[2], screws[3]]), atol=2e-5)
    scores = [detector.predict_of(images, [name] * 4).score for name in ("nut", "screw")]
    assert not scores[0].equal(scores[1])


def test_a_category_that_is_unknown_is_predicted_as_none_is() -> None:
    detector, images = make_conditioned(), make_batch().images
    untold = detector.predict(images).score
    assert detector.predict_of(images, [None, "washer", None, "washer"]).score.equal(untold)
    assert not detector.predict_of(images, ["nut"] * 4).score.equal(untold)


def test_a_share_of_the_training_images_is_not_told_what_it_shows() -> None:
    seeds = tuple(range(400))
    withheld = make_conditioned(category_dropout=0.25)._withhold(("nut",) * 400, seeds)
    assert withheld.count(None) == pytest.approx(100, abs=30)
    assert withheld[7:9] == make_conditioned(category_dropout=0.25)._withhold(("nut",) * 2, seeds[7:9])
    losses_of(make_conditioned(category_dropout=1.0), make_batch()).total.backward()


def test_embeddings_of_the_categories_learn() -> None:
    detector = make_conditioned(category_dropout=0.0)
    losses_of(detector, make_batch()).total.backward()
    gradient = detector.denoiser.network.class_embedding.weight.grad
    assert gradient is not None
    assert gradient[1].abs().sum() > 0  # every image of the batch shows a screw
    assert gradient[[0, 2]].abs().sum() == 0


def test_conditioning_begins_as_the_network_without() -> None:
    images = make_batch().images
    torch.manual_seed(0)
    plain = DiffusionAd(make_config())
    torch.manual_seed(0)
    told = DiffusionAd(make_config(conditioning="category", categories=("nut", "screw")))
    (added,) = told.state_dict().keys() - plain.state_dict().keys()
    assert all(tensor.equal(told.state_dict()[name]) for name, tensor in plain.state_dict().items())
    assert not told.state_dict()[added].any()
    assert told.predict_of(images, ["nut"] * 4).score.equal(plain.predict(images).score)


def test_a_conditioned_detector_must_be_told_of_its_categories() -> None:
    with pytest.raises(ConfigError, match=r"detector.categories must name .* got none"):
        make_detector(conditioning="category")


def test_a_walk_of_one_step_is_one_step() -> None:
    detector, images = make_detector(reconstruction="iterative", iterative_steps=1), make_batch().images
    noise = torch.randn(2, *images.shape)
    timesteps = torch.tensor([200, 400])[:, None].expand(-1, 4)
    assert detector.walk(images, noise[0]).allclose(detector.reconstruct(images, timesteps, noise)[0], atol=1e-5)


def test_clean_mode_is_parity_stretched_in_noise_and_in_blend() -> None:
    """With networks that predict nothing, and so little noise that no clamping bites."""
    images = 0.3 + 0.4 * make_batch().images
    timesteps, noise = torch.tensor([100, 300])[:, None].expand(-1, 4), 0.02 * torch.randn(2, *images.shape)
    parity, clean = (
        DiffusionAd(make_config(guidance_weight=2.0)),
        DiffusionAd(make_config(guidance_weight=2.0, mode="clean")),
    )
    assert clean.timesteps[200] == 331
    stretched = 2 * parity.reconstruct(parity.scale(images), timesteps, noise)[0] - 1
    reconstructed = clean.reconstruct(clean.scale(images), timesteps, noise)[0]
    assert (2 * images - 1 - stretched).abs().max() > 0.02
    assert reconstructed.allclose(stretched, atol=2e-3)  # the matching timestep is the nearest whole one


def test_weights_and_running_statistics_survive_saving(tmp_path: Path) -> None:
    detector, images = make_detector(), make_batch().images
    detector.train()
    losses_of(detector, make_batch(), 0)  # moves the running statistics
    save_file({name: tensor.contiguous() for name, tensor in detector.trainable_state().items()}, tmp_path / "w")
    torch.manual_seed(123)
    other = DiffusionAd(make_config())
    assert not torch.equal(other.predict(images).anomaly_map, detector.predict(images).anomaly_map)
    loaded = load_file(tmp_path / "w")
    assert set(loaded) == set(other.trainable_state())
    for name, tensor in other.trainable_state().items():
        tensor.copy_(loaded[name])
    assert torch.equal(other.predict(images).anomaly_map, detector.predict(images).anomaly_map)


def test_loss_falls_on_four_images() -> None:
    detector = make_detector(segmenter_lr_factor=1.0)
    optimizer = StableAdamW(detector.parameter_groups(), lr=2e-3, weight_decay=0.0)
    losses = []
    for step in range(30):
        loss = losses_of(detector, make_batch((step % 3, 5, 6, 7)), step).total
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert sum(losses[-6:]) < 0.7 * sum(losses[:6])


def test_mixed_precision_leaves_estimates_and_segmenter_in_float32() -> None:
    detector, images = make_detector(), make_batch().images
    with torch.autocast("cpu", dtype=torch.bfloat16):
        reconstructions, errors = detector.reconstruct(
            images, torch.tensor([200, 400])[:, None].expand(-1, 4), torch.randn(2, *images.shape)
        )
        logits = detector.segment(images, reconstructions)
        total = losses_of(detector, make_batch(), 0).total
    assert {tensor.dtype for tensor in (reconstructions, errors, logits, total)} == {torch.float32}
    assert torch.isfinite(total)


@pytest.fixture
def refused() -> Callable[[str, object], None]:
    def check(name: str, value: object) -> None:
        with pytest.raises(ConfigError, match=f"detector.{name} must be"):
            make_config(**{name: value})

    return check


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("resize_px", (64, 60)),
        ("segmenter_width", 0),
        ("small_timesteps", (300, 0)),
        ("large_timesteps", (300, 1000)),
        ("predict_timesteps", (400, 200)),
        ("iterative_steps", 0),
        ("guidance_weight", -1.0),
        ("focal_weight", -1.0),
        ("segmenter_lr_factor", 0.0),
        ("top_pixels", 0),
        ("noise_draws", 0),
    ],
)
def test_settings_out_of_range_are_named(refused: Callable[[str, object], None], name: str, value: object) -> None:
    refused(name, value)
