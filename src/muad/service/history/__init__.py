"""The station's memory: what was judged, what people said, and the pictures.

`History` is the way in; `record` has what it gives and takes, `tables` what lies in the database, `pictures` what lies
beside it. Nothing here knows of HTTP.
"""

from __future__ import annotations

from muad.service.history.disk import Disk
from muad.service.history.faults import DiskFullError, HistoryError, HistoryUnavailableError, NotRecordedError
from muad.service.history.filters import InspectionFilter
from muad.service.history.history import History
from muad.service.history.ids import new_id, now
from muad.service.history.pictures import Pictures
from muad.service.history.record import (
    OUTCOMES,
    Change,
    DriftSignal,
    Inspection,
    Kept,
    Model,
    NewInspection,
    Outcome,
    ShadowJudgement,
    Word,
)
from muad.service.history.search import Page
from muad.service.history.settings import HistorySettings

__all__ = [
    "OUTCOMES",
    "Change",
    "Disk",
    "DiskFullError",
    "DriftSignal",
    "History",
    "HistoryError",
    "HistorySettings",
    "HistoryUnavailableError",
    "Inspection",
    "InspectionFilter",
    "Kept",
    "Model",
    "NewInspection",
    "NotRecordedError",
    "Outcome",
    "Page",
    "Pictures",
    "ShadowJudgement",
    "Word",
    "new_id",
    "now",
]
