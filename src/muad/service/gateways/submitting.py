"""The way of a photograph from an inlet into the station: the same as by HTTP, checked, judged, recorded, shadowed."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from muad.errors import MuadError
from muad.service.gateways.base import LaterError, Submission
from muad.service.history import DiskFullError, HistoryUnavailableError, Inspection
from muad.service.judging.job import Asked
from muad.service.judging.queue import BusyError
from muad.service.judging.uploads import UploadSettings, check_upload

if TYPE_CHECKING:
    from muad.service.history import History
    from muad.service.judging.judge import Judge
    from muad.service.judging.models import Models

_LATER = (DiskFullError, HistoryUnavailableError)
_LATER_S = 2.0


class Submitter:
    """Hands photographs in; the `Submit` that inlets are started with.

    Args:
        judge: What judges them.
        models: With which models.
        history: Where it is known which came before.
        uploads: The largest that are taken.
        station: Where one was taken that does not say it.
    """

    def __init__(self, judge: Judge, models: Models, history: History, uploads: UploadSettings, station: str) -> None:
        self._judge, self._models, self._history = judge, models, history
        self._uploads, self._station = uploads, station

    def __call__(self, submission: Submission) -> Future[Inspection]:
        """Have a photograph judged."""
        answer: Future[Inspection] = Future()
        try:
            upload = check_upload(submission.content, None, self._uploads)
            key = submission.idempotency_key
            known = self._history.by_idempotency(key) if key is not None else None
            if known is not None:
                answer.set_result(known)
                return answer
            asked = Asked(
                upload=upload,
                station=submission.station or self._station,
                source=submission.source,
                category=submission.category or self._category(submission),
                serial=submission.serial,
                lot=submission.lot,
                extras=submission.extras,
                key=key,
            )
            (job,) = self._judge.submit([asked])
        except Exception as error:  # noqa: BLE001  the inlet is told, and goes on
            answer.set_exception(_told(error))
            return answer
        job.done.add_done_callback(lambda done: _pass_on(done, answer))
        return answer

    def _category(self, submission: Submission) -> str | None:
        """The innermost folder of a watched file that is named like a product."""
        if submission.source != "watch":
            return None
        known = self._models.active.predictor.categories
        return next((name for name in reversed(PurePosixPath(submission.name).parent.parts) if name in known), None)


def _pass_on(done: Future[Inspection], answer: Future[Inspection]) -> None:
    if done.cancelled():
        answer.set_exception(LaterError("the photograph was not judged"))
    elif (error := done.exception()) is not None:
        answer.set_exception(_told(error))
    else:
        answer.set_result(done.result())


def _told(error: BaseException) -> BaseException:
    """The error as inlets know it."""
    if isinstance(error, BusyError):
        return LaterError(str(error), error.retry_s)
    if isinstance(error, _LATER) or not isinstance(error, MuadError):
        return LaterError(str(error) or type(error).__name__, _LATER_S)
    return error
