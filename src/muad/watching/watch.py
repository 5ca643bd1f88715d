"""Judge what arrives in a folder, for as long as it is watched.

    OUT/ledger.jsonl     which files are done
    OUT/2026-01-31/      results of that day, as `muad predict` writes them

Order matters, so that a stop at any moment loses nothing and repeats nothing: overlay and map, the rows of the tables,
the ledger, then the photograph is moved. A row that the ledger lacks is put into it at the next start.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muad.errors import ConfigError, DataError
from muad.outputs import write_one
from muad.outputs.names import free_name
from muad.outputs.page import page_row, write_results_page
from muad.outputs.sources import Source
from muad.outputs.tables import ResultTables, earlier_results, file_facts
from muad.runtime.prediction import ImagePrediction
from muad.watching.arrivals import Arrival, Arrivals
from muad.watching.ledger import Facts, Ledger
from muad.watching.moving import free_place, move_file

if TYPE_CHECKING:
    from threading import Event

    from muad.outputs import MapFormat, MapSize, Save
    from muad.runtime.predictor import Predictor

_PAGE_EVERY_S = 10.0
_REREAD = 1000  # rows at the end of the last day that may lack their line in the ledger; more than any batch
_RETRY_S = 1.0  # between looks at a file that cannot be read yet


@dataclass(slots=True)
class Counts:
    """What was done.

    Attributes:
        verdicts: How many images of each verdict; `none` without one.
        unreadable: Files that could not be read.
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0

    @property
    def judged(self) -> int:
        """All images that were judged."""
        return sum(self.verdicts.values())


def watch(
    folder: Path,
    predictor: Predictor,
    out: Path,
    *,
    stop: Event,
    report: Callable[[dict[str, Any]], None],
    note: Callable[[str], None],
    pictures: tuple[Save, MapSize, MapFormat],
    category: str | None = None,
    move: Path | None = None,
    batch_size: int = 8,
    settle_s: float = 0.5,
    patience_s: float = 10.0,
    once: bool = False,
) -> Counts:
    """Judge files that arrive in a folder until told to stop.

    Args:
        folder: Where photographs arrive, in folders too.
        predictor: What judges, by the limits as they are at the time.
        out: Folder of results and of the ledger.
        stop: Set from elsewhere to end after the images in hand.
        report: Given the entry of each file as it is done.
        note: Called with sentences the user should see.
        pictures: From `picture_choice`.
        category: What all of them show, if that is known.
        move: Where finished photographs go, in folders as before; None leaves them. What cannot be read stays.
        batch_size: Images that are judged together, if so many wait.
        settle_s: How long a file has to stay as it is to be complete.
        patience_s: How long a file that cannot be read may stay as it is before it is given up.
        once: End when nothing is left to do.

    Raises:
        ConfigError: The folders are in each other's way, or the category is unknown.
        DataError: There is no such folder, or results cannot be written; what is done stays done.
    """
    _check_folders(folder, out, move, predictor, category)
    counts = Counts()
    try:
        with Ledger(out, folder) as ledger:
            line = _Line(folder, predictor, out, ledger, counts, report, note, pictures, category, move, patience_s)
            try:
                line.run(stop, settle_s, batch_size, once)
            finally:
                line.close()
    except OSError as error:
        raise DataError(
            f"output folder must be writable, got {out} ({error.strerror or error}). Free space or name another. "
            f"{counts.judged} images are done and stay; the same command goes on."
        ) from None
    return counts


def _check_folders(folder: Path, out: Path, move: Path | None, predictor: Predictor, category: str | None) -> None:
    """Refuse what could not end well, before anything is written."""
    if not folder.is_dir():
        raise DataError(f"folder must be an existing one, got {folder}. Check the path, or make it.")
    for name, other in (("out", out), ("move", move)):
        if other is not None and folder.resolve().is_relative_to(other.resolve()):
            raise ConfigError(f"{name} must not be the watched folder or hold it, got {other}. Name another.")
    predictor.stream((), category=category)  # says whether there is such a category


