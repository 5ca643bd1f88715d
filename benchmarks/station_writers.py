"""How many parts a second one history takes from several processes: `python benchmarks/station_writers.py [URL]`.

Each process stands for a replica of the station and records parts without a pause, one by one or in batches of eight,
each whole on disk before it is answered, as the judge does. Photographs and maps are not written. Without a URL a
history in SQLite is made. Divided by what a replica judges in a second, this is how many replicas one history bears.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from muad.service.history import History, NewInspection, new_id

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier

TIMES = {"decode": 8.1, "network": 21.0, "record": 4.0}


def parts(count: int, place: int) -> list[NewInspection]:
    """As many parts as are judged together."""
    at = datetime.now(UTC)
    return [
        NewInspection(
            id=new_id(at), at=at, station=f"line {place}", source="http", verdict="pass", judged_as="bolt", score=0.2,
            review_above=0.3, reject_above=0.35, width=1600, height=1200, times=TIMES, brightness=104.0, sharpness=3.2,
        )
        for _ in range(count)
    ]  # fmt: skip


def write(
    url: str, place: int, together: int, seconds: float, ready: Barrier, answers: Queue[tuple[int, float]]
) -> None:
    """Record until the time is over, from the moment all are ready; answers parts and the longest wait in seconds."""
    history = History(url)
    ready.wait()
    done, longest, begun = 0, 0.0, time.perf_counter()
    while (now := time.perf_counter()) < begun + seconds:
        history.record(parts(together, place))
        done += together
        longest = max(longest, time.perf_counter() - now)
    history.close()
    answers.put((done, longest))


def measure(url: str, processes: int, together: int, seconds: float) -> tuple[float, float]:
    """Parts a second of all, and the longest wait of any."""
    context = multiprocessing.get_context("spawn")
    ready, answers = context.Barrier(processes), context.Queue()
    writers = [
        context.Process(target=write, args=(url, place, together, seconds, ready, answers))
        for place in range(processes)
    ]
    for writer in writers:
        writer.start()
    found = [answers.get(timeout=300) for _ in writers]
    for writer in writers:
        writer.join()
    return sum(done for done, _ in found) / seconds, max(wait for _, wait in found)


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", help="of an empty database; none for a file of SQLite")
    parser.add_argument("--seconds", type=float, default=8.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = given.url or f"sqlite:///{folder}/history.sqlite"
        History(url).close()  # the tables are made once
        print("| processes | parts together | parts a second | longest wait, ms |\n|---|---|---|---|")
        for processes in (1, 2, 4, 8):
            for together in (1, 8):
                rate, longest = measure(url, processes, together, given.seconds)
                print(f"| {processes} | {together} | {rate:.0f} | {1000 * longest:.0f} |", flush=True)


if __name__ == "__main__":
    main()
