"""A share kept at training becomes limits, verdicts and colours, without another word from the user."""

import json
import os
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import muad
from muad import Predictor
from muad.datasets.index import open_catalog
from muad.decisions.limit_setting import limits_in_force
from muad.decisions.limits import Rates
from muad.errors import ConfigError, DataError
from muad.runs.folder import read_run
from muad.runs.images import read_run_images
from muad.training.choose import choose_config

SHARE = "training.calibration_share=0.5"


def _draw(path: Path, random: np.random.Generator, *, scratched: bool = False) -> None:
    pixels = random.integers(90, 150, (40, 40, 3), np.uint8)
    if "nut" in path.parts:
        pixels[:, ::4] = pixels[::4] = 20  # that nobody takes for a bolt
    if scratched:
        pixels[10:30, 5:35] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty good bolts, which are enough to share at a half, and nine good nuts, which are not; some more for later."""
    root, random = tmp_path_factory.mktemp("parts") / "data", np.random.default_rng(1)
    for category, count in (("bolt", 40), ("nut", 9)):
        for number in range(count):
            _draw(root / category / "train/good" / f"{number:03d}.png", random)
        for number in range(22):
            _draw(root / category / "test/good" / f"{number:03d}.png", random)
        for number in range(4):
            _draw(root / category / "test/scratch" / f"{number:03d}.png", random, scratched=True)
    return root


@pytest.fixture(scope="module")
def trained(data: Path, tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run that calibrated itself, and what it said; not to be changed."""
    run, said = tmp_path_factory.mktemp("calibrated") / "run", []
    muad.train(data, run, recipe=tiny_recipe, overrides=[SHARE], device="cpu", note=said.append)
    return run, said


@pytest.fixture
def run(trained: tuple[Path, list[str]], tmp_path: Path) -> Path:
    """A copy of that run."""
    return Path(shutil.copytree(trained[0], tmp_path / "run"))


def _limits(run: Path) -> dict[str, dict[str, float]]:
    return dict(tomllib.loads((run / "limits.toml").read_text(encoding="utf-8"))["categories"])


def test_manifest_and_report_say_what_the_limits_rest_on(run: Path) -> None:
    kept = read_run_images(run)
    assert kept is not None
    counted = {name: len(images) for name, images in kept.calibration.items() if images}
    assert read_run(run)["calibration"] == counted == {"bolt": 20}
    page = muad.report(run, device="cpu").read_text(encoding="utf-8")
    assert "bolt 20" in page
    assert "on average over draws of 20 calibration images, at most 5 % of good parts" in page
    assert "at most 4.76 % of good parts (the coarsest limit, 0.5 % is wanted and needs 179 more images)" in page


def test_training_keeps_a_share_and_sets_limits_with_it(trained: tuple[Path, list[str]]) -> None:
    run, said = trained
    images = read_run_images(run)
    assert images is not None
    assert {name: len(own) for name, own in images.training.items()} == {"bolt": 20, "nut": 9}
    assert {name: len(own) for name, own in images.calibration.items()} == {"bolt": 20}
    assert all(name.startswith("bolt/train/good/") for name in images.calibration_names)
    assert json.loads((run / "run.json").read_text())["categories"] == {"bolt": 20, "nut": 9}
    limits = _limits(run)
    assert set(limits["bolt"]) == {"review", "review_rate", "reject", "reject_rate", "map"}
    assert limits["nut"] == {}
    stored = json.loads((run / "calibration.json").read_text())["good"]["bolt"]
    assert stored["count"] == 20
    assert stored["scores"] == sorted(stored["scores"])
    assert limits["bolt"]["review"] == stored["scores"][-1]
    assert limits["bolt"]["map"] == stored["map_peaks"][-1]
    words = "\n".join(said)
    assert "kept for calibration, not trained on: bolt 20 of 40 good images" in words
    assert "too few different good images to keep some for calibration: nut 9; 10 of a category" in words
    assert f"are in {run / 'limits.toml'}: review for bolt, reject for bolt" in words
    assert "good images a review limit still needs at a rate of 5 %: nut 19" in words
    assert "reject limits coarser than 0.5 % (good images that are missing for it): bolt 4.76 % (179 more)" in words


