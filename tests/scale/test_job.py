"""The folder of a job: one at a time, whole parts, the same job or none."""

import threading
from pathlib import Path

import pytest

from muad.errors import ConfigError, DataError
from muad.scale.job import JobFolder, part_name


def _folder(out: Path | str) -> JobFolder:
    return JobFolder(str(out), beat_s=0.02, watched_s=0.3)


@pytest.mark.parametrize("address", [False, True])
def test_the_same_job_goes_on_and_another_is_refused(tmp_path: Path, address: bool) -> None:
    place = f"memory://{tmp_path.name}" if address else tmp_path / "out"
    _folder(place).claim({"bundle": "a", "images": 3})
    _folder(place).claim({"bundle": "a", "images": 3})
    with pytest.raises(ConfigError, match=r"whose images is 3, not 4\. Name another folder"):
        _folder(place).claim({"bundle": "a", "images": 4})


def test_two_jobs_do_not_work_in_one_folder(tmp_path: Path) -> None:
    with _folder(tmp_path).locked(), pytest.raises(ConfigError, match="where another is at work"):
        _folder(tmp_path).locked().__enter__()
    with _folder(tmp_path).locked():
        pass
    assert not list(tmp_path.glob("*.lock"))


def test_of_two_jobs_that_begin_at_once_one_works(tmp_path: Path) -> None:
    began, over = [], threading.Barrier(5)

    def begin() -> None:
        folder = _folder(tmp_path)
        over.wait()
        try:
            with folder.locked():
                began.append(1)
                over.wait()
        except ConfigError:
            over.wait()

    threads = [threading.Thread(target=begin) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert began == [1]


def test_the_lock_of_a_job_that_was_killed_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "muad-job.lock").write_text("dead 7", encoding="utf-8")
    with _folder(tmp_path).locked():
        pass


def test_a_part_half_written_is_none(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    folder.write(part_name(3), b"whole")
    (tmp_path / "parts" / ".part-000004.parquet.ab12.partial").write_bytes(b"ha")
    (tmp_path / "parts" / "part-list.parquet").write_bytes(b"of somebody")
    assert folder.finished() == {3}
    folder.clear_drafts()
    assert sorted(file.name for file in (tmp_path / "parts").iterdir()) == ["part-000003.parquet", "part-list.parquet"]


def test_what_is_no_job_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "muad-job.json").write_text("[", encoding="utf-8")
    with pytest.raises(DataError, match="must be what a job has written"):
        _folder(tmp_path).claim({"images": 3})


@pytest.mark.parametrize("out", ["unheard-of://place", "file/below"])
def test_a_place_that_cannot_be_written_is_named(out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(b"")
    with pytest.raises(DataError, match="out must be a folder or an address that can be written, got"):
        JobFolder(out)
