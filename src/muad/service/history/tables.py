"""The tables of the history. A change here is a migration in `migrations/versions`; a test holds them to each other.

Times are UTC with microseconds. Ids sort by time; `number` is the order of recording.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class UtcTime(sa.TypeDecorator[datetime]):
    """A moment: `timestamp with time zone` in PostgreSQL; text in UTC that sorts by time in SQLite."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Into the database, as UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"time must have a zone, got {value.isoformat()}")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Out of the database, with its zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Rising = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # in SQLite only an INTEGER key is the row's own number


class Base(DeclarativeBase):
    """What all tables are listed in."""

    metadata = sa.MetaData(
        naming_convention={  # a constraint without a name cannot be changed by a later migration
            "ix": "%(table_name)s_%(column_0_name)s",
            "uq": "%(table_name)s_%(column_0_name)s_once",
            "fk": "%(table_name)s_%(column_0_name)s_there",
            "pk": "%(table_name)s_key",
        }
    )
    type_annotation_map = {  # noqa: RUF012
        datetime: UtcTime(),
        float: sa.Double,
        dict[str, Any]: sa.JSON,
        list[Any]: sa.JSON,
    }


def table_of(row: type[Base]) -> sa.Table:
    """The table that a class describes."""
    table = row.__table__
    if not isinstance(table, sa.Table):
        raise TypeError(f"row must describe a table, got {row.__name__}")
    return table


