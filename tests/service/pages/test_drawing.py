"""Figures are well-formed, hold no style that the policy refuses, and put limits where the scores are."""

from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import numpy as np
import pytest

from muad.service.history.history import Scores as Came
from muad.service.pages.drawing.gauge import gauge
from muad.service.pages.drawing.histogram import Scores, histogram
from muad.service.pages.drawing.timeline import Signal, even_slots, score_timeline, verdict_timeline
from muad.service.pages.language import read_languages
from muad.service.pages.rendering import SIGNS
from muad.service.pages.views.trends import quantiles, slots_of

T = read_languages()["en"]
SVG = "{http://www.w3.org/2000/svg}"


def parsed(svg: str) -> ElementTree.Element:
    root = ElementTree.fromstring(svg)
    assert not [node for node in root.iter() if "style" in node.attrib]
    return root


@pytest.mark.parametrize(("review", "reject"), [(0.3, 0.4), (None, 0.4), (0.3, None), (-2.0, -1.0), (0.0, 0.0)])
@pytest.mark.parametrize("score", [-50.0, 0.35, 50.0])
def test_a_gauge_holds_every_score_within_its_frame(score: float, review: float | None, reject: float | None) -> None:
    root = parsed(gauge(score, review, reject, T))
    width = float(root.attrib["viewBox"].split()[2])
    for box in root.iter(f"{SVG}rect"):
        assert float(box.attrib["x"]) >= 0
        assert float(box.attrib["x"]) + float(box.attrib["width"]) <= width


def test_a_gauge_says_its_score_and_is_not_there_without_limits() -> None:
    assert "0.3500" in gauge(0.35, 0.3, 0.4, T)
    assert gauge(0.35, None, None, T) == ""
    assert gauge(None, 0.3, 0.4, T) == ""


def test_handles_of_a_histogram_stand_at_their_limits() -> None:
    scores = Scores(calibration=(0.1, 0.2, 0.3), since={"": (0.2, 0.9), "good": (0.15,), "bad": (0.8,)})
    drawn = histogram(scores, 0.4, 0.6, T)
    assert drawn is not None
    handles = {one.attrib["data-limit"]: one.attrib for one in parsed(drawn.svg).iter(f"{SVG}g")}
    for name, limit in (("review", 0.4), ("reject", 0.6)):
        share = (float(handles[name]["data-x"]) - drawn.left) / (drawn.right - drawn.left)
        assert drawn.low + share * (drawn.high - drawn.low) == pytest.approx(limit, abs=1e-3)
        assert float(handles[name]["aria-valuenow"]) == limit


def test_a_histogram_without_anything_is_none_and_one_of_equal_scores_is_drawn() -> None:
    assert histogram(Scores(calibration=(), since={"": ()}), None, None, T) is None
    same = histogram(Scores(calibration=(0.5, 0.5), since={}), None, None, T)
    assert same is not None
    assert same.high > same.low


def test_slots_hold_every_part_once_with_the_quantiles_of_their_scores() -> None:
    begin = datetime(2026, 1, 31, tzinfo=UTC)
    at = np.array([begin.timestamp() + 600 * number for number in range(100)])
    came = Came(at=at, scores=np.arange(100.0), verdicts=("pass", "reject") * 50)
    slots = slots_of(came, begin, begin + timedelta(days=1))
    assert sum(slot.count for slot in slots) == 100
    assert sum(slot.verdicts["reject"] for slot in slots) == 50
    assert slots[0].quantiles == quantiles(np.arange(3.0), 3)
    assert slots[-1].quantiles == ()


@pytest.mark.parametrize("days", [1, 7, 30, 90, 400])
def test_time_lines_of_any_length_have_at_most_ten_times_below(days: int) -> None:
    until = datetime(2026, 3, 31, 7, 20, tzinfo=UTC)
    begin = until - timedelta(days=days)
    assert 2 <= len(even_slots(begin, until)) <= 50
    at = np.linspace(begin.timestamp(), until.timestamp() - 1, 300)
    came = Came(at=at, scores=at % 7, verdicts=("pass", "review", "error") * 100)
    slots = slots_of(came, begin, until)
    signal = Signal(number=1, began=begin - timedelta(days=9), ended=None)
    for svg in (score_timeline(slots, (1, 2, 3), (4, 5), [signal], T), verdict_timeline(slots, SIGNS, T)):
        times = [text for text in parsed(svg).iter(f"{SVG}text") if text.attrib.get("text-anchor") == "middle"]
        assert 2 <= len(times) <= 11
