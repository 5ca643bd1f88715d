"""The queue: bounded, in order, in batches of one model, within the stated time."""

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from muad.service.judging.job import Asked, Job
from muad.service.judging.queue import BusyError, JudgingQueue
from muad.service.judging.uploads import Upload

UPLOAD = Upload(b"", "PNG", ".png", "image/png", 1, 1)
ONE, OTHER = SimpleNamespace(id="one"), SimpleNamespace(id="other")


def job(model: Any = ONE) -> Job:
    return Job(asked=Asked(upload=UPLOAD, station="s"), model=model)


def test_what_is_beyond_its_bound_is_refused_whole_with_a_time_to_come_back() -> None:
    queue = JudgingQueue(most=3, batch_size=8, wait_s=0)
    queue.put(job(), job())
    queue.finished(1, 4.0)
    with pytest.raises(BusyError, match="at most 3 photographs may wait, got 2") as refused:
        queue.put(job(), job())
    assert refused.value.retry_s == 4.0
    assert len(queue) == 2
    with pytest.raises(BusyError, match="batch must have at most 3 photographs, got 4"):
        queue.put(*(job() for _ in range(4)))


def test_a_batch_is_of_one_model_in_order_and_no_larger_than_asked() -> None:
    queue = JudgingQueue(most=20, batch_size=3, wait_s=0)
    jobs = [job() for _ in range(4)] + [job(OTHER)] + [job()]
    queue.put(*jobs)
    for one in jobs:
        queue.ready(one)
    assert queue.take() == jobs[:3]
    assert queue.take() == [jobs[3], jobs[5]]
    assert queue.take() == [jobs[4]]


def test_one_that_is_ready_waits_no_longer_than_stated() -> None:
    queue = JudgingQueue(most=20, batch_size=8, wait_s=0.5)
    first, late = job(), job()
    queue.put(first, late)
    began = time.perf_counter()
    queue.ready(first)
    threading.Timer(0.05, queue.ready, [late]).start()
    assert queue.take() == [first, late]
    assert 0.49 < time.perf_counter() - began < 5
    whole = [job() for _ in range(8)]
    queue.put(*whole)
    for one in whole:
        queue.ready(one)
    began = time.perf_counter()
    assert queue.take() == whole
    assert time.perf_counter() - began < 0.4


def test_one_that_nobody_waits_for_frees_its_place_and_is_not_judged() -> None:
    queue = JudgingQueue(most=1, batch_size=8, wait_s=0)
    gone, here = job(), job()
    queue.put(gone)
    assert queue.withdraw(gone)
    queue.put(here)
    queue.ready(gone)  # it was being read when its client went away
    queue.ready(here)
    assert queue.take() == [here]
    assert not queue.withdraw(here)


def test_a_closed_queue_gives_out_what_it_has_and_then_nothing() -> None:
    queue = JudgingQueue(most=5, batch_size=8, wait_s=60)
    left = job()
    queue.put(left)
    queue.close()
    with pytest.raises(BusyError, match="station must be running"):
        queue.put(job())
    threading.Timer(0.05, queue.ready, [left]).start()
    assert queue.take() == [left]
    assert queue.take() == []
