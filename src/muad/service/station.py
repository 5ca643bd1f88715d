"""A station: its folder, and everything that was opened for it. Nothing else in the process is shared.

station = open_station(Path("station"), Path("bolts.muad"))
station.start()
job, = station.judge.submit([Asked(upload=..., station="line 1")])
job.done.result()
station.stop()
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from starlette.requests import HTTPConnection

from muad.errors import DataError
from muad.service.access.access import Access
from muad.service.followup.audit import Audit, audit_secret
from muad.service.followup.follower import DriftCollector, Follower
from muad.service.followup.observing import note_share
from muad.service.gateways.opening import GatewayMetrics, Gateways
from muad.service.gateways.submitting import Submitter
from muad.service.history import History, HistoryError, Pictures
from muad.service.history.disk import Disk
from muad.service.history.upkeep.retainer import Retainer
from muad.service.history.upkeep.retention import Retention
from muad.service.judging.feed import Feed
from muad.service.judging.judge import Judge
from muad.service.judging.limits import StationLimits
from muad.service.judging.metrics import Metrics
from muad.service.judging.models import Models
from muad.service.judging.shadow import Shadow
from muad.service.settings import StationSettings, read_settings

LOCK_FILE = ".station.lock"
_log = logging.getLogger("muad.station")


class Station:
    """Get it from `open_station`.

    Attributes:
        folder: Where everything of it lies.
        settings: As station.toml says.
        disk: Whether there is room.
        history: What was judged.
        access: Who may do what.
        pictures: Photographs and maps.
        retainer: Removes what need not be kept any longer.
        models: What judges.
        shadow: What judges along.
        audit: Which parts people are asked about whatever the verdict.
        judge: Where photographs go.
        follower: Whether anything changes.
        gateways: Ways in and out that station.toml asks for.
        metrics: What Prometheus is told.
        feed: Says that there is something new.
        limits: What is rejected, what would be, and setting it.
        stopping: Set when it is about to end: what waits for news has to end, too.
    """

    def __init__(self, folder: Path, settings: StationSettings, note: Callable[[str], None]) -> None:
        self.folder, self.settings = folder, settings
        self.stopping = threading.Event()
        self.disk = Disk(folder, settings.history.reserve_mb)
        self._lock = _lock_of(folder)
        self.history = History(settings.history.url_in(folder), self.disk)
        self.access = Access(self.history.database, settings.access)
        self.pictures = Pictures(folder, self.disk)
        if self._lock.is_first and (left := self.pictures.sweep()):
            _log.warning("%d half-written pictures of a process that was killed were removed", left)
        self._tidy = self._lock.is_first
        self._lock.share()
        retention = Retention(self.history, self.pictures, settings.history)
        self.retainer = Retainer(retention, settings.history.retain_every_minutes)
        judging = settings.judging
        self.models = Models(folder, self.history, judging, note)
        self.audit = Audit(audit_secret(folder), settings.audit.share)
        self.judge = Judge(self.models, self.history, self.pictures, judging, self.audit.drawn)
        self.shadow = Shadow(self.models, self.history, judging.batch_size, judging.queue)
        self.metrics = Metrics()
        self.metrics.watch(self.judge, self.models, self.shadow, self.disk)
        self.judge.job_listeners += [self.metrics.see, self.shadow.follow]
        self.gateways = Gateways(settings, folder, settings.uploads.file_bytes)
        self.metrics.registry.register(GatewayMetrics(self.gateways))
        self.judge.listeners.append(self.gateways.see)
        self.feed = Feed()
        self.judge.listeners.append(self.feed.recorded)
        self.limits = StationLimits(self.history, note)
        self.follower = Follower(self.history, settings.drift, folder, self.models.place_of)
        DriftCollector(self.follower, self.history, self.metrics.registry)
        self.judge.listeners.append(self.follower.see)

    def troubles(self) -> list[str]:
        """What keeps it from judging now, in sentences; empty if it is ready."""
        found = []
        if self.stopping.is_set() or self.judge.waiting.closed:
            found.append("the station ends")
        elif not self.judge.is_working:
            found.append("the judge has stopped because of a fault inside: start the station again, the log says more")
        room = self.disk.room()
        if not room.is_enough:
            found.append(f"the disk is full: {room.free / 1e6:.0f} MB free, {room.reserve / 1e6:.0f} MB are kept")
        try:
            self.history.models()
        except HistoryError as error:
            found.append(str(error))
        return found

    def start(self) -> None:
        """Begin to judge."""
        self.retainer.start(tidy=self._tidy)
        note_share(self.history, self.audit.share)
        self.shadow.start()
        self.judge.start()
        self.follower.start()
        uploads, name = self.settings.uploads, self.settings.service.name
        self.gateways.start(Submitter(self.judge, self.models, self.history, uploads, name), self.history)

    def stop(self) -> None:
        """End what was accepted, and close."""
        self.stopping.set()
        self.gateways.stop_inlets()
        self.judge.stop()
        self.gateways.close()
        self.follower.stop()
        self.shadow.stop()
        self.models.stop()
        self.retainer.stop()
        self.close()

    def close(self) -> None:
        """Close what was opened of one that was never started, or is stopped."""
        self.history.close()
        self._lock.release()


def open_station(
    folder: Path,
    model: Path | None = None,
    *,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> Station:
    """A station with its model opened, which does not judge yet.

    Args:
        folder: Its folder; made if it is not there.
        model: A bundle or run folder, for a station that has none, or is to have another one.
        overrides: Settings by section and key that go before those of station.toml.
        note: Called with sentences for whoever starts it.

    Raises:
        ConfigError: A setting cannot be.
        CheckpointError: There is no model, or it cannot be used.
        HistoryError: Its history cannot be opened.
        DataError: Its folder cannot be made.
    """
    settings = read_settings(folder, overrides)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"station must have a folder, got {folder} ({error.strerror}). Name another.") from None
    station = Station(folder.resolve(), settings, note)
    try:
        station.models.start(model)
    except BaseException:
        station.close()
        raise
    return station


def station_of(connection: HTTPConnection) -> Station:
    """The station that a request is for; a dependency of routes."""
    station: Station = connection.app.state.station
    return station


class _Lock:
    """Held by every process of a station, so that the first one knows that it is the first."""

    def __init__(self, file: IO[bytes] | None, is_first: bool) -> None:
        self._file, self.is_first = file, is_first

    def share(self) -> None:
        """Let other processes begin."""
        if self._file is not None:
            import fcntl

            fcntl.flock(self._file, fcntl.LOCK_SH)

    def release(self) -> None:
        """Say that this process is done."""
        if self._file is not None:
            self._file.close()


def _lock_of(folder: Path) -> _Lock:
    try:
        import fcntl
    except ImportError:  # Windows, where a station is one process
        return _Lock(None, is_first=True)
    file = (folder / LOCK_FILE).open("wb")
    first = False
    with suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        first = True
    return _Lock(file, first)
