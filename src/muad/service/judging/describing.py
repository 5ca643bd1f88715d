"""From a prediction to what is recorded: regions, the small map, the pictures; full-size maps go no further."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from muad.service.history import NewInspection, Pictures
from muad.service.history.record import LONGEST_TEXT
from muad.service.judging.job import Job

if TYPE_CHECKING:
    from muad.runtime.prediction import ImagePrediction


def describe(job: Job, found: ImagePrediction, pictures: Pictures, keep_maps: bool) -> NewInspection:
    """What is recorded of a job; its pictures are on the disk when this returns.

    Raises:
        DiskFullError: There is no room for them.
    """
    began = time.perf_counter()
    regions, highest = found.regions, found.highest
    described = time.perf_counter()
    kept = pictures.keep(
        job.id, job.at, job.asked.upload.content, job.asked.upload.suffix, found.anomaly_map if keep_maps else None
    )
    job.times |= {"regions": _ms(began, described), "pictures": _ms(described, time.perf_counter())}
    asked, limits, capture = job.asked, found.limits, found.capture
    size = None if job.look is None else job.look.size
    return NewInspection(
        id=job.id,
        at=job.at,
        station=asked.station,
        source=asked.source,
        verdict="error" if found.error is not None else found.verdict or "no verdict",
        category=asked.category,
        judged_as=found.category,
        recognised=found.recognised_category,
        score=found.score,
        p_value=found.p_value,
        review_above=None if limits is None else limits.review,
        reject_above=None if limits is None else limits.reject,
        map_limit=found.map_limit,
        colour_scale=found.colour_scale,
        reasons=found.reasons,
        notice=_short(found.notice),
        regions=regions,
        highest=highest,
        width=None if size is None else size[1],
        height=None if size is None else size[0],
        model_id=job.model.id,
        serial=asked.serial,
        lot=asked.lot,
        extras=asked.extras,
        idempotency_key=asked.key,
        kept=kept,
        error=_short(found.error),
        times={stage: round(spent, 2) for stage, spent in job.times.items()},
        brightness=None if capture is None else capture.brightness,
        sharpness=None if capture is None else capture.sharpness,
        product_p=found.recognised_p_value,
    )


def _short(text: str | None) -> str | None:
    return None if text is None else text[:LONGEST_TEXT]


def _ms(began: float, ended: float) -> float:
    return 1000 * (ended - began)
