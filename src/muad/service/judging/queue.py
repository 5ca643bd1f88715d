"""Photographs that wait to be judged: bounded, read while they wait, taken in batches within a stated time."""

from __future__ import annotations

import threading
import time
from collections import deque

from muad.errors import MuadError
from muad.service.judging.job import Job


class BusyError(MuadError):
    """No more is accepted now.

    Attributes:
        retry_s: After how many seconds it is worth another try.
    """

    def __init__(self, message: str, retry_s: float) -> None:
        super().__init__(message)
        self.retry_s = retry_s


class JudgingQueue:
    """Jobs in the order in which they were accepted.

    Any thread may put, say that one is ready, or withdraw one; one thread takes.

    Args:
        most: Jobs that may wait.
        batch_size: Most that are taken together.
        wait_s: How long one that is ready waits for others, at most.

    Attributes:
        most: Jobs that may wait.
    """

    def __init__(self, most: int, batch_size: int, wait_s: float) -> None:
        self.most, self._batch_size, self._wait_s = most, batch_size, wait_s
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._pace_s = 0.0  # between two that are done, lately

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def closed(self) -> bool:
        """Whether nothing is accepted any more."""
        return self._closed

    def put(self, *jobs: Job) -> None:
        """Accept jobs, all or none.

        Raises:
            BusyError: There is no place for them, or the station ends.
        """
        with self._changed:
            if self._closed:
                raise BusyError("station must be running to judge, got one that ends. Send it again.", 5.0)
            if len(jobs) > self.most:
                raise BusyError(
                    f"batch must have at most {self.most} photographs, got {len(jobs)}. Send fewer at once.", 1.0
                )
            if len(self._jobs) + len(jobs) > self.most:
                retry = max(1.0, self._pace_s * (len(self._jobs) + len(jobs) - self.most))
                raise BusyError(
                    f"at most {self.most} photographs may wait, got {len(self._jobs)} that do. Send it again later.",
                    retry,
                )
            self._jobs.extend(jobs)

    def ready(self, job: Job) -> None:
        """Say that a job was read: from now on it may be taken."""
        with self._changed:
            job.looked = time.perf_counter()
            self._changed.notify_all()

    def withdraw(self, job: Job) -> bool:
        """Free the place of a job that nobody waits for any more; False where it is being judged already."""
        with self._changed:
            try:
                self._jobs.remove(job)
            except ValueError:
                return False
            job.done.cancel()
            self._changed.notify_all()
            return True

    def holds(self, job: Job) -> bool:
        """Whether a job still waits."""
        return job in self._jobs

    def take(self) -> list[Job]:
        """The next batch, all for one model; empty once the queue is closed and nothing is left."""
        with self._changed:
            while True:
                found = self._readied()
                if not found:
                    if self._closed and not self._jobs:
                        return []
                    self._changed.wait()
                    continue
                rest = found[0].looked + self._wait_s - time.perf_counter()
                whole = len(found) == self._batch_size or self._closed
                if whole or rest <= 0:
                    for job in found:
                        self._jobs.remove(job)
                    return found
                self._changed.wait(rest)

    def finished(self, count: int, seconds: float) -> None:
        """Learn how fast jobs are done, to say when it is worth another try."""
        self._pace_s = 0.8 * self._pace_s + 0.2 * seconds / count if self._pace_s else seconds / count

    def close(self) -> None:
        """Accept nothing more; what was accepted is still given out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _readied(self) -> list[Job]:
        """The oldest that are ready, of one model: what is still being read is overtaken, by a batch at most."""
        found: list[Job] = []
        for job in self._jobs:
            if job.looked and (not found or job.model is found[0].model):
                found.append(job)
                if len(found) == self._batch_size:
                    break
        return found
