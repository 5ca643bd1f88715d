"""Which images a run takes in: those people called good, capped, and none that looks suspicious unless asked for."""

import csv
from pathlib import Path

import torch

import muad
from muad.checkpoints.checkpoint import read_config
from muad.datasets.index import open_catalog
from muad.extension.caps import days_of, thinned
from muad.extension.intake import Intake, take_in
from muad.runs.images import read_run_images
from muad.types import Record

from .conftest import draw


def records(count: int) -> list[Record]:
    return [Record(path=Path(f"{number:03d}.png"), category="bolt", split="train", is_anomalous=False)
            for number in range(count)]  # fmt: skip


def taken_in(run: Path, data: Path, **settings: object) -> tuple[Intake, list[str]]:
    known, notes = read_run_images(run), list[str]()
    assert known is not None
    intake = take_in(
        open_catalog(data, for_training=False), known, read_config(run),
        muad.ExtensionSettings(**settings),  # type: ignore[arg-type]
        device=torch.device("cpu"), progress=lambda *_: None, note=notes.append,
    )  # fmt: skip
    return intake, notes


def test_of_a_day_and_of_a_product_only_so_many_are_taken_one_of_each_day_in_turn() -> None:
    own = records(30)
    days = {one.path: "2026-01-31" if number < 24 else "2026-02-01" for number, one in enumerate(own)}
    taken, left_out = thinned(own, days, 10, 8)
    assert sum(days[one.path] == "2026-02-01" for one in taken) == 4
    assert len(taken) == 8
    assert sorted(left_out.values()).count("too many of this day") == 14
    assert sorted(left_out.values()).count("too many of this product") == 8
    assert thinned(own[::-1], days, 10, 8)[0] == taken[::-1]  # whatever order they come in
    assert thinned(own, {}, 10, 100) == (own, {})  # where no day is known, none is capped


def test_parts_called_good_come_in_as_the_station_exports_them(old_run: Path, tmp_path: Path) -> None:
    files = draw(tmp_path / "good" / "bolt", "bolt", range(200, 214))
    bad = draw(tmp_path / "bad" / "bolt", "bolt", [300], odd=True)
    (tmp_path / "manifest.csv").write_text(
        "path,category,label,mask,defect_type,object_id\n"
        + "".join(f"{one.relative_to(tmp_path)},bolt,good,,,\n" for one in files)
        + f"{bad[0].relative_to(tmp_path)},bolt,bad,,scratch,\n",
        encoding="utf-8",
    )
    with (tmp_path / "words.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["inspection", "at", "word", "file"])
        for number, one in enumerate(files):
            table.writerow([number, f"2026-01-{10 + number // 7}T08:00:00+00:00", "good", one.relative_to(tmp_path)])
    assert len(days_of(tmp_path / "manifest.csv")) == 14
    intake, _ = taken_in(old_run, tmp_path / "manifest.csv", most_a_day=3, least_known=5, take_suspicious=True)
    assert (intake.new, intake.calibration, intake.days) == ((), (), 2)
    assert len(intake.training) == 5  # of a product that was trained on eight
    good = open_catalog(tmp_path / "manifest.csv").select(split="train")
    assert intake.reasons["too many of this day"] + intake.reasons["too many of this product"] == len(good) - 5
    assert all(not record.is_anomalous for record in intake.training)


def test_a_suspicious_image_is_named_and_left_out_unless_it_is_asked_for(old_run: Path, tmp_path: Path) -> None:
    draw(tmp_path / "bolt" / "good", "bolt", range(100, 103))
    (odd,) = draw(tmp_path / "bolt" / "good", "bolt", [110], odd=True)
    intake, notes = taken_in(old_run, tmp_path)
    assert intake.left_out[odd] == "suspicious"
    assert any(f"suspicious {odd}: distance from other good images" in note for note in notes)
    assert odd not in {record.path for record in intake.training}
    intake, _ = taken_in(old_run, tmp_path, take_suspicious=True)
    assert odd in {record.path for record in intake.training}
    assert odd in {path for finding in intake.findings for path in finding.images}


def test_what_the_run_knows_what_repeats_and_what_is_also_bad_is_left_out(
    old_run: Path, old_data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "bolt" / "good"
    (fresh,) = draw(folder, "bolt", [100])
    (folder / "known.png").write_bytes((old_data / "bolt/good/bolt_000.png").read_bytes())
    (folder / "copy.png").write_bytes(fresh.read_bytes())
    (both,) = draw(folder, "bolt", [101])
    (tmp_path / "bolt/bad").mkdir()
    (tmp_path / "bolt/bad/both.png").write_bytes(both.read_bytes())
    (folder / "broken.png").write_bytes(b"no image")
    intake, _ = taken_in(old_run, tmp_path, take_suspicious=True)
    held_out = {record.path for record in open_catalog(tmp_path, for_training=False).select(split="test")}
    why = {path.name: reason for path, reason in intake.left_out.items() if path not in held_out}
    expected = {
        "known.png": "known to the run", "copy.png": "the same picture again", "bolt_101.png": "labelled good and bad",
        "broken.png": "unreadable",
    }  # fmt: skip
    assert why == {name: reason for name, reason in expected.items() if folder / name not in held_out}
