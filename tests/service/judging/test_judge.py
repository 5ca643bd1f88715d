"""The judge: every photograph that was accepted is on record before it is answered, whatever happens on the way."""

import dataclasses
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.service.conftest import photograph

from muad.bundles.archive import BundleError
from muad.service.history import DiskFullError, HistoryUnavailableError, InspectionFilter
from muad.service.judging.job import Asked, Job
from muad.service.judging.queue import BusyError
from muad.service.judging.uploads import UploadSettings, check_upload
from muad.service.station import Station

UPLOADS = UploadSettings()


def asked(seed: int = 0, **facts: str) -> Asked:
    return Asked(upload=check_upload(photograph(seed), None, UPLOADS), station="line", **facts)  # type: ignore[arg-type]


def test_a_batch_is_recorded_in_one_transaction_before_any_of_it_is_answered(
    make_station: Callable[..., Station], monkeypatch: pytest.MonkeyPatch
) -> None:
    station = make_station(judging={"batch_size": 4, "wait_ms": 500})
    record, sizes, answered = station.history.record, [], []

    def counted(news: list, shadows: tuple = ()) -> list:
        answered.extend(job.done.done() for job in jobs)
        sizes.append(len(news))
        return record(news, shadows)

    monkeypatch.setattr(station.history, "record", counted)
    jobs = station.judge.submit([asked(seed) for seed in range(4)])
    station.start()
    found = [job.done.result(10) for job in jobs]
    assert sizes == [4]
    assert not any(answered)
    assert [one.id for one in found] == [job.id for job in jobs]
    assert [one.number for one in found] == [1, 2, 3, 4]


def test_stopping_finishes_and_records_all_that_was_accepted(make_station: Callable[..., Station]) -> None:
    station = make_station(judging={"wait_ms": 0})
    station.start()
    jobs = station.judge.submit([asked(seed) for seed in range(30)])
    station.judge.stop()
    assert {job.done.result(0).verdict for job in jobs} <= {"pass", "review", "reject", "no verdict"}
    assert len(list(station.history.stream(InspectionFilter()))) == 30
    with pytest.raises(BusyError):
        station.judge.submit([asked()])


def test_one_photograph_that_breaks_the_network_is_an_error_and_the_others_of_its_batch_are_judged(
    make_station: Callable[..., Station], monkeypatch: pytest.MonkeyPatch
) -> None:
    station = make_station(judging={"batch_size": 4, "wait_ms": 500})
    predictor = station.models.active.predictor
    judge = predictor.judge
    bad = station.judge.submit([asked(seed, category="bolt") for seed in range(4)])[2]

    def breaks(looks: list, *, batch_size: int = 16):
        if any(look is bad.look for look in looks):
            raise BundleError("scores must be finite, got others from the network.")
        yield from judge(looks, batch_size=batch_size)

    monkeypatch.setattr(predictor, "judge", breaks)
    station.start()
    station.judge.stop()
    found = list(station.history.stream(InspectionFilter()))
    verdicts = {one.id: one.verdict for one in found}
    assert len(found) == 4
    assert verdicts.pop(bad.id) == "error"
    assert "error" not in verdicts.values()
    assert station.history.get(bad.id).error == "scores must be finite, got others from the network."


def test_a_full_disk_answers_with_the_fault_keeps_nothing_half_and_recovers_by_itself(
    make_station: Callable[..., Station], monkeypatch: pytest.MonkeyPatch
) -> None:
    station = make_station()
    station.start()
    full = dataclasses.replace(station.disk, reserve_mb=1e9)
    for part in (station.history, station.pictures):
        monkeypatch.setattr(part, "disk", full)
    (job,) = station.judge.submit([asked()])
    with pytest.raises(DiskFullError):
        job.done.result(10)
    assert list(station.folder.glob("pictures/*/*/*")) == []
    monkeypatch.setattr(station.pictures, "disk", None)  # room for the pictures, none for the record
    (job,) = station.judge.submit([asked()])
    with pytest.raises(DiskFullError):
        job.done.result(10)
    assert list(station.folder.glob("pictures/*/*/*")) == []
    monkeypatch.setattr(station.history, "disk", station.disk)
    (job,) = station.judge.submit([asked()])
    assert job.done.result(10).kept.photo is not None


def test_what_follows_an_inspection_may_fail_without_stopping_it(station: Station) -> None:
    seen: list[str] = []

    def broken(_: object) -> None:
        raise sqlite3.OperationalError("away")

    station.judge.listeners[:0] = [broken, lambda found: seen.extend(one.id for one in found)]
    station.start()
    jobs = station.judge.submit([asked(seed) for seed in range(3)])
    for job in jobs:
        job.done.result(10)
    station.judge.stop()
    assert sorted(seen) == sorted(job.id for job in jobs)
    assert station.judge.faults >= 1


def test_a_model_that_must_be_told_the_product_refuses_what_does_not_say(
    make_station: Callable[..., Station], write_patch_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    station = make_station(write_patch_bundle(tmp_path / "each.muad", per_category=True))
    with pytest.raises(Exception, match="category must be given"):
        station.judge.submit([asked()])
    assert len(station.judge.waiting) == 0
    station.start()
    jobs = station.judge.submit([asked(1, category=name) for name in ("bolt", "cloth", "bolt")])
    scores = [job.done.result(10).score for job in jobs]
    assert scores[0] == scores[2] != scores[1]


def test_a_run_folder_is_served_as_a_bundle_is(make_station: Callable[..., Station], tiny_run: Path) -> None:
    station = make_station(tiny_run)
    station.start()
    (job,) = station.judge.submit([asked(category="pill_blister")])
    found = job.done.result(60)
    assert found.model_id == station.models.active.id
    assert found.score is not None
    assert station.models.active.facts.detector == "dinomaly"
    kept = station.pictures.map(found.kept)
    assert kept.shape == (60, 64)
    assert np.nanmax(kept) == pytest.approx(found.highest.peak, rel=1e-4) if found.highest else True


def test_a_job_that_failed_tells_all_who_wait_for_it(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> list:
        raise HistoryUnavailableError("history must be reachable, got none.")

    monkeypatch.setattr(station.history, "record", away)
    first: list[Job] = station.judge.submit([asked(key="k")])
    again = station.judge.submit([asked(key="k")])
    assert again == first
    station.start()
    with pytest.raises(HistoryUnavailableError):
        first[0].done.result(10)
    assert station.judge.accepted(first[0].id) is None
    assert list(station.folder.glob("pictures/*/*/*")) == []


def test_a_bug_in_what_is_drawn_of_a_batch_ends_no_judge(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(station.judge, "_predicted", broken)
    station.start()
    (job,) = station.judge.submit([asked()])
    with pytest.raises(ZeroDivisionError):
        job.done.result(10)
    monkeypatch.undo()
    (job,) = station.judge.submit([asked()])
    assert job.done.result(10).score is not None
    assert station.judge.is_working
    assert station.troubles() == []
