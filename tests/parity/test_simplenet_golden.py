"""Every number recorded from the authors' SimpleNet, through the code a user runs."""

import pytest
import torch
from torch import Tensor

from muad.configuration.run_config import OptimConfig, RunConfig, ScheduleConfig
from muad.detectors.simplenet import SimpleNet, SimpleNetConfig
from muad.detectors.types import Batch
from muad.encoders.encoder import EncoderConfig
from muad.training.optimizer import build_optimizer, set_learning_rates

from .conftest import Recording, digest_error, relative_error

SYSTEM = "simplenet"


def official_name(name: str) -> str:
    """What the authors call one of our tensors."""
    part, number, rest = name.split(".", 2)
    if part == "projection":
        return f"pre_projection.layers.{number}fc.{rest}"
    if rest == "weight" and "." not in rest:
        return "discriminator.tail.weight"
    return f"discriminator.body.block{int(number) + 1}.{rest}"


def stages(recording: Recording, prefix: str) -> tuple[Tensor, ...]:
    found = recording.under(f"{prefix}.features.")
    return tuple(found[str(number)] for number in range(len(found)))


def remade(recording: Recording) -> SimpleNet:
    side, dims = recording.number("size"), recording.number("dims")
    config = SimpleNetConfig(
        encoder=EncoderConfig(name="random-resnet18"),
        resize_px=(side, side),
        crop_px=(side, side),
        stage_width=dims,
        width=dims,
        hidden=recording.number("hidden"),
    )
    detector = SimpleNet(config)
    refill(recording, detector)
    return detector


def refill(recording: Recording, detector: SimpleNet) -> None:
    recording.refill((official_name(name), tensor) for name, tensor in detector.trainable_state().items())


def noise(recording: Recording, step: int, patches: Tensor) -> Tensor:
    return recording[f"step{step}.noise"].reshape(patches.shape)


def nil(recording: Recording) -> dict[str, float]:
    """Gradients that are nil but for rounding, those of a bias before batch norm; with the norm that is to be told."""
    norms = {name: float(one[0]) for name, one in recording.under("step0.grad.").items()}
    largest = max(norms.values())
    return {name: largest for name, norm in norms.items() if norm < 1e-3 * largest}


def test_patches_scores_and_gradients_are_the_authors(recording: Recording) -> None:
    detector = remade(recording).train()
    patches = detector.patches(stages(recording, "step0"))
    assert relative_error(patches.flatten(0, 1), recording["step0.patches"]) < 1e-5
    adapted = detector.projection(patches.flatten(0, 1))
    both = torch.cat([adapted, adapted + noise(recording, 0, patches).flatten(0, 1)])
    assert relative_error(detector.discriminate(both), recording["step0.scores"][:, 0]) < 1e-5
    refill(recording, detector)  # the statistics have moved
    losses = detector.learn(patches, noise(recording, 0, patches))
    assert relative_error(losses.total, recording["step0.loss"]) < 1e-5
    losses.total.backward()
    expected = recording.under("step0.grad.")
    ours = {official_name(name): p.grad for name, p in detector.named_parameters() if p.grad is not None}
    assert ours.keys() == expected.keys()
    for name, gradient in ours.items():
        assert digest_error(gradient, expected[name], nil(recording).get(name, 0.0)) < 1e-5, name


def test_training_steps_of_both_optimizers_are_the_authors(recording: Recording) -> None:
    detector = remade(recording).train()
    config = RunConfig(
        detector=detector.config,
        optim=OptimConfig(kind="adam", lr=2e-4, eps=1e-8, weight_decay=1e-5, amsgrad=False, clip_norm=0.0),
        schedule=ScheduleConfig(kind="constant", warmup_steps=0),
    )
    optimizer = build_optimizer(config.optim, detector)
    for step in recording.steps():
        set_learning_rates(config, optimizer, step)
        patches = detector.patches(stages(recording, f"step{step}"))
        losses = detector.learn(patches, noise(recording, step, patches))
        assert relative_error(losses.total, recording[f"step{step}.loss"]) < 1e-5
        losses.total.backward()
        optimizer.step()
        optimizer.zero_grad()
    expected = recording.under(f"after{len(recording.steps())}.")
    ours = {official_name(name): tensor for name, tensor in detector.trainable_state().items()}
    assert {name for name in ours if not name.endswith("num_batches_tracked")} == expected.keys()
    # A bias before batch norm has no gradient but rounding, which Adam makes a step of; the running mean follows it.
    for name, digested in expected.items():
        error = digest_error(ours[name], digested)
        if name in nil(recording) or name.endswith("running_mean"):
            each = 2 * len(recording.steps()) * config.optim.lr  # as far as two runs can drift apart
            assert error * float(digested[0]) < each * ours[name].numel() ** 0.5, name
        else:
            assert error < 1e-4, name


def test_map_and_score_are_the_authors(recording: Recording) -> None:
    detector = remade(recording).eval()
    with torch.no_grad():
        grids = detector.judge(stages(recording, "eval"))
    maps, scores = detector.map_head({"anomaly": grids.numpy()})
    assert relative_error(torch.from_numpy(maps), recording["eval.map"]) < 1e-5
    assert relative_error(torch.from_numpy(scores), recording["eval.score"]) < 1e-5


@pytest.mark.parametrize("seeds", [(1, 2), (2, 1)])
def test_a_users_step_is_the_recorded_loss_with_noise_of_the_images_seeds(
    recording: Recording, seeds: tuple[int, int]
) -> None:
    detector = remade(recording).train()
    features = tuple(stage[:2] for stage in stages(recording, "step0"))
    batch = Batch(images=torch.empty(0, 3, 8, 8), seeds=seeds, categories=("a", "a"), features=features)
    found = detector(batch, 0).total
    patches = detector.patches(features)
    drawn = torch.stack([detector.draw_noise(patches[:1], [seed])[0] for seed in seeds])
    refill(recording, detector)
    assert torch.equal(found, detector.learn(patches, drawn).total)
