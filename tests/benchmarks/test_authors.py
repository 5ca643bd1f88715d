"""The comparison with the authors' own code: what it measures of ours is the step of the loop, on what users keep."""

import pytest
import torch

from muad.configuration.run_config import load_config

TINY = (
    "detector.name=vitad",
    "detector.encoder.name=random-vit-tiny",
    "detector.resize_px=[56,56]",
    "detector.blocks_per_target=1",
    "optim.kind=adamw",
)


def test_a_timed_step_moves_the_weights_alike_with_and_without_kept_features(load) -> None:
    ours = load("authors_ours")
    config = load_config(overrides=TINY)
    grey = torch.zeros(2, 3, 56, 56)
    moved = []
    for keeps in (True, False):
        torch.manual_seed(0)
        training = ours.Training(config, grey, keeps=keeps, from_step=200)
        assert (training.cache is not None) is keeps
        if keeps:  # of a photograph that is grey; without, of these images, which are not quite
            features = training.detector.encode(grey)
            training.cache.features[:] = features[:1]
        before = training.detector.fusion.weight.detach().clone()
        training.step()
        moved.append(training.detector.fusion.weight.detach() - before)
    assert moved[0].abs().max() > 0
    assert moved[0].allclose(moved[1], atol=1e-6)


def test_calls_take_turns_and_the_first_turn_does_not_count(load) -> None:
    order: list[str] = []
    found = load("authors").in_turns({name: lambda name=name: order.append(name) for name in "ab"}, repeats=2)
    assert order == ["a", "b"] * 3
    assert set(found) == {"a", "b"}


def test_the_table_compares_processor_time_and_says_what_was_not_run(load) -> None:
    taken = {"wall_s": 9.0, "processor_s": 0.5}
    theirs = {"wall_s": 1.0, "processor_s": 1.0}
    row = {"system": "rd4ad", "what": "image", "of": "1, 256", "theirs": theirs, "run": taken}
    text = load("figures").beside_authors([row, {"system": "uniad", "failed": "no checkout"}])
    assert "| `rd4ad` | image | 1000 | run | 500 | 2.0 | 1, 256 |" in text
    assert "| `uniad` | not run: no checkout |" in text


def test_a_missing_checkout_is_named_with_its_commit(load, tmp_path) -> None:
    imports = load("authors_imports")
    with pytest.raises(imports.MissingCodeError, match="zhiyuanyou/UniAD @ a5b9d9d"):
        imports.prepare(tmp_path, "UniAD")