def stored_text(value: str) -> str:
    """A text to look for; one that no database can hold is looked for as something that is not there."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode("utf-8")


# Few parts are any of these, and many questions are about them: each has an index of its own. A database uses it for
# a question that says the same words.
NOT_PASSED, HAS_WORD, IN_AUDIT = "inspections.verdict <> 'pass'", "inspections.word IS NOT NULL", "inspections.in_audit"
HAS_PICTURES = "inspections.photo IS NOT NULL AND NOT inspections.pictures_removed AND inspections.word IS NULL"
"""Pictures that retention may remove."""


def _only(name: str, where: str, *columns: str) -> sa.Index:
    """An index of some parts alone, by time."""
    those = sa.text(where.replace("inspections.", ""))
    return sa.Index(name, "at", "number", *columns, sqlite_where=those, postgresql_where=those)


class InspectionRow(Base):
    """One part that was looked at."""

    __tablename__ = "inspections"

    number: Mapped[int] = mapped_column(Rising, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(unique=True)
    at: Mapped[datetime]
    station: Mapped[str]
    source: Mapped[str]
    category: Mapped[str | None]
    judged_as: Mapped[str | None]
    recognised: Mapped[str | None]
    verdict: Mapped[str]
    score: Mapped[float | None]
    p_value: Mapped[float | None]
    review_above: Mapped[float | None]
    reject_above: Mapped[float | None]
    map_limit: Mapped[float | None]
    normal_value: Mapped[float | None]
    limit_value: Mapped[float | None]
    reasons: Mapped[list[Any]]
    notice: Mapped[str | None]
    regions: Mapped[list[Any]]
    highest: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True))
    width: Mapped[int | None]
    height: Mapped[int | None]
    model_id: Mapped[str | None]
    serial: Mapped[str | None]
    lot: Mapped[str | None]
    extras: Mapped[dict[str, Any]]
    idempotency_key: Mapped[str | None] = mapped_column(unique=True)
    photo: Mapped[str | None]
    photo_sha256: Mapped[str | None]
    photo_bytes: Mapped[int | None] = mapped_column(sa.BigInteger)
    map: Mapped[str | None]
    map_sha256: Mapped[str | None]
    map_bytes: Mapped[int | None] = mapped_column(sa.BigInteger)
    map_low: Mapped[float | None]
    map_high: Mapped[float | None]
    error: Mapped[str | None]
    times: Mapped[dict[str, Any]]
    brightness: Mapped[float | None]
    sharpness: Mapped[float | None]
    product_p: Mapped[float | None]
    in_audit: Mapped[bool]
    word: Mapped[str | None]
    word_at: Mapped[datetime | None]
    pictures_removed: Mapped[bool]

    # Each is read from one end to give a page of the newest, and holds what is filtered by besides, so that only the
    # rows of the page itself are fetched. Which one is read is said in `search.py`.
    __table_args__ = (
        sa.Index("inspections_at", "at", "number", "station", "judged_as", "verdict", "score", "model_id"),
        sa.Index("inspections_station", "station", "at", "number", "judged_as", "verdict", "score", "model_id"),
        sa.Index("inspections_judged_as", "judged_as", "at", "number", "verdict", "score", "station", "model_id"),
        sa.Index("inspections_model", "model_id", "at", "number", "judged_as", "verdict", "score", "station"),
        sa.Index("inspections_score", "score", "at", "number", "judged_as", "verdict", "station", "model_id"),
        sa.Index("inspections_serial", "serial", "at", "number"),
        sa.Index("inspections_lot", "lot", "at", "number"),
        _only("inspections_stopped", NOT_PASSED, "word", "verdict", "judged_as", "station", "score", "model_id"),
        _only("inspections_spoken", HAS_WORD, "word", "verdict", "judged_as", "station", "score", "model_id"),
        _only("inspections_pictured", HAS_PICTURES, "verdict", "photo_bytes", "map_bytes"),
        _only("inspections_audit", IN_AUDIT, "word", "verdict", "judged_as", "station"),
        {"sqlite_autoincrement": True},
    )


class ShadowRow(Base):
    """What another model would have said of the same part."""

    __tablename__ = "shadow_judgements"

    inspection_id: Mapped[str] = mapped_column(sa.ForeignKey("inspections.id", ondelete="CASCADE"), primary_key=True)
    model_id: Mapped[str] = mapped_column(primary_key=True)
    verdict: Mapped[str]
    score: Mapped[float | None]
    p_value: Mapped[float | None]
    judged_as: Mapped[str | None]

    __table_args__ = (sa.Index("shadow_judgements_model", "model_id", "inspection_id"),)


class WordRow(Base):
    """What a person said. The part it is about cannot be deleted."""

    __tablename__ = "words"

    id: Mapped[str] = mapped_column(primary_key=True)
    inspection_id: Mapped[str] = mapped_column(sa.ForeignKey("inspections.id", ondelete="RESTRICT"), index=True)
    at: Mapped[datetime] = mapped_column(index=True)
    who: Mapped[str]
    word: Mapped[str]
    defect_type: Mapped[str | None]
    note: Mapped[str | None]
    mask: Mapped[str | None]


class ModelRow(Base):
    """A model the station has loaded."""

    __tablename__ = "models"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    path: Mapped[str]
    loaded_at: Mapped[datetime]
    loaded_by: Mapped[str]
    state: Mapped[str]
    detector: Mapped[str]
    categories: Mapped[list[Any]]
    muad: Mapped[str]


class ChangeRow(Base):
    """Who did what; only added to."""

    __tablename__ = "changes"

    id: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    who: Mapped[str]
    kind: Mapped[str]
    subject: Mapped[str]
    old: Mapped[str | None]
    new: Mapped[str | None]
    reason: Mapped[str | None]

    __table_args__ = (sa.Index("changes_kind", "kind", "subject", "at"),)


class TokenRow(Base):
    """A token, by its digest."""

    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    role: Mapped[str]
    digest: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class LoginRow(Base):
    """A browser that has logged in with a token."""

    __tablename__ = "logins"

    id: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(unique=True)
    token_id: Mapped[str] = mapped_column(sa.ForeignKey("tokens.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    csrf: Mapped[str]


class DriftSignalRow(Base):
    """A quantity that has left what the calibration showed."""

    __tablename__ = "drift_signals"

    id: Mapped[str] = mapped_column(primary_key=True)
    station: Mapped[str]
    judged_as: Mapped[str | None]
    quantity: Mapped[str]
    direction: Mapped[str]
    began_at: Mapped[datetime]
    raised_at: Mapped[datetime] = mapped_column(index=True)
    inspections: Mapped[int]
    statistic: Mapped[float]
    threshold: Mapped[float]
    parts: Mapped[list[Any]]
    ended_at: Mapped[datetime | None]
    note: Mapped[str | None]
