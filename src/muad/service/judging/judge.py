"""The judge: reads what is accepted, computes it in batches, and has each batch on record before it answers.

    submit -> threads that read      a photograph becomes views; the caller goes on
           -> one thread that judges the batch through the network; with the model each job was accepted with
           -> threads that describe  regions, small map, pictures on the disk
           -> one thread that records all of it in one transaction, then the answers are given

While one batch is described and recorded, the next is judged and another one read.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from muad.errors import MuadError
from muad.runtime.looking import Look, Photograph
from muad.runtime.prediction import ImagePrediction
from muad.service.history import History, Inspection, NewInspection, Pictures
from muad.service.judging.describing import describe
from muad.service.judging.job import Asked, Job
from muad.service.judging.queue import BusyError, JudgingQueue
from muad.service.judging.settings import JudgingSettings
from muad.threads import reading_threads

if TYPE_CHECKING:
    from muad.service.judging.models import Models

Listener = Callable[[Sequence[Inspection]], None]
_BATCHES_AHEAD = 4  # judged and not yet recorded; the judge waits where the disk is slower
_MAPS_A_THREAD = 3  # maps of the photograph's own size that are held: 50 MB each of 12 megapixels
_log = logging.getLogger("muad.station")


class _Judged(NamedTuple):
    """A batch on its way to the record."""

    jobs: list[Job]
    described: list[Future[NewInspection]]


class Judge:
    """Judges what is submitted, with the models of a station.

    Args:
        models: What judges.
        history: Where it is recorded.
        pictures: Where photographs and maps are kept.
        settings: How many together, how many may wait.
        sampled: Whether people shall be asked about an inspection that was just judged.

    Attributes:
        listeners: Called in order with each batch after it was answered, on the thread that records.
        job_listeners: Called likewise with the jobs, which know the photographs and the times by stage.
        faults: How often a listener raised something.
    """

    def __init__(
        self,
        models: Models,
        history: History,
        pictures: Pictures,
        settings: JudgingSettings,
        sampled: Callable[[NewInspection], NewInspection] = lambda new: new,
    ) -> None:
        self._models, self._history, self._pictures, self._settings = models, history, pictures, settings
        self._sampled = sampled
        self.waiting = JudgingQueue(settings.queue, settings.batch_size, settings.wait_ms / 1000)
        self.listeners: list[Listener] = []
        self.job_listeners: list[Callable[[Sequence[Job]], None]] = []
        self.faults = 0
        self._by_key: dict[str, Job] = {}
        self._by_id: dict[str, Job] = {}
        self._keys = threading.Lock()
        threads = reading_threads()
        self._reading = ThreadPoolExecutor(threads, thread_name_prefix="muad-read")
        self._describing = ThreadPoolExecutor(threads, thread_name_prefix="muad-describe")
        self._maps = threading.Semaphore(_MAPS_A_THREAD * threads)
        self._judged: queue.Queue[_Judged | None] = queue.Queue(_BATCHES_AHEAD)
        self._judging = threading.Thread(target=self._judge_all, name="muad-judge", daemon=True)
        self._recording = threading.Thread(target=self._record_all, name="muad-record", daemon=True)

    def start(self) -> None:
        """Begin to judge."""
        self._judging.start()
        self._recording.start()

    def stop(self) -> None:
        """Accept nothing more; return once all that was accepted is judged and recorded."""
        self.waiting.close()
        for thread in (self._judging, self._recording):
            if thread.ident is not None:
                thread.join()
        self._reading.shutdown()
        self._describing.shutdown()

    @property
    def is_working(self) -> bool:
        """Whether it judges and records, having begun to."""
        return all(thread.is_alive() for thread in (self._judging, self._recording) if thread.ident is not None)

    def submit(self, asked: Sequence[Asked]) -> list[Job]:
        """Accept photographs, all or none; one whose key is on its way already is the same job.

        Raises:
            BusyError: There is no place.
            ConfigError: A category that the model does not know, or must be told.
            CheckpointError: There is no model.
        """
        model = self._models.active
        for one in asked:
            model.predictor.category_of(None, one.category)
        with self._keys:
            jobs, new = [], []
            for one in asked:
                there = self._by_key.get(one.key) if one.key is not None else None
                if there is None:
                    there = Job(asked=one, model=model)
                    new.append(there)
                    if one.key is not None:
                        self._by_key[one.key] = there
                else:
                    there.waiters += 1
                jobs.append(there)
            try:
                self.waiting.put(*new)
            except BusyError:
                self._forget(new)
                raise
            self._by_id |= {job.id: job for job in new}
        for job in new:
            self._reading.submit(self._read, job)
        return jobs

    def withdraw(self, job: Job) -> bool:
        """Say that a request no longer waits for a job; the last one frees its place, unless it is judged already."""
        with self._keys:
            job.waiters -= 1
            if job.waiters > 0 or not self.waiting.withdraw(job):
                return False
            self._forget([job])
            return True

    def accepted(self, inspection_id: str) -> Job | None:
        """The job of an inspection that is not yet recorded, or None."""
        return self._by_id.get(inspection_id)

    def _forget(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._by_id.pop(job.id, None)
            if job.asked.key is not None and self._by_key.get(job.asked.key) is job:
                del self._by_key[job.asked.key]

    def _read(self, job: Job) -> None:
        """A photograph becomes views, in a thread of the pool."""
        if job.done.cancelled():
            return
        began = time.perf_counter()
        try:
            photograph = Photograph(job.asked.upload.image, job.asked.category)
            job.look = job.model.predictor.look(photograph, keep_image=False)
        except Exception as error:  # noqa: BLE001  recorded as what could not be judged: no photograph is lost
            job.look = _unreadable(job, error)
        job.times["read"] = 1000 * (time.perf_counter() - began)
        self.waiting.ready(job)

    def _judge_all(self) -> None:
        while jobs := self.waiting.take():
            began = time.perf_counter()
            described: list[Future[NewInspection]] = []
            try:
                predicted = self._predicted(jobs)
                for job in jobs:
                    described.append(self._describe(job, predicted))  # noqa: PERF401  what is there stays
            except Exception as error:  # noqa: BLE001  a bug, which must not end the judge
                self._failed(jobs[len(described) :], error)
            self.waiting.finished(len(jobs), time.perf_counter() - began)
            self._judged.put(_Judged(jobs[: len(described)], described))
        self._judged.put(None)

    def _predicted(self, jobs: Sequence[Job]) -> Iterator[ImagePrediction]:
        """What the model says of each; of one that breaks a batch, why."""
        began = time.perf_counter()
        for job in jobs:
            job.times["wait"] = 1000 * (began - job.began) - job.times["read"]
        looks = [look for job in jobs if (look := job.look) is not None]
        count = 0
        try:
            for found in jobs[0].model.predictor.judge(looks, batch_size=self._settings.batch_size):
                jobs[count].times["judge"] = 1000 * (time.perf_counter() - began)
                yield found
                count += 1
        except Exception as error:  # noqa: BLE001
            if len(jobs) > 1:
                for job in jobs[count:]:  # one alone is to blame
                    yield from self._predicted([job])
                return
            jobs[0].times["judge"] = 1000 * (time.perf_counter() - began)
            yield _unreadable(jobs[0], error).prediction

    def _describe(self, job: Job, predicted: Iterator[ImagePrediction]) -> Future[NewInspection]:
        """Have the next prediction described, as soon as there is room for its map."""
        self._maps.acquire()
        try:
            return self._describing.submit(self._described, job, next(predicted))
        except BaseException:
            self._maps.release()
            raise

    def _described(self, job: Job, found: ImagePrediction) -> NewInspection:
        try:
            new = describe(job, found, self._pictures, self._settings.keep_maps)
            job.look = None
            return self._sampled(new)
        finally:
            self._maps.release()

    def _record_all(self) -> None:
        ended = False
        while not ended:
            batches = [self._judged.get()]
            while True:  # whatever else is there goes into the same transaction
                try:
                    batches.append(self._judged.get_nowait())
                except queue.Empty:
                    break
            ended = None in batches
            whole = [batch for batch in batches if batch is not None]
            if whole:
                self._record([pair for batch in whole for pair in zip(batch.jobs, batch.described, strict=True)])

    def _record(self, batch: Sequence[tuple[Job, Future[NewInspection]]]) -> None:
        """Put a batch on record, then answer."""
        jobs: list[Job] = []
        news: list[NewInspection] = []
        for job, described in batch:
            try:
                news.append(described.result())
                jobs.append(job)
            except Exception as error:  # noqa: BLE001  such as a disk that is full: this one's answer
                self._failed([job], error)
        began = time.perf_counter()
        try:
            recorded = self._history.record(news)
        except Exception as error:  # noqa: BLE001
            for new in news:
                self._drop(new)
            self._failed(jobs, error)
            return
        spent = 1000 * (time.perf_counter() - began)
        with self._keys:
            self._forget(jobs)
        for job, new, inspection in zip(jobs, news, recorded, strict=True):
            if inspection.id != new.id:  # another process has recorded the key first
                self._drop(new)
            job.times |= {"record": spent, "total": 1000 * (time.perf_counter() - job.began)}
            if job.done.set_running_or_notify_cancel():
                job.done.set_result(inspection)
        own = [pair for pair in zip(jobs, news, recorded, strict=True) if pair[1].id == pair[2].id]
        self._tell([inspection for *_, inspection in own], [job for job, *_ in own])

    def _tell(self, inspections: Sequence[Inspection], jobs: Sequence[Job]) -> None:
        """Let the others know; what they raise stops nothing."""
        calls = [partial(listener, inspections) for listener in self.listeners]
        for call in (*calls, *(partial(listener, jobs) for listener in self.job_listeners)):
            try:
                call()
            except Exception:  # noqa: BLE001  logged and counted
                self.faults += 1
                _log.exception("what follows an inspection failed")

    def _failed(self, jobs: Sequence[Job], error: Exception) -> None:
        with self._keys:
            self._forget(jobs)
        if not isinstance(error, MuadError):
            _log.error("inspections could not be recorded", exc_info=error)
        for job in jobs:
            job.fail(error)

    def _drop(self, new: NewInspection) -> None:
        try:
            self._pictures.drop(new.kept)
        except OSError as error:
            _log.warning("pictures of an inspection that was not recorded stay: %s", error)


def _unreadable(job: Job, error: Exception) -> Look:
    """A photograph that cannot be judged, with the reason: its part does not pass, and it is on record."""
    if isinstance(error, MuadError):
        said = str(error)
    else:
        _log.error("photograph %s could not be judged", job.id, exc_info=error)
        said = "photograph could not be judged because of a fault inside the station. The log says more."
    return Look(prediction=ImagePrediction(path=None, category=job.asked.category, error=said))
