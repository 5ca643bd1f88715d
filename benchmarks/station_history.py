"""How fast a station's history answers with a million parts in it: `python benchmarks/station_history.py [URL]`.

Fills a database of its own, in a temporary folder without a URL, and asks it by every combination of the filters of
the page: half the values are those of a part that is there, half are drawn one by one, so that nothing may fit. The
table goes to `benchmarks/station_history.md`, which `make bench` puts into docs/performance.md.
"""

from __future__ import annotations

import itertools
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from muad.capture import Reason
from muad.decisions.regions import Region
from muad.service.history import History, InspectionFilter, Kept, NewInspection, new_id
from muad.service.history.rows import inspection_values
from muad.service.history.search import ROWS

ROWS_IN_ALL = 1_000_000
START = datetime(2026, 1, 1, tzinfo=UTC)
SPAN = timedelta(days=92)
PRODUCTS = ("bolt", "nut", "washer", "gasket", "housing")
SHARES = {"pass": 0.965, "review": 0.025, "reject": 0.008, "unknown product": 0.001, "error": 0.001}
MODELS = ("00000000000000aa", "00000000000000bb", "00000000000000cc")
FILTERS = ("judged_as", "verdicts", "serial", "lot", "model_id", "score", "word", "station")
HEADINGS = "| asked for | queries | median ms | p95 ms | median ms, processor | p95 | longest |"
TIMES = ("any time", "one day", "one week")
RESULT = Path(__file__).with_name("station_history.md")
_CHUNK = 20_000
_SEED = 20


def main(url: str | None = None) -> None:
    """Fill, ask, write."""
    with tempfile.TemporaryDirectory() as folder:
        history = History(url or f"sqlite:///{folder}/history.sqlite")
        begun = time.perf_counter()
        random = np.random.default_rng(_SEED)
        if not history.counts(InspectionFilter(), by="station"):
            fill(history, random)
            print(f"{ROWS_IN_ALL} rows in {time.perf_counter() - begun:.0f} s")
        lines = measure(history, random)
        if history.database.file is not None:
            lines += ["", f"The file has {history.database.file.stat().st_size / 1e9:.2f} GB."]
        history.close()
    print("\n".join(lines))
    write(history.database.is_sqlite, lines)


