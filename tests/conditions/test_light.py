"""Other light, against what is printed of black bodies and a loop over pixels."""

import numpy as np
import pytest

from muad.conditions.light import black_body, is_grey, lit, temperature_gains, under_temperature

COLOURED = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
GREY = np.repeat(COLOURED[..., :1], 3, axis=2)


@pytest.mark.parametrize("gain", [0.8, 1.2, 0.333])
def test_light_multiplies_every_value_rounds_it_and_clips(gain: float) -> None:
    expected = [min(255, round(value * gain)) for value in COLOURED.ravel().tolist()]
    assert lit(COLOURED, gain).ravel().tolist() == expected


@pytest.mark.parametrize(
    ("kelvin", "x", "y"),  # CIE: illuminant A, and black bodies of the usual tables
    [(2856, 0.4476, 0.4074), (5000, 0.3451, 0.3516), (6500, 0.3135, 0.3237), (10000, 0.2807, 0.2884)],
)
def test_black_bodies_have_the_chromaticities_that_are_printed(kelvin: float, x: float, y: float) -> None:
    tristimulus = black_body(kelvin)
    assert tuple(tristimulus[:2] / tristimulus.sum()) == pytest.approx((x, y), abs=0.002)


def test_gains_are_one_at_the_reference_and_keep_the_luminance_of_white() -> None:
    assert temperature_gains(6500) == pytest.approx((1, 1, 1))
    for kelvin in (2500, 5500, 7500, 20000):
        assert np.dot((0.2126, 0.7152, 0.0722), temperature_gains(kelvin)) == pytest.approx(1)


def test_a_warmer_lamp_reddens_and_a_colder_one_turns_blue() -> None:
    red, green, blue = temperature_gains(5500)
    assert red > 1 > blue
    assert abs(green - 1) < 0.05
    red, _, blue = temperature_gains(7500)
    assert red < 1 < blue
    white = np.full((2, 2, 3), (200, 199, 200), np.uint8)
    warm = under_temperature(white, 5500)[0, 0].astype(int)
    assert warm[0] > warm[1] > warm[2]


def test_a_photograph_without_colour_stays_as_it_is_in_light_of_any_colour() -> None:
    assert is_grey(GREY)
    assert not is_grey(COLOURED)
    assert (under_temperature(GREY, 3000) == GREY).all()
