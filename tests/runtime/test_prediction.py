"""What a prediction says and shows: a stopped part always tells where and why."""

import json
from pathlib import Path

import numpy as np
import pytest

from muad import ImagePrediction, Predictor
from muad.decisions.limits import CategoryLimits, Verdict

LIMITS = CategoryLimits(review=0.3, reject=0.4, map=0.6)


def _found(verdict: Verdict | None, peak: float, size: tuple[int, int] = (64, 80), **facts: object) -> ImagePrediction:
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    bump = np.exp(-(((x - 50) / 5) ** 2 + ((y - 20) / 5) ** 2))
    return ImagePrediction(
        path=Path("line/1.png"),
        category="bolt",
        score=0.45,
        anomaly_map=(0.2 + (peak - 0.2) * bump).astype(np.float32),
        image=np.full((*size, 3), 100, np.uint8),
        verdict=verdict,
        limits=LIMITS,
        map_limit=0.6,
        colour_scale=(0.6, 0.9),
        **facts,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("verdict", ["review", "reject", "unknown product"])
def test_a_stopped_part_shows_its_highest_place_even_below_the_map_limit(verdict: Verdict) -> None:
    found = _found(verdict, 0.5)
    assert found.regions == ()
    assert found.stopped
    picture = found.overlay(band=False)
    drawn = (picture != 100).any(axis=2)
    assert drawn.any()
    rows, columns = np.nonzero(drawn)
    assert rows.min() < 20 < rows.max()
    assert columns.min() < 50 < columns.max()
    assert rows.max() < 40
    assert (picture[drawn] == 255).all(axis=1).any()  # white and black: told from the solid outline of regions
    assert (picture[drawn] == 0).all(axis=1).any()


@pytest.mark.parametrize("verdict", ["pass", None])
def test_a_part_that_goes_on_is_not_outlined_below_the_limit(verdict: Verdict | None) -> None:
    assert (_found(verdict, 0.5).overlay(band=False) == 100).all()


def test_regions_above_the_limit_are_outlined_solid() -> None:
    found = _found("reject", 0.9)
    assert len(found.regions) == 1
    assert found.highest == found.regions[0]
    picture = found.overlay(band=False)
    assert (picture == (0, 220, 255)).all(axis=2).any()
    assert not (picture == 255).all(axis=2).any()


def test_the_photograph_stays_pixel_for_pixel_above_the_band() -> None:
    for size in ((64, 64), (40, 900), (900, 40), (600, 800)):
        found = _found("review", 0.5, size)
        plain, banded = found.overlay(band=False), found.overlay()
        np.testing.assert_array_equal(banded[: size[0], : size[1]], plain)
        assert banded.shape[0] > size[0] + 60  # lines of at least 13 px
        assert banded.shape[1] >= 390


def test_what_is_said_changes_the_band_alone() -> None:
    quiet, told = _found("review", 0.5).overlay(), _found("review", 0.5, notice="looks like 日本 and Łódź").overlay()
    assert told.shape[0] > quiet.shape[0]
    other = _found("reject", 0.5).overlay()
    assert (other[64:] != quiet[64:]).any()


def test_a_flat_map_has_no_place() -> None:
    found = ImagePrediction(
        path=None, category=None, score=1.0, verdict="review", image=np.zeros((30, 30, 3), np.uint8),
        anomaly_map=np.full((30, 30), 2.0, np.float32),
    )  # fmt: skip
    assert found.highest is None
    assert found.overlay().shape[1] >= 390


def test_plain_values_are_json_and_say_what_the_tables_say(tiny_run: Path, tiny_data: Path) -> None:
    predictor = Predictor(tiny_run, device="cpu")
    path = tiny_data / "pill_blister" / "test" / "stain" / "000.png"
    (found,) = predictor.predict(path)
    values = found.to_dict()
    assert json.loads(json.dumps(values)) == values
    assert (values["path"], values["score"], values["width"]) == (path.as_posix(), found.score, 64)
    assert found.map_limit == predictor.map_limit("pill_blister")
    assert len(values["regions"]) == len(found.regions)
    assert values["highest"]["peak"] == pytest.approx(float(np.nanmax(found.anomaly_map)))


def test_an_image_that_could_not_be_read_has_nothing_to_draw(tiny_run: Path, tmp_path: Path) -> None:
    (found,) = Predictor(tiny_run, device="cpu").predict(tmp_path / "missing.png")
    assert (found.regions, found.highest, found.stopped) == ((), None, False)
    assert found.to_dict()["error"] == found.error
    with pytest.raises(ValueError, match="must be an image to draw on"):
        found.overlay()
