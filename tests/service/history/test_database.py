import sqlite3
import subprocess
import sys

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from muad.errors import ConfigError
from muad.service.history import History, HistoryError, HistoryUnavailableError, InspectionFilter
from muad.service.history.people import note_change
from muad.service.history.tables import Base


def test_migrations_make_the_tables_that_are_described(history):
    with history.database.reading() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
        indexes = {index["name"] for index in sa.inspect(connection).get_indexes("inspections")}
    assert differences == []
    assert {index.name for index in Base.metadata.tables["inspections"].indexes} <= indexes


def test_a_history_that_a_newer_release_has_written_is_refused_in_one_line(history, url):
    with history.database.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(HistoryError, match=r"older release, got tables 9999") as told:
        History(url)
    assert "\n" not in str(told.value)


STARTS = """
import os, sys
from muad.service.history import History, InspectionFilter
read, write = os.pipe()
children = []
for _ in range(4):
    if (child := os.fork()) == 0:
        os.close(write)
        os.read(read, 1)  # all at once
        history = History(sys.argv[1])
        history.counts(InspectionFilter(), by="verdict")
        history.close()
        os._exit(0)
    children.append(child)
os.close(write)
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""


def test_processes_that_start_at_once_make_one_history(tmp_path, make_postgres_database):
    for url in (f"sqlite:///{tmp_path / 'history.sqlite'}", make_postgres_database("template1")):
        ran = subprocess.run([sys.executable, "-c", STARTS, url], check=False, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        History(url).close()


def test_what_is_committed_is_flushed(sqlite_history):
    with sqlite_history.database.reading() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_part_with_a_word_cannot_be_deleted_not_even_by_hand(history, inspect):
    (one,) = history.record([inspect()])
    history.add_word(one.id, who="anna", word="good")
    with pytest.raises(sa.exc.IntegrityError), history.database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM inspections")
    assert history.get(one.id).word == "good"


def test_what_raises_in_a_transaction_is_taken_back(history):
    def broken_off():
        with history.database.writing() as connection:
            note_change(connection, "anna", "limit", "bolt.reject")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken_off()
    assert history.changes() == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("history.sqlite", "history.url must be like sqlite:///history.sqlite"),
        ("mysql://root@host/x", "history.url must begin with sqlite:// or postgresql://, got mysql"),
        ("sqlite://", "history.url must name a file"),
        ("sqlite:///:memory:", "history.url must name a file"),
        ("sqlite:///a?mode=memory", "history.url must name a file"),
    ],
)
def test_a_url_that_names_no_database_is_refused(url, message):
    with pytest.raises(ConfigError, match=message):
        History(url)


def test_a_file_that_is_no_history_is_left_as_it_is(tmp_path):
    file = tmp_path / "history.sqlite"
    file.write_bytes(b"these are notes of a meeting" * 100)
    with pytest.raises(HistoryError, match="history must be a database of muad"):
        History(f"sqlite:///{file}")
    assert file.read_bytes().startswith(b"these are notes")


def test_a_folder_in_the_place_of_the_file_is_told(tmp_path):
    with pytest.raises(HistoryError, match="history must be"):
        History(f"sqlite:///{tmp_path}")


def test_a_server_that_is_away_is_told_without_its_password():
    with pytest.raises(HistoryUnavailableError, match="history must be reachable") as told:
        History("postgresql://anna:secret@127.0.0.1:9/history")
    assert "secret" not in str(told.value)


def test_a_server_that_ends_connections_is_asked_again(postgres_url, inspect):
    history, other = History(postgres_url), sa.create_engine(postgres_url.replace("://", "+psycopg://"))
    with other.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    other.dispose()
    assert len(history.record([inspect()])) == 1
    history.close()


def test_another_process_that_writes_too_long_is_told(sqlite_history, inspect):
    with sqlite_history.database.reading() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 20")
    other = sqlite3.connect(sqlite_history.database.file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(HistoryUnavailableError, match="got another process that writes"):
        sqlite_history.record([inspect()])
    assert sqlite_history.counts(InspectionFilter(), by="verdict") == {}, "readers do not wait"
    other.execute("ROLLBACK")
    other.close()
    assert len(sqlite_history.record([inspect()])) == 1