def test_verdicts_follow_the_file_and_the_score_stays_raw(run: Path, data: Path) -> None:
    for name in ("capture.toml", "products.toml"):  # noise with a large scratch would be reviewed for its looks
        (run / name).unlink()
    image = data / "bolt/test/good/000.png"
    (found,) = Predictor(run, device="cpu").predict(image)
    (run / "limits.toml").unlink()
    (before,) = Predictor(run, device="cpu").predict(image)
    assert (before.verdict, before.p_value) == (None, None)
    assert found.score == before.score
    assert found.score is not None
    low, high = found.score - 0.01, found.score + 0.01
    for text, verdict in (
        (f"review = {low}\nreject = {high}", "review"),
        (f"review = {low}\nreject = {low}", "reject"),
        (f"review = {high}\nreject = {high}", "pass"),
    ):
        (run / "limits.toml").write_text(f"[categories.bolt]\n{text}\n", encoding="utf-8")
        (again,) = Predictor(run, device="cpu").predict(image)
        assert (again.verdict, again.score) == (verdict, found.score)
        assert again.p_value == found.p_value
    (run / "limits.toml").write_text("[categories.bolt]\nreview = 2\nreject = 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="must be at most reject"):
        Predictor(run, device="cpu")


def test_a_predictor_at_work_judges_by_the_file_as_it_is_then(run: Path, data: Path) -> None:
    image, said = data / "bolt/test/good/000.png", []
    predictor = Predictor(run, device="cpu", note=said.append)
    (found,) = predictor.predict(image)
    verdicts = []
    for limit in (-1.0, 100.0):
        (run / "limits.toml").write_text(f"[categories.bolt]\nreject = {limit}\n", encoding="utf-8")
        verdicts += [again.verdict for again in predictor.stream([image], batch_size=1)]
    (run / "limits.toml").write_text("[categories.bo", encoding="utf-8")
    verdicts += [again.verdict for again in predictor.predict(image)]
    assert verdicts == ["reject", "pass", "pass"]
    assert found.score is not None
    assert said[-1].startswith("limits stay as they were")


def test_p_values_are_ranks_among_the_calibration_scores(run: Path, data: Path) -> None:
    stored = json.loads((run / "calibration.json").read_text())["good"]["bolt"]["scores"]
    predictor = Predictor(run, device="cpu")
    for found in predictor.predict(sorted((data / "bolt/test").glob("*/00*.png"))):
        above = sum(score >= found.score for score in stored)
        assert found.p_value == (1 + above) / 21
    (nut,) = predictor.predict(data / "nut/test/good/000.png")
    assert (nut.verdict, nut.p_value) == (None, None)


def test_colours_are_tied_to_the_limit(run: Path) -> None:
    predictor, limit = Predictor(run, device="cpu"), _limits(run)["bolt"]["map"]
    low, high = predictor.colour_scale("bolt") or (0, 0)
    assert (low + high) / 2 == pytest.approx(limit)
    assert predictor.colour_scale("nut") == predictor.map_scale
    (run / "limits.toml").unlink()
    assert Predictor(run, device="cpu").colour_scale("bolt") == predictor.map_scale


def test_another_rate_needs_neither_images_nor_the_network(
    run: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = json.loads((run / "calibration.json").read_text())
    monkeypatch.setattr("muad.calibration.calibrate.Predictor", None)  # would fail if it were asked for
    result = muad.calibrate(run, false_alarm_rate=0.1, review_rate=0.2)["bolt"]
    stored = before["good"]["bolt"]["scores"]
    assert (result.review.value, result.reject.value) == (stored[16], stored[18])  # ceil(21 x 0.8), ceil(21 x 0.9)
    assert _limits(run)["bolt"]["reject"] == stored[18]
    after = json.loads((run / "calibration.json").read_text())
    assert after["good"] == before["good"]
    assert after["false_alarm_rate"] == 0.1


def test_products_are_learned_where_they_are_missing(run: Path, data: Path, tmp_path: Path) -> None:
    assert (run / "products.toml").is_file()
    said: list[str] = []
    for root in (data, tmp_path / "gone"):
        (run / "products.toml").unlink()
        facts = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps({**facts, "data": str(root)}))
        muad.calibrate(run, false_alarm_rate=0.1, review_rate=0.2, device="cpu", note=said.append)
        assert (run / "products.toml").is_file() == root.exists()
        (run / "products.toml").touch()
    assert said[0].startswith("products: 2 categories are recognised from 49 good images")
    assert any(
        text.startswith("products: none are recognised, because the training images are not there: ") for text in said
    )


def test_photographs_of_ones_own_add_the_category_that_had_none(run: Path, data: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(data / "nut/test/good", tmp_path / "own/nut/good")).parents[1]
    results = muad.calibrate(run, own, device="cpu", review_rate=0.1)
    assert {name: result.count for name, result in results.items()} == {"bolt": 20, "nut": 22}
    assert results["nut"].review.value is not None
    text = (run / "limits.toml").read_text(encoding="utf-8")
    assert f"# 22 good images: {own.absolute()}" in text
    assert "calibration share of" in text
    kept = read_run_images(run)
    assert kept is not None
    assert kept.calibrated.keys() == {"nut"}, "so that they are not tested on"
    assert len(kept.calibrated["nut"]) == 22


def test_images_that_were_trained_on_are_refused_whatever_their_name(run: Path, data: Path, tmp_path: Path) -> None:
    images = read_run_images(run)
    assert images is not None
    own = Path(shutil.copytree(data / "bolt/test/good", tmp_path / "own/bolt"))
    shutil.copyfile(data / next(iter(images.training["bolt"])), own / "renamed.png")
    with pytest.raises(DataError, match=r"must not have been trained on, got 1 of 23 that were, such as .*renamed.png"):
        muad.calibrate(run, own, device="cpu")
    (own / "renamed.png").unlink()
    shutil.copyfile(own / "000.png", own / "again.png")
    said: list[str] = []
    found = muad.calibrate(run, own, device="cpu", note=said.append)["bolt"]
    assert (found.count, found.images) == (22, 23)
    assert any("bolt: 23 good images count as 22, because of near-duplicates" in text for text in said)


def test_misses_are_reported_and_kept_and_move_no_limit(run: Path, data: Path) -> None:
    before = _limits(run)
    misses = muad.calibrate(run, bad=data / "bolt/test/scratch", device="cpu")["bolt"].misses
    assert misses is not None
    assert misses.count == 4
    assert _limits(run) == before
    again = muad.calibrate(run, review_rate=0.2)["bolt"].misses
    assert again is not None
    assert again.count == 4


def test_good_and_bad_are_not_taken_for_each_other(run: Path, data: Path, tmp_path: Path) -> None:
    bad = Path(shutil.copytree(data / "bolt/test/scratch", tmp_path / "bolt/bad"))
    with pytest.raises(DataError, match="good images must not lie in a folder named 'bad'"):
        muad.calibrate(run, bad.parent, device="cpu")
    with pytest.raises(DataError, match="bad images must not lie in a folder named 'good'"):
        muad.calibrate(run, bad=data / "bolt/test", device="cpu")
    shutil.copytree(bad, tmp_path / "elsewhere")
    with pytest.raises(DataError, match="must lie in a folder named like their category, bolt, nut, got"):
        muad.calibrate(run, tmp_path / "elsewhere", device="cpu")


def test_a_look_changes_nothing_and_rates_in_force_stay(run: Path) -> None:
    muad.calibrate(run, review_rate=0.2, false_alarm_rate=0.1, confidence=0.9)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    said: list[str] = []
    result = muad.calibrate(run, note=said.append)["bolt"]
    assert result.rates == Rates(false_alarm_rate=0.1, review_rate=0.2, confidence=0.9, sure=False)
    assert limits_in_force(run)["bolt"] == result
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert said == []
    assert muad.calibrate(run, sure=True)["bolt"].rates == replace(result.rates, sure=True)


def test_every_former_file_is_kept_by_its_date(run: Path) -> None:
    texts, said = [], []
    for rate in (0.1, 0.2, 0.3):
        for name in ("limits.toml", "calibration.json"):
            os.utime(run / name, (1_800_000_000, 1_800_000_000))
        texts.append([(run / name).read_text(encoding="utf-8") for name in ("limits.toml", "calibration.json")])
        muad.calibrate(run, review_rate=rate, note=said.append)
    stems = ["2027-01-15T08-00-00", "2027-01-15T08-00-00-2", "2027-01-15T08-00-00-3"]
    kept = [[(run / "limits" / f"{stem}{end}").read_text("utf-8") for end in (".toml", ".json")] for stem in stems]
    assert kept == texts
    assert len(list((run / "limits").iterdir())) == 6
    names = [f"kept in the run as {Path('limits') / stem}.toml" for stem in stems]
    assert all(name in told for name, told in zip(names, said, strict=True))


def test_limits_edited_by_hand_stay_until_others_are_asked_for(run: Path, data: Path) -> None:
    edited = "[categories.bolt]\nreview = 1\n"
    (run / "limits.toml").write_text(edited, encoding="utf-8")
    said: list[str] = []
    result = muad.calibrate(run, note=said.append)["bolt"]
    assert (result.review.value, result.review.by_hand, result.reject.value) == (1.0, True, None)
    assert "was edited by hand and stays as it is" in said[0]
    muad.calibrate(run, bad=data / "bolt/test/scratch", device="cpu")
    assert (run / "limits.toml").read_text(encoding="utf-8") == edited
    said.clear()
    muad.calibrate(run, review_rate=0.2, note=said.append)
    assert "had been edited by hand: the former file is kept in the run as" in said[0]
    assert edited in [path.read_text(encoding="utf-8") for path in (run / "limits").glob("*.toml")]
    assert _limits(run)["bolt"]["review"] < 1


def test_a_rate_edited_in_the_file_is_in_force_when_limits_are_set_again(run: Path) -> None:
    text = (run / "limits.toml").read_text(encoding="utf-8")
    (run / "limits.toml").write_text(text.replace("review_rate = 0.05", "review_rate = 0.2", 1), encoding="utf-8")
    assert muad.calibrate(run)["bolt"].rates.review_rate == 0.2
    assert _limits(run)["bolt"]["review"] < tomllib.loads(text)["categories"]["bolt"]["review"]


def test_images_that_were_kept_must_be_there_when_they_are_scored(
    run: Path, data: Path, tmp_path: Path, tiny_run: Path
) -> None:
    with pytest.raises(DataError, match="must have kept images for calibration, got"):
        muad.calibrate(tiny_run)
    moved = Path(shutil.copytree(data, tmp_path / "moved"))
    images = json.loads((run / "images.json").read_text())
    (run / "images.json").write_text(json.dumps({**images, "data": str(moved)}), encoding="utf-8")
    (run / "calibration.json").unlink()
    name = next(iter(images["calibration"]["bolt"]))
    (moved / name).write_bytes(b"changed")
    with pytest.raises(DataError, match=f"as they were, got 1 that are not, such as .*{name}"):
        muad.calibrate(run, device="cpu")


def test_a_resumed_run_keeps_its_share_and_refuses_another(data: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    run, source = tmp_path / "run", Path(shutil.copytree(data, tmp_path / "data"))
    short = [SHARE, "training.save_every_steps=6"]

    def stop(what: str, done: int, total: int, loss: float | None) -> None:
        if what == "train" and done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        muad.train(source, run, recipe=tiny_recipe, overrides=short, device="cpu", progress=stop)
    before = json.loads((run / "images.json").read_text())
    with pytest.raises(ConfigError, match=r"calibration_share must stay 0\.5 to resume this run, got 0\.4"):
        muad.train(
            source,
            run,
            recipe=tiny_recipe,
            overrides=["training.calibration_share=0.4", short[1]],
            device="cpu",
            resume=True,
        )
    moved = source.rename(tmp_path / "moved")
    muad.train(moved, run, device="cpu", resume=True)
    after = json.loads((run / "images.json").read_text())
    assert after == {**before, "data": str(moved)}
    assert json.loads((run / "calibration.json").read_text())["good"]["bolt"]["count"] == 20


def test_resuming_what_is_finished_leaves_the_limits_alone(run: Path, data: Path) -> None:
    muad.calibrate(run, false_alarm_rate=0.1, review_rate=0.2)
    before = (run / "limits.toml").read_bytes()
    muad.train(data, run, device="cpu", resume=True)
    assert (run / "limits.toml").read_bytes() == before


def test_one_detector_per_category_is_calibrated_by_category(data: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    muad.train(data, run, recipe=tiny_recipe, overrides=[SHARE, "training.mode=per_category"], device="cpu")
    assert set(_limits(run)["bolt"]) == {"review", "review_rate", "reject", "reject_rate", "map"}
    (found,) = Predictor(run, device="cpu").predict(data / "bolt/test/good/000.png")
    assert found.verdict in ("review" if found.reasons else "pass", "reject")  # one noise may look like the other


def test_a_detector_trained_further_is_scored_again(run: Path) -> None:
    stored = json.loads((run / "calibration.json").read_text())
    (run / "calibration.json").write_text(json.dumps({**stored, "weights": "others"}), encoding="utf-8")
    said: list[str] = []
    assert muad.calibrate(run, device="cpu", note=said.append)["bolt"].count == 20
    assert "trained further since" in said[0]


def test_the_share_is_as_another_release_can_read_it(trained: tuple[Path, list[str]]) -> None:
    facts = json.loads((trained[0] / "images.json").read_text())
    assert set(facts) == {"format_version", "data", "layout", "training", "calibration", "alike", "pixels"}
    assert facts["layout"] == "mvtec"


def test_near_duplicates_in_the_share_count_once_by_the_largest_score(
    data: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    source, run, said = Path(shutil.copytree(data / "bolt", tmp_path / "bolt")), tmp_path / "run", []
    for path in sorted((source / "train/good").glob("*.png")):
        pixels = np.asarray(Image.open(path)).astype(int)
        Image.fromarray(np.clip(pixels + 6, 0, 255).astype(np.uint8)).save(path.with_stem(f"{path.stem}_again"))
    muad.train(source.parent, run, recipe=tiny_recipe, overrides=[SHARE], device="cpu", note=said.append)
    assert any("bolt 40 of 80 (40 count as 20) good images" in text for text in said)
    found = json.loads((run / "calibration.json").read_text())["good"]["bolt"]
    assert (found["count"], found["images"]) == (20, 40)
    kept = read_run_images(run)
    assert kept is not None
    predictor = Predictor(run, device="cpu")
    scores = {name: predictor.predict(kept.base / name, category="bolt")[0].score for name in kept.calibration_names}
    assert kept.alike is not None
    largest = [max(scores[name] or 0 for name in group) for group in kept.alike["bolt"]]
    assert found["scores"] == pytest.approx(sorted(largest), abs=1e-6)


def test_what_shows_the_same_is_not_tested_on_where_the_split_is_chosen_here(
    data: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    source, run, said = tmp_path / "parts/bolt", tmp_path / "run", []
    shutil.copytree(data / "bolt/test/scratch", source / "bad")
    shutil.copytree(data / "bolt/train/good", source / "good")
    tested = open_catalog(source.parent).select(split="test")
    held_out = next(record.path for record in tested if not record.is_anomalous)
    assert held_out.parent.name == "good"
    shutil.copyfile(next(r.path for r in open_catalog(source.parent).select(split="train")), held_out)
    muad.train(source.parent, run, recipe=tiny_recipe, device="cpu", note=said.append)
    images = read_run_images(run)
    assert images is not None
    assert f"bolt/good/{held_out.name}" in images.training_names
    assert any("bolt: of the good images, 1 held out for testing are trained on" in text for text in said)


def test_ten_good_photographs_are_enough_for_a_verdict(data: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    folder, run = tmp_path / "parts/bolt/good", tmp_path / "run"
    folder.mkdir(parents=True)
    for path in sorted((data / "bolt/train/good").glob("*.png"))[:10]:
        shutil.copyfile(path, folder / path.name)
    chosen = choose_config(open_catalog(folder.parents[1]), torch.device("cpu"), {}).training.calibration_share
    share = [f"training.calibration_share={chosen}"]
    muad.train(folder.parents[1], run, recipe=tiny_recipe, overrides=share, device="cpu")
    result = limits_in_force(run)["bolt"]
    assert (result.count, result.review.carried, result.reject.value) == (3, 0.25, None)
    found = Predictor(run, device="cpu").predict(sorted((data / "bolt/test").glob("*/*.png")))
    assert {one.verdict for one in found} <= {"pass", "review"}
