"""What is forgotten, and when: by age, by verdict, by room. What a person said a word about stays, with its pictures.

Pictures go first: their rows are marked, then the files are removed, so that a process that is killed in between leaves
files that nobody asks for, never rows whose pictures are gone unawares. `Retention.tidy` finds such files.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from muad.service.history.history import History
from muad.service.history.ids import ID_PATTERN
from muad.service.history.people import note_change
from muad.service.history.pictures import Pictures
from muad.service.history.search import ROWS, parts
from muad.service.history.settings import HistorySettings
from muad.service.history.tables import HAS_PICTURES
from muad.wording import counted

_AT_ONCE = 500  # rows a transaction: a writer waits for no longer
_GB = 10**9
_Condition = sa.ColumnElement[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What one rule removes.

    Attributes:
        what: `pictures` or `inspections`.
        why: The rule, in words.
        inspections: Of how many parts.
        bytes: How much room the pictures took.
    """

    what: str
    why: str
    inspections: int
    bytes: int

    def __str__(self) -> str:
        """In a line."""
        room = f", {self.bytes / 1e6:.1f} MB" if self.what == "pictures" else ""
        return f"{self.what} of {counted(self.inspections, 'part')}{room}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    what: str
    why: str
    condition: _Condition


class Retention:
    """What a station's settings let go.

    Args:
        history: The history.
        pictures: Its pictures.
        settings: For how long, and how much.
    """

    def __init__(self, history: History, pictures: Pictures, settings: HistorySettings) -> None:
        self._database, self._pictures, self._settings = history.database, pictures, settings
        self._ending = threading.Event()

    def stop(self) -> None:
        """End what another thread removes, after the rows it is at."""
        self._ending.set()

    def plan(self, now: datetime) -> list[Forgotten]:
        """What would be removed now; what several rules would remove is told under the first of them."""
        with self._database.reading() as connection:
            told: list[Forgotten] = []
            earlier: dict[str, _Condition] = {"pictures": sa.false(), "inspections": sa.false()}
            for rule in self._rules(connection, now):
                told.append(_counted(connection, rule, rule.condition & sa.not_(earlier[rule.what])))
                earlier[rule.what] = earlier[rule.what] | rule.condition
        return [one for one in told if one.inspections]

    def apply(self, now: datetime) -> list[Forgotten]:
        """Remove it; what was removed is noted among the changes."""
        with self._database.reading() as connection:
            rules = self._rules(connection, now)
        done = []
        for rule in rules:
            if self._ending.is_set():
                break
            count = size = 0
            while True:
                inspections, freed = self._remove_pictures(rule) if rule.what == "pictures" else self._delete(rule)
                count, size = count + inspections, size + freed
                if inspections < _AT_ONCE or self._ending.is_set():
                    break
            if count:
                done.append(Forgotten(what=rule.what, why=rule.why, inspections=count, bytes=size))
        self._database.optimize()
        if done:
            with self._database.writing() as connection:
                for one in done:
                    note_change(connection, "retention", "retention", one.what, new=str(one), reason=one.why)
        return done

    def tidy(self, now: datetime) -> int:
        """Remove files that no inspection has, left by a process that was killed; how many. Reads all folders."""
        removed = 0
        for folder in self._pictures.folders(before=now - timedelta(hours=2)):
            if self._ending.is_set():
                break
            files = [file for file in folder.iterdir() if not file.name.endswith(".mask.png")]
            named = {file.name.partition(".")[0] for file in files}
            wanted = self._pictured([name for name in named if ID_PATTERN.fullmatch(name)])
            for file in files:
                if file.name.partition(".")[0] not in wanted:
                    file.unlink(missing_ok=True)
                    removed += 1
            _drop_empty(folder)
        return removed

    def _rules(self, connection: Connection, now: datetime) -> list[_Rule]:
        """In the order in which they are applied."""
        rules = []
        for days_of, what in ((self._settings.pictures_days, "pictures"), (self._settings.rows_days, "inspections")):
            for verdict, days in days_of.items():
                old = (ROWS.c.verdict == verdict) & (ROWS.c.at < now - timedelta(days=days))
                why = f"{verdict}, older than {days:g} days"
                if what == "inspections":
                    rules.append(_Rule(what="pictures", why=why, condition=_has_pictures() & old))
                    rules.append(_Rule(what=what, why=why, condition=_unspoken() & old))
                else:
                    rules.append(_Rule(what=what, why=why, condition=_has_pictures() & old))
        if self._settings.pictures_gb is not None:
            aged = [rule.condition for rule in rules if rule.what == "pictures"]
            rules += self._over_quota(connection, sa.or_(sa.false(), *aged))
        return sorted(rules, key=lambda rule: rule.what != "pictures")  # pictures first

    def _over_quota(self, connection: Connection, aged: _Condition) -> Iterator[_Rule]:
        """Up to which part pictures have to go: those of passed parts first, then the others, the oldest first."""
        size = sa.func.coalesce(ROWS.c.photo_bytes, 0) + sa.func.coalesce(ROWS.c.map_bytes, 0)
        all_bytes = sa.select(sa.func.coalesce(sa.func.sum(size), 0)).where(sa.not_(ROWS.c.pictures_removed))
        taken = (
            connection.execute(all_bytes).scalar_one()
            - connection.execute(sa.select(sa.func.coalesce(sa.func.sum(size), 0)).where(aged)).scalar_one()
        )
        excess = int(taken) - round((self._settings.pictures_gb or 0) * _GB)
        why = f"more than {self._settings.pictures_gb:g} GB of pictures"
        for group in (ROWS.c.verdict == "pass", ROWS.c.verdict != "pass"):
            if excess <= 0:
                return
            those = _has_pictures() & group & sa.not_(aged)
            query = sa.select(ROWS.c.at, ROWS.c.number, size).where(those).order_by(ROWS.c.at, ROWS.c.number)
            last = None
            with connection.execution_options(yield_per=_AT_ONCE).execute(query) as rows:
                for at, number, its in rows:
                    last = (at, number)
                    excess -= its
                    if excess <= 0:
                        break
            if last is not None:
                at, number = last
                until = (ROWS.c.at < at) | ((ROWS.c.at == at) & (ROWS.c.number <= number))
                yield _Rule(what="pictures", why=why, condition=those & until)

    def _remove_pictures(self, rule: _Rule) -> tuple[int, int]:
        """Of some parts: how many, and their bytes."""
        with self._database.writing() as connection:
            # The condition again: a word may have been said since the numbers were read.
            those = rule.condition & ROWS.c.number.in_(self._some(connection, rule))
            marked = connection.execute(
                sa.update(ROWS)
                .where(those)
                .values(pictures_removed=True)
                .returning(ROWS.c.photo, ROWS.c.map, ROWS.c.photo_bytes, ROWS.c.map_bytes)
            ).all()
        folders: set[Path] = set()
        for photo, small_map, _, _ in marked:
            for place in (photo, small_map):
                if place:
                    path = self._pictures.path(place)
                    path.unlink(missing_ok=True)
                    folders.add(path.parent)
        for folder in folders:
            _drop_empty(folder)
        return len(marked), sum((photo or 0) + (small_map or 0) for _, _, photo, small_map in marked)

    def _delete(self, rule: _Rule) -> tuple[int, int]:
        """Some rows, with what shadows said of them."""
        with self._database.writing() as connection:
            those = rule.condition & ROWS.c.number.in_(self._some(connection, rule))
            return connection.execute(sa.delete(ROWS).where(those)).rowcount, 0

    def _some(self, connection: Connection, rule: _Rule) -> Sequence[int]:
        query = sa.select(ROWS.c.number).where(rule.condition).order_by(ROWS.c.at, ROWS.c.number).limit(_AT_ONCE)
        return connection.scalars(query if self._database.is_sqlite else query.with_for_update(skip_locked=True)).all()

    def _pictured(self, names: Sequence[str]) -> set[str]:
        """Those that are inspections with pictures."""
        found: set[str] = set()
        with self._database.reading() as connection:
            for some in parts(names):
                query = sa.select(ROWS.c.id).where(ROWS.c.id.in_(some), sa.not_(ROWS.c.pictures_removed))
                found |= set(connection.scalars(query))
        return found


def _counted(connection: Connection, rule: _Rule, condition: _Condition) -> Forgotten:
    size = sa.func.coalesce(ROWS.c.photo_bytes, 0) + sa.func.coalesce(ROWS.c.map_bytes, 0)
    query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(size), 0)).where(condition)
    count, total = connection.execute(query).one()
    return Forgotten(
        what=rule.what, why=rule.why, inspections=count, bytes=int(total) if rule.what == "pictures" else 0
    )


def _unspoken() -> _Condition:
    return ROWS.c.word.is_(None)


def _has_pictures() -> _Condition:
    """Pictures that may go, in the words of their index."""
    return sa.literal_column(f"({HAS_PICTURES})", sa.Boolean).self_group()


def _drop_empty(folder: Path) -> None:
    """An hour without pictures, and a day without hours."""
    for place in (folder, folder.parent):
        try:
            place.rmdir()
        except OSError:  # something is in it, or comes into it now
            return
