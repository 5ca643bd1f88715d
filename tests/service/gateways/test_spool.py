"""The queue before every outlet: in order, once or more, whatever breaks."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muad.service.gateways.base import AwayError, Message, RefusedError
from muad.service.gateways.spool import Spool, SpoolSettings
from muad.service.gateways.spool_file import SpoolFile

Messages = Callable[..., dict[str, Any]]
QUICK = SpoolSettings(first_wait_s=0.02, longest_wait_s=0.05)


class Desk:
    """An outlet that keeps what it is sent, in memory."""

    def __init__(self, fault: Callable[[Message], Exception | None] = lambda _: None) -> None:
        self.name, self.fault = "desk", fault
        self.taken: list[int] = []
        self.tried: list[tuple[float, int]] = []
        self.opened = self.closed = 0

    def open(self) -> None:
        self.opened += 1

    def send(self, message: Message) -> None:
        self.tried.append((time.monotonic(), message["number"]))
        error = self.fault(message)
        if error is not None:
            raise error
        self.taken.append(message["number"])

    def close(self) -> None:
        self.closed += 1


def test_messages_go_out_in_the_order_they_came(tmp_path: Path, message: Messages, wait_for: Any) -> None:
    desk = Desk()
    spool = Spool(tmp_path, desk, QUICK)
    spool.put([message(1), message(2)])
    spool.start()
    for number in range(3, 250):
        spool.put([message(number)])
    wait_for(lambda: len(desk.taken) == 249)
    assert desk.taken == list(range(1, 250))
    spool.close()
    assert (desk.opened, desk.closed) == (1, 1)


def test_a_far_end_that_is_away_is_tried_again_with_growing_waits(
    tmp_path: Path, message: Messages, wait_for: Any, caplog: pytest.LogCaptureFixture
) -> None:
    away = True
    desk = Desk(lambda _: AwayError("nobody listens") if away else None)
    spool = Spool(tmp_path, desk, SpoolSettings(first_wait_s=0.05, longest_wait_s=0.4))
    spool.put([message(number) for number in range(1, 4)])
    spool.start()
    wait_for(lambda: len(desk.tried) == 6)
    state = spool.state()
    assert (state.waiting, state.failures, state.error) == (3, 6, "nobody listens")
    assert (state.away_for_s or 0) > 0.3
    away = False
    wait_for(lambda: desk.taken == [1, 2, 3])
    spool.close()
    waits = [later - sooner for (sooner, _), (later, _) in zip(desk.tried[:6], desk.tried[1:6], strict=False)]
    assert 0.02 < waits[0] < waits[3], waits
    assert waits[4] >= 0.2, waits
    assert {number for _, number in desk.tried[:6]} == {1}, "one that waits is not overtaken"
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [("is away: nobody listens" in line, "is back" in line) for line in told] == [(True, False), (False, True)]


def test_the_wait_that_the_far_end_asks_for_is_kept(tmp_path: Path, message: Messages, wait_for: Any) -> None:
    answers = [AwayError("busy", wait_s=0.4)]
    desk = Desk(lambda _: answers.pop() if answers else None)
    spool = Spool(tmp_path, desk, QUICK)
    spool.start()
    spool.put([message(1)])
    wait_for(lambda: desk.taken)
    spool.close()
    assert desk.tried[1][0] - desk.tried[0][0] >= 0.4


def test_a_refused_message_is_set_aside_and_holds_nobody_up(tmp_path: Path, message: Messages, wait_for: Any) -> None:
    desk = Desk(lambda sent: RefusedError("no such product") if sent["number"] == 2 else None)
    spool = Spool(tmp_path, desk, QUICK)
    spool.start()
    sent = [message(number) for number in range(1, 4)]
    spool.put(sent)
    wait_for(lambda: desk.taken == [1, 3])
    wait_for(lambda: spool.state().waiting == 0)
    assert spool.state().refused == 1
    (aside,) = spool.refused(10)
    assert (aside.id, aside.reason) == (sent[1]["id"], "no such product")
    desk.fault = lambda _: None
    assert spool.put_back() == 1, "once what was wrong there is mended"
    wait_for(lambda: desk.taken == [1, 3, 2])
    assert spool.refused(10) == []
    spool.close()


def test_an_outlet_with_a_bug_stops_nothing(
    tmp_path: Path, message: Messages, wait_for: Any, caplog: pytest.LogCaptureFixture
) -> None:
    faults = [ZeroDivisionError("a bug"), ZeroDivisionError("a bug")]
    desk = Desk(lambda _: faults.pop() if faults else None)
    spool = Spool(tmp_path, desk, QUICK)
    spool.start()
    spool.put([message(1)])
    wait_for(lambda: desk.taken == [1])
    spool.close()
    assert [record.exc_info is not None for record in caplog.records if "unexpectedly" in record.message] == [True]


@pytest.mark.parametrize(("when_full", "kept"), [("drop-oldest", [4, 5, 6]), ("drop-newest", [1, 2, 3])])
def test_a_full_spool_gives_up_messages_and_counts_them(
    tmp_path: Path, message: Messages, when_full: Any, kept: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(tmp_path, Desk(), SpoolSettings(messages=3, when_full=when_full))
    for number in range(1, 7):
        spool.put([message(number)])
    assert (spool.state().waiting, spool.state().dropped) == (3, 3)
    spool.close(drain_s=0)
    assert ["is full" in record.getMessage() for record in caplog.records] == [True], "said, but not three times"
    again = Desk()
    spool = Spool(tmp_path, again, QUICK)
    assert spool.state().dropped == 3, "the count outlives a restart"
    spool.start()
    spool.close(drain_s=5)
    assert again.taken == kept


def test_bytes_are_bounded_too(tmp_path: Path, message: Messages) -> None:
    size = len(json.dumps(message(1), separators=(",", ":")))
    spool = Spool(tmp_path, Desk(), SpoolSettings(mb=2.5 * size / 1e6))
    spool.put([message(number) for number in range(1, 6)])
    assert (spool.state().waiting, spool.state().dropped) == (2, 3)
    assert spool.state().bytes == 2 * size
    spool.close(drain_s=0)


def test_the_same_message_waits_once(tmp_path: Path, message: Messages) -> None:
    spool = Spool(tmp_path, Desk(), QUICK)
    one = message(1)
    spool.put([one])
    spool.put([one])
    assert spool.state().waiting == 1
    spool.close(drain_s=0)


def test_what_the_spool_was_not_given_is_put_in_from_the_history(
    tmp_path: Path, message: Messages, wait_for: Any
) -> None:
    history = [message(number) for number in range(1, 7)]
    spool = Spool(tmp_path, Desk(), QUICK)
    assert spool.catch_up(lambda _: iter(history)) == 0, "an outlet that is new begins with what comes"
    spool.put(history[:3])
    spool.close(drain_s=0)
    desk = Desk()
    spool = Spool(tmp_path, desk, QUICK)
    ids = [entry["id"] for entry in history]
    assert spool.catch_up(lambda last: history[ids.index(last) + 1 :]) == 3
    spool.start()
    wait_for(lambda: desk.taken == [1, 2, 3, 4, 5, 6])
    spool.close()


def test_one_of_several_processes_empties_the_spool(tmp_path: Path, message: Messages, wait_for: Any) -> None:
    desks = [Desk(), Desk()]
    first, second = (Spool(tmp_path, desk, QUICK) for desk in desks)
    first.start()
    wait_for(lambda: desks[0].opened)
    second.start()
    second.put([message(1)])
    wait_for(lambda: desks[0].taken == [1], within_s=5)
    first.close()
    second.put([message(2)])
    wait_for(lambda: desks[1].taken == [2], within_s=5)
    second.close()


def test_a_damaged_file_is_put_aside(tmp_path: Path, message: Messages, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "desk.sqlite").write_bytes(b"not a database at all" * 100)
    spool = Spool(tmp_path, Desk(), QUICK)
    spool.put([message(1)])
    assert spool.state().waiting == 1
    spool.close(drain_s=0)
    assert list(tmp_path.glob("desk.sqlite.damaged-*"))
    assert "was damaged" in caplog.text


_WRITER = """
import sys, json
from pathlib import Path
from muad.service.gateways.spool_file import SpoolFile
file = SpoolFile(Path(sys.argv[1]) / "desk.sqlite")
number = int(sys.argv[2])
while True:
    message = {"id": f"{number:032x}", "number": number, "text": "x" * 300}
    file.put([message], most=10**6, most_bytes=10**9, drop_oldest=True)
    print(number, flush=True)
    number += 1
"""


def test_a_process_killed_at_any_moment_leaves_every_message(tmp_path: Path) -> None:
    told = 0
    for _ in range(2):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path), str(told + 1)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        assert writer.stdout is not None
        for line in writer.stdout:
            told = int(line)
            if told % 70 == 0:
                writer.send_signal(signal.SIGKILL)
                break
        rest = writer.stdout.read().split()
        told = int(rest[-1]) if rest else told
        writer.stdout.close()
        writer.wait()
    file = SpoolFile(tmp_path / "desk.sqlite")
    found = [json.loads(entry.body)["number"] for entry in file.first(10**6)]
    fill = file.fill()
    file.close()
    assert found[:told] == list(range(1, told + 1)), "none that was confirmed is missing, and all are in order"
    assert fill.waiting == len(found) == int(fill.last or "0", 16)