class _Line:
    """The state of a watch."""

    def __init__(
        self,
        folder: Path,
        predictor: Predictor,
        out: Path,
        ledger: Ledger,
        counts: Counts,
        report: Callable[[dict[str, Any]], None],
        note: Callable[[str], None],
        pictures: tuple[Save, MapSize, MapFormat],
        category: str | None,
        move: Path | None,
        patience_s: float,
    ) -> None:
        self._folder, self._predictor, self._out, self._ledger = folder, predictor, out, ledger
        self._counts, self._report, self._note = counts, report, note
        self._pictures, self._category, self._move, self._patience_s = pictures, category, move, patience_s
        self._tried: dict[str, float] = {}  # when a file could not be read
        self._stuck: set[str] = set()  # done, but could not be moved
        self._day: _Day | None = None
        for last in sorted(out.glob("????-??-??"))[-1:]:
            self._ledger.add(self._unlisted(_Day(last)))

    def run(self, stop: Event, settle_s: float, batch_size: int, once: bool) -> None:
        """Look and judge until told to stop."""
        left_out = [place.absolute() for place in (self._out, self._move) if place is not None]
        arrivals = Arrivals(self._folder, left_out, settle_s)
        away, written = False, time.monotonic()
        while not stop.is_set():
            begun = time.monotonic()
            try:
                ready = arrivals.poll(self._is_done, begun)
                if away:
                    self._note(f"{self._folder} can be looked through again")
                away = False
            except OSError as error:  # a share that is not there for a while, or a folder without permission
                ready = []
                if not away:
                    what = f"{error.filename or self._folder}: {error.strerror or error}"
                    self._note(f"{self._folder} cannot be looked through ({what}); it is tried again until it can")
                away = True
            ready = [file for file in ready if begun - self._tried.get(file.name, -_RETRY_S) >= _RETRY_S]
            for start in range(0, len(ready), batch_size):
                if stop.is_set():
                    break
                self._judge(ready[start : start + batch_size])
            if self._day is not None and time.monotonic() - written >= _PAGE_EVERY_S:
                self._day.write_page()
                written = time.monotonic()
            if once and not ready and not arrivals.waiting:
                return
            # Looking at a very full folder takes a while; half of the time is enough for it.
            stop.wait(max(settle_s / 2, 0.02, 0.0 if ready else time.monotonic() - begun))

    def close(self) -> None:
        """Close the tables."""
        if self._day is not None:
            self._day.close()

    def _is_done(self, name: str, facts: Facts) -> bool:
        if not self._ledger.is_done(name, facts):
            return False
        if self._move is not None and name not in self._stuck and not self._ledger.is_bad(name):
            self._put_away(name, facts, free_place(self._move, name))  # done before a stop that came in between
        return True

    def _judge(self, files: Sequence[Arrival]) -> None:
        """Judge files and put on disk what was found."""
        day = self._today()
        done: list[tuple[Arrival, dict[str, Any]]] = []
        for file, found in zip(files, self._predict(files), strict=True):
            if file_facts(file.path) != file.facts:
                continue  # it changed, or went away, under our eyes
            if found.error is not None and file.unchanged_s < self._patience_s:
                self._tried[file.name] = time.monotonic()
                continue
            self._tried.pop(file.name, None)
            place = None if self._move is None or found.error is not None else free_place(self._move, file.name)
            entry = write_one(found, Source(path=file.path, name=day.free_name(file.name)), day.folder, self._pictures)
            entry |= {"name": file.name, "moved_to": None if place is None else place.as_posix()}
            entry["judged"] = datetime.now(UTC).isoformat(timespec="milliseconds")
            day.add(entry)
            done.append((file, entry))
        day.sync()
        self._ledger.add((file.name, file.facts, entry["error"] is not None) for file, entry in done)
        for file, entry in done:
            if entry["moved_to"] is not None:
                self._put_away(file.name, file.facts, Path(entry["moved_to"]))
            if entry["error"] is None:
                self._counts.verdicts[entry["verdict"] or "none"] += 1
            else:
                self._counts.unreadable += 1
            shown = {key: value for key, value in entry.items() if key not in ("bytes", "modified_ns")}
            self._report(shown | {"results": day.folder.as_posix()})

    def _predict(self, files: Sequence[Arrival]) -> Iterator[ImagePrediction]:
        """What the run says of files; of one that is of no known category, that."""
        faults: dict[Path, str] = {}
        for file in files:
            try:
                self._predictor.category_of(file.path, self._category)
            except ConfigError as error:
                faults[file.path] = str(error)
        paths = [file.path for file in files if file.path not in faults]
        found = self._predictor.stream(paths, batch_size=len(files), category=self._category)
        for file in files:
            fault = faults.get(file.path)
            yield ImagePrediction(path=file.path, category=None, error=fault) if fault is not None else next(found)

    def _put_away(self, name: str, facts: Facts, place: Path) -> None:
        if file_facts(self._folder / name) != facts:
            return  # replaced meanwhile: it is judged next
        try:
            move_file(self._folder / name, place)
        except FileNotFoundError:
            pass  # somebody else has taken it
        except OSError as error:
            self._stuck.add(name)
            self._note(f"{name} is judged but could not be moved to {place}: {error.strerror or error}")
            return
        self._ledger.take_off(name)

    def _today(self) -> _Day:
        folder = self._out / date.today().isoformat()
        if self._day is None or self._day.folder != folder:
            if self._day is not None:
                self._day.close()
            self._day = _Day(folder)
        return self._day

    def _unlisted(self, day: _Day) -> list[tuple[str, Facts, bool]]:
        """Files that have their row but not their line in the ledger, because of a stop between the two."""
        day.close()
        listed = [
            (entry["name"], (entry["bytes"], entry["modified_ns"]), entry["error"] is not None)
            for entry in day.entries[-_REREAD:]
        ]
        return [
            (name, facts, bad)
            for name, facts, bad in listed
            if not self._ledger.is_done(name, facts) and file_facts(self._folder / name) == facts
        ]


class _Day:
    """Results of one day."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        earlier = earlier_results(folder, "append")
        self.entries = [entry for entry in earlier.entries if "name" in entry]
        self._names = earlier.names
        self._shown = [page_row(entry, folder) for entry in earlier.entries]
        self._tables = ResultTables(folder, earlier)
        self._fresh = False

    def free_name(self, name: str) -> Path:
        """The name of the outputs of a file."""
        return free_name(Path(name), self._names)

    def add(self, entry: dict[str, Any]) -> None:
        """Write an entry."""
        self._tables.add(entry)
        self._shown.append(page_row(entry, self.folder))
        self._fresh = True

    def sync(self) -> None:
        """Have it all on disk."""
        self._tables.sync()

    def write_page(self) -> None:
        """Write the page, if there is news for it."""
        if self._fresh:
            write_results_page(self.folder, self._shown)
        self._fresh = False

    def close(self) -> None:
        """Write the page and close the tables."""
        self._tables.__exit__()
        self.write_page()
