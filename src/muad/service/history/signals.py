"""Signals of drift: which quantity has left what the calibration showed, since when, and which parts show it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from muad.service.history.faults import NotRecordedError
from muad.service.history.record import DriftSignal
from muad.service.history.tables import DriftSignalRow, stored_text, table_of

_SIGNALS = table_of(DriftSignalRow)


def keep_signal(connection: Connection, signal: DriftSignal) -> None:
    """Keep a signal that was raised."""
    connection.execute(sa.insert(_SIGNALS), {**asdict(signal), "parts": list(signal.parts)})


def end_signal(connection: Connection, signal_id: str, at: datetime, note: str | None) -> None:
    """Say that a signal is over, and why.

    Raises:
        NotRecordedError: There is no such signal, or it has ended.
    """
    is_open = (_SIGNALS.c.id == stored_text(signal_id)) & _SIGNALS.c.ended_at.is_(None)
    if connection.execute(sa.update(_SIGNALS).where(is_open).values(ended_at=at, note=note)).rowcount != 1:
        raise NotRecordedError(f"signal must be one that has not ended, got {signal_id[:40]!r}.")


def list_signals(
    connection: Connection, since: datetime | None, station: str | None, judged_as: str | None, open_only: bool
) -> list[DriftSignal]:
    """Signals, the newest first."""
    query = sa.select(_SIGNALS).order_by(_SIGNALS.c.raised_at.desc(), _SIGNALS.c.id.desc())
    if since is not None:
        query = query.where(_SIGNALS.c.raised_at >= since)
    if station is not None:
        query = query.where(_SIGNALS.c.station == stored_text(station))
    if judged_as is not None:
        query = query.where(_SIGNALS.c.judged_as == stored_text(judged_as))
    if open_only:
        query = query.where(_SIGNALS.c.ended_at.is_(None))
    rows = connection.execute(query).mappings()
    return [DriftSignal(**{**row, "parts": tuple(row["parts"])}) for row in rows]
