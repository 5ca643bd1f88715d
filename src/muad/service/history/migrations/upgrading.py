"""Bringing a database to the tables of this release, when it is opened; several processes may do so at once."""

from __future__ import annotations

from importlib.resources import files

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection, Engine

from muad._version import __version__
from muad.service.history.faults import HistoryError

_UPGRADING_LOCK = 0x6D756165


def alembic_config(connection: Connection | None = None) -> Config:
    """What Alembic needs to know; also for `alembic.command` in the hands of a colleague."""
    config = Config()
    config.set_main_option("script_location", str(files("muad.service.history") / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def upgrade(engine: Engine) -> None:
    """Make the tables those of this release, all or nothing.

    Args:
        engine: Whose transactions are for writing.

    Raises:
        HistoryError: A newer release has written it.
    """
    script = ScriptDirectory.from_config(alembic_config())
    head = script.get_current_head()
    with engine.connect() as connection:
        if _revision(connection, script) == head:
            return
        connection.rollback()
        with connection.begin():  # who comes second waits here, and finds nothing to do
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_UPGRADING_LOCK)))
            if _revision(connection, script) != head:
                command.upgrade(alembic_config(connection), "head")


def _revision(connection: Connection, script: ScriptDirectory) -> str | None:
    """Where the database stands."""
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in {known.revision for known in script.walk_revisions()}:
        raise HistoryError(
            f"history must be written by muad {__version__} or an older release, got tables {current}. Install the "
            "release that wrote it, or a newer one."
        )
    return current
