"""Verdicts on parts on disk: the same by run and by bundle, by every rule, and none guessed."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from muad.bundles.bundle import read_manifest_of

Rows = dict[str, dict[str, str]]


@pytest.fixture
def predict(muad: Callable[..., Any]) -> Callable[..., Rows]:
    """`muad predict` without pictures; gives the rows of `objects.csv` by part."""

    def call(run: Path, data: Path, out: Path, *options: str) -> Rows:
        ran = muad("predict", run, data, "--out", out, "--save", "none", *options)
        assert ran.code == 0, ran.err
        with (out / "objects.csv").open(encoding="utf-8", newline="") as file:
            return {row["object"]: row for row in csv.DictReader(file)}

    return call


@pytest.fixture
def data(viewed: Any, tmp_path: Path) -> Path:
    """Three parts, the last without its right view."""
    folder = tmp_path / "data" / "pill_blister"
    for name in ("p01", "p02", "p03"):
        copytree(viewed.data / "pill_blister" / name, folder / name)
    (folder / "p03" / "right.png").unlink()
    return folder


def test_run_and_bundle_give_the_same_verdicts_without_being_told_the_rule(
    predict: Callable[..., Rows], viewed: Any, data: Path, tmp_path: Path
) -> None:
    by_run, by_bundle = (predict(run, data, tmp_path / run.name) for run in (viewed.run, viewed.bundle))
    assert list(by_run) == ["p01", "p02", "p03"]
    for name, row in by_run.items():
        other = by_bundle[name]
        assert float(other["score"]) == pytest.approx(float(row["score"]), rel=1e-4)
        assert {key: other[key] for key in ("verdict", "missing", "highest_view", "views", "reason")} == {
            key: row[key] for key in ("verdict", "missing", "highest_view", "views", "reason")
        }
    assert by_run["p03"]["verdict"] == "incomplete"
    assert by_run["p03"]["missing"] == "right"
    assert by_run["p03"]["reason"] == "no photograph of view right"
    out = tmp_path / viewed.bundle.name
    with (out / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["object"], row["view"]) for row in csv.DictReader(file)]
    assert rows == [("p01", "left"), ("p01", "right"), ("p02", "left"), ("p02", "right"), ("p03", "left")]
    entries = json.loads((out / "objects.json").read_text(encoding="utf-8"))
    assert [[own["view"] for own in entry["views"]] for entry in entries] == [["left", "right"]] * 2 + [["left"]]
    assert "part p03: incomplete, score at least" in (out / "results.html").read_text(encoding="utf-8")


def test_the_bundle_says_how_parts_are_judged_and_what_changed(viewed: Any) -> None:
    manifest = read_manifest_of(viewed.bundle)
    assert manifest.objects is not None
    assert manifest.objects.grouping == "folder"
    assert manifest.objects.top_fraction == 0.01
    assert manifest.objects.categories["pill_blister"].views == ("left", "right")
    changes = {change.what: change.new for change in manifest.history}
    assert changes["objects.pill_blister.review"] == manifest.objects.categories["pill_blister"].review


def test_every_rule_gives_the_same_parts(predict: Callable[..., Rows], viewed: Any, data: Path, tmp_path: Path) -> None:
    by_folder = predict(viewed.bundle, data, tmp_path / "folder", "--objects", "folder")
    flat = tmp_path / "flat" / "pill_blister"
    flat.mkdir(parents=True)
    lines = ["path,object_id,view"]
    for file in sorted(data.glob("*/*.png")):
        name = f"{file.parent.name}_{file.stem}.png"
        (flat / name).write_bytes(file.read_bytes())
        lines.append(f"pill_blister/{name},{file.parent.name},{file.stem}")
    manifest = flat.parent / "parts.csv"
    manifest.write_text("\n".join(lines), encoding="utf-8")
    by_name = predict(viewed.bundle, flat, tmp_path / "name", "--objects", "{object}_{view}")
    by_list = predict(viewed.bundle, flat, tmp_path / "list", "--objects", str(manifest))
    assert by_folder == by_name == by_list


def test_a_view_that_comes_later_has_its_part_judged_again_and_no_other(
    muad: Callable[..., Any], predict: Callable[..., Rows], viewed: Any, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert predict(viewed.bundle, data, out)["p03"]["verdict"] == "incomplete"
    late = data / "p03" / "right.png"
    late.write_bytes((viewed.data / "pill_blister/p03/right.png").read_bytes())
    after = predict(viewed.bundle, data, out, "--append")
    assert sorted(after) == ["p01", "p02", "p03"]
    assert after["p03"]["missing"] == ""
    assert after["p03"]["verdict"] != "incomplete"
    with (out / "results.csv").open(encoding="utf-8", newline="") as file:
        assert [row["object"] for row in csv.DictReader(file)] == ["p01", "p01", "p02", "p02", "p03", "p03", "p03"]
    # One by one from here on: nothing is appended to rows of parts, and no table of parts stays beside other results.
    command = ("predict", viewed.bundle, data, "--out", out, "--save", "none", "--objects", "none")
    assert "whose were judged as parts. Name another folder" in muad(*command, "--append").error
    assert muad(*command, "--overwrite").code == 0
    assert not (out / "objects.csv").exists()
    assert "object" not in (out / "results.csv").read_text(encoding="utf-8").splitlines()[0].split(",")


def test_a_rule_that_fits_nothing_is_refused_in_one_line(
    muad: Callable[..., Any], viewed: Any, data: Path, tmp_path: Path
) -> None:
    ran = muad("predict", viewed.bundle, data, "--out", tmp_path / "out", "--objects", "{object}#{view}")
    assert "which fits none of 5, such as" in ran.error
