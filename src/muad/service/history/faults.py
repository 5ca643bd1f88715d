"""What can go wrong with the history, each with an answer of its own in the service."""

from __future__ import annotations

from muad.errors import MuadError


class HistoryError(MuadError):
    """The history cannot be opened or used as it is."""


class DiskFullError(HistoryError):
    """There is no room to record: 507, and readiness is red until there is."""


class HistoryUnavailableError(HistoryError):
    """The database does not answer now: 503, and it may answer again by itself."""


class NotRecordedError(HistoryError):
    """No such inspection, model or picture is in the history, or it is no longer: 404."""