def fill(history: History, random: np.random.Generator) -> None:
    """A quarter of a year of five products on three lines."""
    region = Region(
        polygon=((10, 10), (60, 12), (58, 70), (12, 66)), area_px=2800, peak=0.8, peak_at=(30, 31), mean=0.6
    )
    kept = Kept(photo="", photo_sha256="0" * 64, photo_bytes=180_000, map="", map_sha256="1" * 64, map_bytes=90_000)
    plain = NewInspection(
        id="0" * 32,
        at=START,
        station="line 1",
        source="http",
        verdict="pass",
        review_above=0.3,
        reject_above=0.35,
        map_limit=0.6,
        colour_scale=(0.1, 0.6),
        width=1600,
        height=1200,
        highest=region,
        kept=replace(kept, map_low=0.0, map_high=0.9),
        times={"decode": 8.1, "network": 21.0, "record": 4.0},
        brightness=104.0,
        sharpness=3.2,
        product_p=0.4,
    )
    template = inspection_values(plain)
    stopped = inspection_values(replace(plain, regions=(region,), reasons=(Reason(what="too dark"),)))
    verdicts, shares = list(SHARES), list(SHARES.values())
    for first in range(0, ROWS_IN_ALL, _CHUNK):
        numbers = np.arange(first, first + _CHUNK)
        verdict = random.choice(verdicts, _CHUNK, p=shares)
        product, line = random.integers(0, len(PRODUCTS), _CHUNK), random.integers(0, 3, _CHUNK)
        score = np.exp(random.normal(-1.8, 0.3, _CHUNK)) + np.isin(verdict, ["review", "reject"]) * 0.2
        asked, again = random.random(_CHUNK), random.random(_CHUNK)
        values = []
        for place, number in enumerate(numbers.tolist()):
            at = START + SPAN * (number / ROWS_IN_ALL)
            name, said = new_id(at), str(verdict[place])
            word = None
            if asked[place] < (0.01 if said == "pass" else 0.9 if number < ROWS_IN_ALL * 0.99 else 0):
                word = "good" if again[place] < 0.7 else "bad"
            folder = f"pictures/{at:%Y-%m-%d/%H}/{name}"
            values.append(
                {
                    **(template if said == "pass" else stopped),
                    "id": name,
                    "at": at,
                    "station": f"line {line[place] + 1}",
                    "verdict": said,
                    "judged_as": PRODUCTS[product[place]],
                    "category": PRODUCTS[product[place]],
                    "score": None if said == "error" else float(score[place]),
                    "p_value": float(again[place]),
                    "model_id": MODELS[number * 3 // ROWS_IN_ALL],
                    "serial": f"SN{number if again[place] < 0.95 else max(0, number - 5000):08d}",
                    "lot": f"L{number // 2000:05d}",
                    "photo": f"{folder}.jpg",
                    "map": f"{folder}.map.png",
                    "word": word,
                    "word_at": at if word else None,
                    "in_audit": bool(again[place] < 0.01),
                }
            )
        with history.database.writing() as connection:
            connection.execute(sa.insert(ROWS), values)
    with history.database.writing() as connection:
        connection.execute(sa.text("ANALYZE"))


def measure(history: History, random: np.random.Generator) -> list[str]:
    """Times of every combination, as lines of a table."""
    parts = [random_part(history, random) for _ in range(60)]
    times: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    for when in TIMES:
        for count in range(len(FILTERS) + 1):
            for names in itertools.combinations(FILTERS, count):
                for repeat in range(4):
                    own = parts[int(random.integers(len(parts)))]
                    drawn = own if repeat % 2 else None
                    values = {}
                    for name in names:
                        values |= value_of(name, drawn or parts[int(random.integers(len(parts)))])
                    wanted = InspectionFilter(**values, **period(when, own))
                    times.setdefault((when, *names), []).append(timed(lambda w=wanted: history.search(w)))
    every = np.concatenate([np.array(own) for own in times.values()])
    lines = [HEADINGS, "|---|---|---|---|---|---|---|"]
    lines.append(row("every combination of the filters", every))
    for name in (*TIMES, *FILTERS):
        some = np.concatenate([own for key, own in times.items() if name in key])
        lines.append(row(f"of these, with {name}", some))
    lines += [row(name, np.array(list(run))) for name, run in others(history, parts)]
    p95 = {key: float(np.quantile(np.array(own)[:, 1], 0.95)) for key, own in times.items()}
    slowest = ", ".join(" + ".join(key) for key in sorted(p95, key=lambda key: -p95[key])[:3])
    slow = sum(value > 100 for value in p95.values())
    lines += [
        "",
        f"Of {len(p95)} combinations {slow} take more than 100 ms of the processor at p95; slowest: {slowest}.",
    ]
    return lines


def others(history: History, parts: list[Any]) -> Iterator[tuple[str, Iterator[tuple[float, float]]]]:
    """What else the pages ask for."""
    yield "the newest page", (timed(lambda: history.search(InspectionFilter())) for _ in range(50))
    yield (
        "a page from the middle, by its cursor",
        (
            timed(lambda c=cursor: history.search(InspectionFilter(), c))
            for cursor in [history.search(InspectionFilter(until=part.at)).cursor for part in parts]
        ),
    )
    for name, asked in (
        ("the review queue, oldest first", InspectionFilter(verdicts=("review",), word="none")),
        ("the audit queue, oldest first", InspectionFilter(in_audit=True, word="none")),
    ):
        yield name, (timed(lambda w=asked: history.search(w, order="oldest")) for _ in range(50))
    yield (
        "counters of a shift (8 hours)",
        (
            timed(
                lambda p=part: history.counts(
                    InspectionFilter(since=p.at - timedelta(hours=8), until=p.at, station=p.station), by="verdict"
                )
            )
            for part in parts
        ),
    )
    yield (
        "scores of a product in a week",
        (timed(lambda p=part: history.scores(p.judged_as, p.at - timedelta(days=7), p.at)) for part in parts),
    )
    yield "one inspection", (timed(lambda p=part: history.get(p.id)) for part in parts)
    yield "events since an inspection", (timed(lambda p=part: history.since(p.id)) for part in parts)


def random_part(history: History, random: np.random.Generator) -> Any:
    """A part that is there; every third has been stopped, every third has a word."""
    at = START + SPAN * float(random.random())
    kind = int(random.integers(3))
    asked = {1: {"verdicts": ("reject", "review", "error")}, 2: {"word": "any"}}.get(kind, {})
    found = history.search(InspectionFilter(until=at, **asked), limit=1).inspections
    return found[0] if found else random_part(history, random)


def value_of(name: str, part: Any) -> dict[str, Any]:
    """What the filter asks for, so that the part fits."""
    if name == "verdicts":
        return {"verdicts": ("review", "reject") if part.verdict in ("review", "reject") else (part.verdict,)}
    if name == "score":
        score = part.score if part.score is not None else 0.9
        return {"score_from": score - 0.01, "score_to": score + 0.01}
    if name == "word":
        return {"word": part.word or "none"}
    return {name: getattr(part, name)}


def period(when: str, part: Any) -> dict[str, datetime]:
    """A time with the part in it."""
    if when == "any time":
        return {}
    days = timedelta(days=1 if when == "one day" else 7)
    return {"since": part.at - days / 2, "until": part.at + days / 2}


def timed(ask: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds by the clock, and of the processor: the latter are also right where others use the machine."""
    begun, used = time.perf_counter(), time.thread_time()
    ask()
    return (time.perf_counter() - begun) * 1000, (time.thread_time() - used) * 1000


def row(name: str, times: np.ndarray) -> str:
    """A line of the table."""
    clock, processor = times.T
    figures = [np.median(clock), np.quantile(clock, 0.95), np.median(processor), np.quantile(processor, 0.95)]
    return (
        f"| {name} | {len(times)} | "
        + " | ".join(f"{figure:.1f}" for figure in figures)
        + f" | {processor.max():.0f} |"
    )


def write(is_sqlite: bool, lines: list[str]) -> None:
    """Put the table where the page takes it from; each database has a part of its own."""
    title = f"SQLite {sqlite3.sqlite_version}" if is_sqlite else "PostgreSQL"
    before = RESULT.read_text(encoding="utf-8") if RESULT.is_file() else ""
    kept = [part for part in before.split("### ")[1:] if not part.startswith(title.split(maxsplit=1)[0])]
    own = f"{title}, {ROWS_IN_ALL} parts, seed {_SEED}\n\n" + "\n".join(lines) + "\n\n"
    text = said + "".join(f"### {part}" for part in sorted([*kept, own], reverse=True))
    RESULT.write_text(text.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
