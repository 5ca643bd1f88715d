"""Every number recorded from the authors' UniAD, through the code a user runs."""

import torch
from torch import Tensor

from muad.configuration.run_config import OptimConfig, RunConfig, ScheduleConfig
from muad.detectors.types import Batch
from muad.detectors.uniad import Restorer, UniAd, UniAdConfig, jittered
from muad.encoders.encoder import EncoderConfig
from muad.training.optimizer import build_optimizer, set_learning_rates

from .conftest import Recording, digest_error, relative_error

SYSTEM = "uniad"
PARTS = {
    "rows": "pos_embed.row_embed.weight",
    "columns": "pos_embed.col_embed.weight",
    "norm": "transformer.decoder.norm",
    "encoder_layers": "transformer.encoder.layers",
    "decoder_layers": "transformer.decoder.layers",
    "queries": "learned_embed.weight",
    "attentions.0": "self_attn",
    "attentions.1": "multihead_attn",
    "in_proj.weight": "in_proj_weight",
    "in_proj.bias": "in_proj_bias",
    "norms.0": "norm1",
    "norms.1": "norm2",
    "norms.2": "norm3",
}


def official_name(name: str) -> str:
    """What the authors call one of our tensors."""
    name = name.removeprefix("restorer.")
    for ours, official in PARTS.items():
        name = f".{name}.".replace(f".{ours}.", f".{official}.").strip(".")
    return name


def remade(recording: Recording) -> UniAd:
    channels, side = recording["eval.features"].shape[1:3]
    config = UniAdConfig(
        encoder=EncoderConfig(name="random-resnet18", tap_layers=(3,)),
        resize_px=(16 * side, 16 * side),
        width=recording.number("hidden"),
        heads=recording.number("heads"),
        encoder_layers=recording.number("layers"),
        decoder_layers=recording.number("layers"),
        feedforward=recording.number("feedforward"),
        neighbours=recording.number("neighbour"),
        dropout_rate=0.0,
        jitter_scale=0.0,
    )
    detector = UniAd(config)
    assert detector.grid == (recording.number("side"),) * 2
    detector.restorer = Restorer(channels, detector.grid, config)  # recorded with fewer channels than encoders have
    recording.refill((official_name(name), tensor) for name, tensor in detector.trainable_state().items())
    return detector


def batch_of(features: Tensor) -> Batch:
    seeds = tuple(range(len(features)))
    return Batch(images=torch.empty(0, 3, 8, 8), seeds=seeds, categories=("a",) * len(seeds), features=features)


def test_restored_features_loss_and_gradients_are_the_authors(recording: Recording) -> None:
    detector = remade(recording).train()
    assert relative_error(detector.restore(recording["step0.features"]), recording["step0.reconstruction"]) < 1e-5
    losses = detector(batch_of(recording["step0.features"]), 0)
    assert relative_error(losses.total, recording["step0.loss"]) < 1e-5
    losses.total.backward()
    expected = recording.under("step0.grad.")
    ours = {official_name(name): p.grad for name, p in detector.named_parameters() if p.grad is not None}
    assert ours.keys() == expected.keys()
    for name, gradient in ours.items():
        assert digest_error(gradient, expected[name]) < 1e-5, name


def test_training_steps_with_clipping_are_the_authors(recording: Recording) -> None:
    detector = remade(recording).train()
    config = RunConfig(
        detector=detector.config,
        optim=OptimConfig(kind="adamw", lr=1e-4, eps=1e-8, weight_decay=1e-4, amsgrad=False, clip_norm=0.1),
        schedule=ScheduleConfig(kind="drop", warmup_steps=0, final_lr=1e-5, drop_at=0.8, total_steps=1000),
    )
    optimizer = build_optimizer(config.optim, detector)
    for step in recording.steps():
        set_learning_rates(config, optimizer, step)
        losses = detector(batch_of(recording[f"step{step}.features"]), step)
        assert relative_error(losses.total, recording[f"step{step}.loss"]) < 1e-5
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(detector.parameter_groups()[0]["params"], config.optim.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
    expected = recording.under(f"after{len(recording.steps())}.")
    ours = {official_name(name): tensor for name, tensor in detector.trainable_state().items()}
    assert ours.keys() == expected.keys()
    for name, digested in expected.items():
        assert digest_error(ours[name], digested) < 1e-4, name


def test_map_and_score_are_the_authors(recording: Recording) -> None:
    detector = remade(recording).eval()
    with torch.no_grad():
        assert relative_error(detector.restore(recording["eval.features"]), recording["eval.reconstruction"]) < 1e-5
        distance = detector.distance(recording["eval.features"])
    maps, scores = detector.map_head({"distance": distance.numpy()})
    assert relative_error(torch.from_numpy(maps), recording["eval.map"]) < 1e-5
    assert relative_error(torch.from_numpy(scores), recording["eval.score"]) < 1e-5


def test_jitter_and_neighbour_mask_are_the_authors(recording: Recording) -> None:
    tokens, noise = (recording[f"jitter.{name}"].transpose(0, 1) for name in ("tokens", "noise"))
    found = jittered(tokens, noise, UniAdConfig().jitter_scale)
    assert relative_error(found.transpose(0, 1), recording["jitter.out"]) < 1e-5
    keep = remade(recording).restorer.keep
    assert isinstance(keep, Tensor)
    assert torch.equal(torch.where(keep, 0.0, -torch.inf), recording["mask"])
