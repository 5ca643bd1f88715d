"""Conditions by name: what can be named, what is refused, and that chance is repeated."""

import numpy as np
import pytest

from muad.conditions.condition import KINDS, Condition, parse_conditions
from muad.errors import ConfigError

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
MASK = np.zeros((40, 50), np.uint8)


def test_no_names_are_every_kind_in_its_usual_strengths_after_the_photographs_as_they_are() -> None:
    names = [condition.name for condition in parse_conditions(())]
    assert names[0] == "unchanged"
    assert names[1:] == [f"{kind.name}={strength:g}" for kind in KINDS.values() for strength in kind.usual]


def test_names_give_kinds_and_strengths_each_once() -> None:
    found = parse_conditions(["blur = 1.5", "light", "blur=1.5", "unchanged"])
    assert [one.name for one in found] == ["unchanged", "blur=1.5", "light=0.8", "light=1.2"]
    assert found[1].words == "Gaussian blur, sigma 1.5 px"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("fog", "condition must be one of light, temperature, blur, noise, jpeg, shift, rotation, dust, got 'fog'"),
        (
            "jpeg=50.5",
            "condition jpeg must have a whole number from 1 to 100, got '50.5'. It means: JPEG of quality X.",
        ),
        ("blur=", "condition blur must have a number from 0.1 to 100, got ''"),
        ("light=-1", "from 0.05 to 20, got '-1'"),
        ("light=nan", "got 'nan'"),
    ],
)
def test_what_there_is_not_is_told(name: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told.replace("[", r"\[")):
        parse_conditions([name])


@pytest.mark.parametrize("condition", parse_conditions(()), ids=lambda one: one.name)
def test_the_same_seed_and_photograph_give_the_same_pixels_and_nothing_given_is_changed(condition: Condition) -> None:
    before = IMAGE.copy()
    first, truth = condition.apply(IMAGE, MASK, 7, "a.png")
    again, _ = condition.apply(IMAGE, None, 7, "a.png")
    assert first.shape == IMAGE.shape
    assert first.dtype == np.uint8
    assert truth is not None
    assert truth.shape == MASK.shape
    assert (first == again).all()
    assert (before == IMAGE).all()
    assert (first == IMAGE).all() == (condition.name == "unchanged")


def test_chance_is_another_for_each_photograph_but_dust_lies_still() -> None:
    for name, same in (("noise", False), ("dust", True)):
        (condition,) = parse_conditions([name])[1:]
        one, other = (condition.apply(IMAGE, None, 0, file)[0] for file in ("a.png", "b.png"))
        assert (one == other).all() == same
        assert not (condition.apply(IMAGE, None, 1, "a.png")[0] == one).all()
