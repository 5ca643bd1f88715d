"""A writer that is killed at random moments: what it has acknowledged is there, and no picture is half-written."""

import hashlib
import subprocess
import sys

import pytest

from muad.service.history import History, InspectionFilter, Pictures

WRITER = """
import hashlib, os, random, signal, sys, time
from datetime import timedelta
from pathlib import Path
import numpy as np
from muad.service.history import History, NewInspection, Pictures, ShadowJudgement, new_id, now

url, folder, kills, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
draw = random.Random(seed)

def write(pipe):
    history, pictures = History(url), Pictures(folder)
    values = np.random.default_rng(seed).random((64, 48), np.float32)
    while True:
        batch = []
        for _ in range(3):
            at = now()
            name = new_id(at)
            body = os.urandom(30_000)
            photo = hashlib.sha256(body).hexdigest().encode() + body  # a picture that says whether it is whole
            kept = pictures.keep(name, at, photo, ".jpg", values)
            batch.append(NewInspection(id=name, at=at, station="1", source="http", verdict="pass", kept=kept))
        shadows = [ShadowJudgement(inspection_id=one.id, model_id="m", verdict="pass") for one in batch]
        recorded = history.record(batch, shadows)
        os.write(pipe, "".join(one.id + "\\n" for one in recorded).encode())

for _ in range(kills):
    read, pipe = os.pipe()
    if (child := os.fork()) == 0:
        os.close(read)
        write(pipe)
    os.close(pipe)
    told = os.read(read, 4096)  # it has begun
    time.sleep(draw.random() * 0.03)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while more := os.read(read, 65536):
        told += more
    os.close(read)
    sys.stdout.write(told.decode())
"""


@pytest.mark.parametrize(("database", "kills"), [("sqlite", 24), ("postgresql", 4)])
def test_whenever_a_writer_is_killed_nothing_acknowledged_is_missing(tmp_path, request, database, kills):
    url = f"sqlite:///{tmp_path / 'history.sqlite'}"
    if database == "postgresql":
        url = request.getfixturevalue("postgres_url")
    command = [sys.executable, "-c", WRITER, url, str(tmp_path), str(kills), "7"]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    acknowledged = ran.stdout.split()
    assert len(acknowledged) >= 3 * kills
    history, pictures = History(url), Pictures(tmp_path)
    recorded = {one.id: one for one in history.stream(InspectionFilter())}
    assert set(acknowledged) <= set(recorded)
    assert len(recorded) % 3 == 0, "a batch is recorded whole"
    assert set(history.shadows(list(recorded))) == set(recorded)
    for one in recorded.values():
        photo = pictures.photo(one.kept)
        assert hashlib.sha256(photo).hexdigest() == one.kept.photo_sha256
        assert hashlib.sha256(pictures.path(one.kept.map).read_bytes()).hexdigest() == one.kept.map_sha256
    pictures.sweep()
    left = [file for file in (tmp_path / "pictures").rglob("*.*") if file.is_file()]
    for file in left:  # also those whose row was not recorded any more
        if file.name.endswith(".jpg"):
            content = file.read_bytes()
            assert content[:64].decode() == hashlib.sha256(content[64:]).hexdigest(), file
    assert not [file for file in left if file.suffix == ".draft"]
    if database == "sqlite":
        with history.database.reading() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    history.close()
