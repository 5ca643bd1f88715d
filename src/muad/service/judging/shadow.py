"""A second model that judges along: after the answer, with what the first one leaves of the machine.

What it says is on record beside what was answered. Where it cannot keep up, the oldest photographs are left out, and
counted: it never slows the answers by more than the processor it shares.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from muad.errors import ConfigError, MuadError
from muad.runtime.looking import Look, Photograph
from muad.runtime.prediction import ImagePrediction
from muad.service.history import History, ShadowJudgement
from muad.service.judging.job import Job

if TYPE_CHECKING:
    from muad.service.judging.models import LoadedModel, Models

_log = logging.getLogger("muad.station")


class Shadow:
    """Judges again what was judged, by the model that is in shadow.

    Args:
        models: Which one that is.
        history: Where it is recorded.
        batch_size: Most photographs judged together.
        most: Most that wait; beyond it the oldest are left out.

    Attributes:
        left_out: How many were.
    """

    def __init__(self, models: Models, history: History, batch_size: int, most: int) -> None:
        self._models, self._history, self._batch_size = models, history, batch_size
        self._waiting: deque[Job] = deque()
        self._most = most
        self._changed = threading.Condition()
        self._ended = False
        self.left_out = 0
        self._thread = threading.Thread(target=self._run, name="muad-shadow", daemon=True)

    def __len__(self) -> int:
        return len(self._waiting)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Return once all that waits is judged."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def follow(self, jobs: Sequence[Job]) -> None:
        """Judge these, too, if there is a shadow; returns at once."""
        if self._models.shadow is None:
            return
        with self._changed:
            self._waiting.extend(jobs)
            while len(self._waiting) > self._most:
                self._waiting.popleft()
                self.left_out += 1
            self._changed.notify_all()

    def _run(self) -> None:
        while jobs := self._take():
            model = self._models.shadow
            if model is None:
                continue
            try:
                self._history.add_shadows(list(self._judged(model, jobs)))
            except MuadError as error:
                self.left_out += len(jobs)
                _log.warning("what %s in shadow says is not recorded: %s", model.id, error)
            except Exception:  # noqa: BLE001  logged and counted
                self.left_out += len(jobs)
                _log.exception("the model in shadow failed")

    def _take(self) -> list[Job]:
        with self._changed:
            while not self._waiting and not self._ended:
                self._changed.wait()
            return [self._waiting.popleft() for _ in range(min(self._batch_size, len(self._waiting)))]

    def _judged(self, model: LoadedModel, jobs: Sequence[Job]) -> Iterator[ShadowJudgement]:
        """What it says; of a category that it was not trained on, what it recognises."""
        predictor = model.predictor
        looks = []
        for job in jobs:
            category = job.asked.category if job.asked.category in predictor.categories else None
            try:
                looks.append(predictor.look(Photograph(job.asked.upload.image, category), keep_image=False))
            except ConfigError as error:  # it has to be told a category that it knows
                looks.append(Look(prediction=ImagePrediction(path=None, category=None, error=str(error))))
        for job, found in zip(jobs, predictor.judge(looks, batch_size=self._batch_size), strict=True):
            yield ShadowJudgement(
                inspection_id=job.id,
                model_id=model.id,
                verdict="error" if found.error is not None else found.verdict or "no verdict",
                score=found.score,
                p_value=found.p_value,
                judged_as=found.category,
            )
