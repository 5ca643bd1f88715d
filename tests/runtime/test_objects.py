"""One verdict on a part from all of its views, and what is said where one is missing."""

from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
from PIL import Image

from muad import Predictor, ViewedObject
from muad.decisions.limits import CategoryLimits
from muad.decisions.object_limits import read_object_limits
from muad.decisions.object_scores import TOP_FRACTION
from muad.errors import ConfigError
from muad.images.reading import read_image
from muad.runtime.objects import judge_object
from muad.runtime.views import inspected_values, predict_images


@pytest.fixture(scope="module")
def predictor(viewed: Any) -> Predictor:
    return Predictor(viewed.run, device="cpu")


@pytest.fixture(scope="module")
def part(viewed: Any) -> dict[str, Path]:
    return {file.stem: file for file in sorted((viewed.data / "pill_blister" / "p03").iterdir())}


def test_a_score_is_that_of_all_map_values_of_all_views(predictor: Predictor, part: dict[str, Path]) -> None:
    found = predictor.predict_object(part, name="p03")
    values, scores = [], []
    for path in part.values():
        views = predictor.look(path).views
        assert views is not None
        scorer = predictor._detector(None)
        (maps,) = predict_images(scorer, [views], 1)
        values.append(inspected_values(scorer.preprocessing, views, maps))
        scores.append(maps.score)
    every = np.sort(np.concatenate(values))
    expected = every[-int(TOP_FRACTION * every.size) :].mean()
    assert found.scores == pytest.approx({"mean_top": expected, "max": max(scores)}, rel=1e-5)
    assert found.score == found.scores["mean_top"]
    assert found.highest_view == list(part)[int(np.argmax(scores))]
    assert found.name == "p03"
    assert found.category == "pill_blister"
    assert not found.missing
    assert found.p_value is not None


def test_order_batch_and_form_of_the_views_change_nothing(predictor: Predictor, part: dict[str, Path]) -> None:
    whole = predictor.predict_object(part)
    turned = {view: part[view] for view in reversed(part)}
    arrays = {view: read_image(path) for view, path in part.items()}
    for views in (turned, arrays):
        other = predictor.predict_object(views, category="pill_blister", batch_size=1)
        assert other.scores == pytest.approx(whole.scores, rel=1e-5)
        assert other.verdict == whole.verdict


def test_several_parts_in_one_batch_are_judged_as_one_by_one(predictor: Predictor, viewed: Any) -> None:
    folders = sorted((viewed.data / "pill_blister").iterdir())[:3]
    files = {one.name: sorted(one.iterdir()) for one in folders}
    files = {one.name: sorted(one.iterdir()) for one in folders}
    parts = [ViewedObject(name=name, views=[(file.stem, file) for file in own]) for name, own in files.items()]
    together = list(predictor.stream_objects(parts, batch_size=4))
    assert [one.name for one in together] == [one.name for one in folders]
    for part, found in zip(parts, together, strict=True):
        alone = predictor.predict_object(dict(part.views))
        assert found.score == pytest.approx(alone.score, rel=1e-5)


def _with_reject(run: Path, value: float) -> None:
    text = (run / "limits.toml").read_text(encoding="utf-8")
    head, parts = text.split("[objects]")
    lines = [line for line in parts.splitlines() if not line.startswith(("review", "reject"))]
    (run / "limits.toml").write_text(f"{head}[objects]" + "\n".join([*lines, f"reject = {value}\n"]), encoding="utf-8")


def test_a_missing_view_is_said_and_only_a_certain_reject_is_a_verdict(
    viewed: Any, part: dict[str, Path], tmp_path: Path
) -> None:
    run = Path(copytree(viewed.run, tmp_path / "run"))
    predictor = Predictor(run, device="cpu")
    one = {"left": part["left"]}
    least = predictor.predict_object(one)
    assert least.verdict == "incomplete"
    assert least.missing == ("right",)
    assert least.reasons[0] == "no photograph of view right"
    assert least.p_value is None
    whole = predictor.predict_object(part)
    assert least.score is not None
    assert whole.score is not None
    assert least.score <= whole.score  # what it is at least
    _with_reject(run, least.score * 1.01)
    assert predictor.predict_object(one).verdict == "incomplete"
    _with_reject(run, least.score * 0.99)
    assert predictor.predict_object(one).verdict == "reject"
    assert predictor.predict_object(part).verdict == "reject"


def test_a_view_that_cannot_be_read_is_a_missing_one(
    predictor: Predictor, part: dict[str, Path], tmp_path: Path
) -> None:
    broken = tmp_path / "right.png"
    broken.write_bytes(b"nothing")
    found = predictor.predict_object({"left": part["left"], "right": broken}, category="pill_blister")
    assert found.verdict == "incomplete"
    assert found.missing == ("right",)
    assert found.reasons[0].startswith("view right cannot be read: ")
    none = predictor.predict_object({"right": broken}, category="pill_blister")
    assert none.verdict == "incomplete"
    assert none.score is None
    assert none.missing == ("left", "right")


def test_views_out_of_place_are_told_and_count(predictor: Predictor, part: dict[str, Path]) -> None:
    found = predictor.predict_object({**part, "below": part["left"]})
    assert found.unexpected == ("below",)
    assert "not among the views of this product: below" in (found.notice or "")
    one = ViewedObject(views=[("left", part["left"]), ("left", part["right"]), ("right", part["right"])])
    (twice,) = predictor.stream_objects([one])
    assert twice.repeated == ("left",)
    assert not twice.missing


def test_a_view_that_needs_a_person_keeps_the_part_from_passing(
    predictor: Predictor, part: dict[str, Path], tmp_path: Path
) -> None:
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "right.png")  # the lens cap
    limits = read_object_limits(predictor.run, ())
    assert limits is not None
    generous = replace(limits, categories={"pill_blister": CategoryLimits(review=1e9, reject=1e9)})
    one = ViewedObject(views=[("left", part["left"]), ("right", tmp_path / "right.png")], category="pill_blister")
    (found,) = predictor.stream_objects([one])
    images = [own for _, own in found.views]
    judged = judge_object(generous, one, images)
    assert judged.verdict == "review"
    assert any(reason.startswith("view right: ") for reason in judged.reasons)


def test_views_of_two_products_are_no_part(predictor: Predictor, part: dict[str, Path], tiny_data: Path) -> None:
    other = sorted((tiny_data / "printed_board/test/good").iterdir())[0]
    found = predictor.predict_object({"left": part["left"], "right": other})
    assert found.verdict == "unknown product"
    assert found.reasons[0] == "its views look like different products: pill_blister, printed_board"


def test_a_run_without_limits_of_parts_scores_and_gives_no_verdict(tiny_run: Path, part: dict[str, Path]) -> None:
    predictor = Predictor(tiny_run, device="cpu")
    found = predictor.predict_object(part)
    assert predictor.object_limits is None
    assert found.verdict is None
    assert found.score is not None


def test_a_part_without_a_view_is_refused() -> None:
    with pytest.raises(ConfigError, match="object must have at least one view, got none of p7"):
        ViewedObject(name="p7", views=())
