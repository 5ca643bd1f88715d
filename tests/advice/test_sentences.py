"""What to do next: said where it is so, with numbers that are right, and silent where nothing presses."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from muad.advice.sentences import MOST_SENTENCES, ProductStanding, RunStanding, advise, still_falling
from muad.decisions.limits import Rates

RATES = Rates(false_alarm_rate=0.005, review_rate=0.05, confidence=0.95, sure=False)
SOUND = ProductStanding(name="bolt", calibrated=200, has_limits=True, good=20, bad=20, auroc=0.995)
FALLING = tuple((1.0 - 0.01 * np.arange(50)).tolist())
FACTS = RunStanding(
    run=Path("runs/line 1"), data="photos", products=(SOUND,), rates=RATES, steps=300, losses=(FALLING,),
    seconds_per_step=0.5, authors_steps=667.0, encoder="muad-tiny", view_px=(280, 280),
)  # fmt: skip


def _with(**product: object) -> RunStanding:
    return dataclasses.replace(FACTS, products=(dataclasses.replace(SOUND, **product),))  # type: ignore[arg-type]


def test_nothing_is_said_of_a_run_that_lacks_nothing() -> None:
    assert advise(FACTS) == ()


@pytest.mark.parametrize(("count", "least"), [(19, "5 %"), (48, "2 %"), (99, "1 %")])
def test_the_rate_the_photographs_carry_and_what_more_would_give_are_said(count: int, least: str) -> None:
    (sentence,) = advise(_with(calibrated=count))
    assert f"The {count} good photographs of bolt keep false alarms to {least} at best." in sentence
    assert f"199 of each ({199 - count} more) for 0.5 %" in sentence
    assert (f"99 of each ({99 - count} more) for 1 %" in sentence) == (count < 99)
    assert sentence.endswith("muad calibrate 'runs/line 1' GOOD")


def test_sure_rates_need_more_photographs() -> None:
    facts = _with(calibrated=300)
    assert advise(facts) == ()
    (sentence,) = advise(dataclasses.replace(facts, rates=dataclasses.replace(RATES, sure=True)))
    assert "598 of each (298 more) for 0.5 %" in sentence
    assert "keep false alarms to 0.99 % at best" in sentence  # 0.9901 ** 300 is 0.05


def test_photographs_trained_on_may_count_too() -> None:
    standing = _with(calibrated=19, trained=80)
    first, second = advise(standing)
    assert "let those that bolt was trained on count for the limits too, which then keep false alarms to 1 %" in first
    assert "it trains 5 more detectors, about 12 min here" in first
    assert first.endswith("muad calibrate 'runs/line 1' --cross-fit 5")
    assert second.startswith("The 19 good photographs of bolt")
    assert len(advise(_with(calibrated=19, trained=80, cross_fitted=True))) == 1
    assert "which then keep false alarms to 0.5 %" in advise(_with(calibrated=19, trained=900))[0]


def test_products_without_limits_come_before_all_but_strangers() -> None:
    facts = dataclasses.replace(
        FACTS,
        products=(
            SOUND,
            ProductStanding(name="blank", good=20, bad=20, auroc=0.6, small_patches=0.3, photo_px=(280, 280)),
        ),
        predicted=30,
        unknown=7,
    )
    sentences = advise(facts)
    assert len(sentences) == 5
    assert sentences[0].startswith("7 of 30 photographs look like no product of this run.")
    assert sentences[1].startswith("No limits for blank, so nothing is passed or rejected there.")
    assert "19 of each for 5 %, 199 of each for 0.5 %" in sentences[1]
    assert "blank (image AUROC 0.60)" in sentences[2]
    assert "--encoder dinov2-reg-base" in sentences[2]
    assert "blank (0.3 patches)" in sentences[3]
    assert sentences[4].startswith("Train longer")


def test_before_any_calibration_the_usual_rates_are_examples() -> None:
    facts = dataclasses.replace(
        FACTS, rates=None, products=(dataclasses.replace(SOUND, calibrated=0, has_limits=False),)
    )
    assert "19 of each for 5 %, 199 of each for 0.5 %" in advise(facts)[0]


def test_never_more_than_a_handful() -> None:
    facts = dataclasses.replace(
        FACTS,
        unknown=1,
        predicted=1,
        products=(
            ProductStanding(name="blank"),
            dataclasses.replace(SOUND, name="nut", calibrated=5, auroc=0.5, small_patches=0.5, photo_px=(999, 999)),
        ),
    )
    assert len(advise(facts)) == MOST_SENTENCES


def test_longer_training_is_advised_with_its_length_and_time_only_where_the_loss_still_falls() -> None:
    facts = _with(auroc=0.95)
    (sentence,) = advise(facts)
    assert "fell by 15 % over the last fifth of 300 steps, 300 for each product where the authors take 667" in sentence
    command = "muad train photos --out NEW_RUN --recipe 'runs/line 1/config.toml' --steps 700"
    assert sentence.endswith(f"700 steps take about 6 min here: {command}")
    assert advise(dataclasses.replace(facts, losses=((1.0,) * 50,))) == ()
    assert advise(dataclasses.replace(facts, losses=(FALLING[:9],))) == ()
    assert advise(dataclasses.replace(facts, steps=700)) == ()
    flat = dataclasses.replace(_with(auroc=0.7), losses=((1.0,) * 50,))
    assert "longer training hardly helps" in advise(flat)[0]


def test_many_products_share_the_steps_unless_each_has_a_detector() -> None:
    products = tuple(dataclasses.replace(SOUND, name=name, auroc=0.95) for name in "abc")
    facts = dataclasses.replace(FACTS, products=products)
    assert "100 for each product" in advise(facts)[0]
    assert "--steps 1200" in advise(facts)[0]
    assert "300 for each product" in advise(dataclasses.replace(facts, per_product=True))[0]
    assert "700 steps take about 18 min" in advise(dataclasses.replace(facts, per_product=True))[0]


def test_tiles_are_advised_where_photographs_have_the_detail() -> None:
    (sentence,) = advise(_with(small_patches=0.5, photo_px=(2000, 2000)))
    assert sentence.endswith("--set images.tiles=[2,2]")
    (other,) = advise(_with(small_patches=0.5, photo_px=(300, 300)))
    assert "hold no more detail: photograph closer" in other
    assert advise(_with(small_patches=1.2, photo_px=(2000, 2000))) == ()


def test_untested_products_are_named() -> None:
    assert "No defective parts of bolt were tested" in advise(_with(bad=0, auroc=None))[-1]


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_no_falling_loss(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(1, 0.1, 60)
    assert still_falling([noise.tolist()]) is None
    assert still_falling([(noise * 0.03 + np.linspace(2, 1, 60)).tolist()]) == pytest.approx(0.15, abs=0.05)
    assert still_falling([]) is None
