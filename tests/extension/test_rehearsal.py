"""A detector that learns by steps goes on with old images among the new ones."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import muad
from muad.checkpoints.checkpoint import read_config
from muad.decisions.limits import read_limits
from muad.errors import ConfigError, DataError
from muad.extension.learning import mixed, prepare, require_way
from muad.runs.folder import checkpoints
from muad.runs.history import read_history
from muad.runs.images import read_run_images
from muad.types import Record

from .conftest import digests


@pytest.fixture(scope="session")
def trained(old_data: Path, tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Dinomaly of two products with limits; not to be changed."""
    run = tmp_path_factory.mktemp("steps") / "run"
    muad.train(old_data, run, recipe=tiny_recipe, overrides=["training.calibration_share=0.3"], device="cpu")
    return run


@given(old=st.integers(1, 60), new=st.integers(1, 60), share=st.floats(0.1, 0.9))
def test_an_epoch_shows_every_image_and_old_ones_as_often_as_asked_for(old: int, new: int, share: float) -> None:
    epoch = mixed(old, new, share)
    assert set(epoch) == set(range(old + new))
    shown_old = sum(place < old for place in epoch)
    assert abs(shown_old - share * len(epoch)) <= 1
    often = [[epoch.count(place) for place in side] for side in (range(old), range(old, old + new))]
    assert all(max(counts) - min(counts) <= 1 for counts in often)


def test_steps_follow_those_of_the_training_and_moved_limits_are_set_anew(
    trained: Path, new_data: Path, tmp_path: Path
) -> None:
    before, settings = digests(trained), muad.ExtensionSettings(steps=4, take_suspicious=True, bound=0.0)
    muad.extend(trained, new_data / "cap", tmp_path / "out", settings=settings, device="cpu")
    assert digests(trained) == before
    (entry,) = read_history(tmp_path / "out")
    assert (entry.way, entry.steps, entry.memory) == ("rehearsal", 4, {})
    assert (entry.rehearsed, entry.rehearsal_missing) == ({"bolt": 8, "nut": 8}, {})
    assert [one.step for one in checkpoints(tmp_path / "out")] == [16]
    assert read_config(tmp_path / "out").schedule.total_steps == 16
    log = (tmp_path / "out/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(log) == 16
    old, new = read_limits(trained, ()), read_limits(tmp_path / "out", ())
    assert old is not None
    assert new is not None
    for name, one in entry.products.items():
        assert one.lower + one.higher == one.images == 4
        assert (one.limits, one.review) == ("set anew", (old.categories[name].review, new.categories[name].review))


def test_what_of_the_old_is_gone_is_said_and_without_any_of_a_product_nothing_is_done(trained: Path) -> None:
    known, config, notes = read_run_images(trained), read_config(trained), list[str]()
    assert known is not None
    new = [Record(path=Path("cap.png"), category="cap", split="train", is_anomalous=False)]
    some = {**known.training, "nut": {name: digest if place else "gone" for place, (name, digest)
                                      in enumerate(known.training["nut"].items())}}  # fmt: skip
    settings = muad.ExtensionSettings()
    lesson = prepare(config, new, dataclasses.replace(known, training=some), settings, notes.append)
    assert (lesson.missing, lesson.rehearsed, lesson.steps) == ({"nut": 1}, {"bolt": 8, "nut": 7}, 3)
    assert notes == ["nut: 1 of 8 old photographs are gone or changed; the others stand for them"]
    none = {**known.training, "nut": dict.fromkeys(known.training["nut"], "gone")}
    with pytest.raises(DataError, match=r"old photographs must be there to be shown again.*got none of 8 of nut"):
        prepare(config, new, dataclasses.replace(known, training=none), settings, notes.append)


def test_other_detectors_take_a_new_training(trained: Path) -> None:
    config = read_config(trained)
    other = muad.load_config("rd4ad-mvtec")
    with pytest.raises(ConfigError, match=r"detector must be patchcore, or dinomaly, .* got rd4ad: it takes a new"):
        require_way(other)
    each = dataclasses.replace(config, training=dataclasses.replace(config.training, mode="per_category"))
    with pytest.raises(ConfigError, match=r"training\.mode must be multi_class for a run to be extended"):
        require_way(each)
