"""Follows the parts of a station as they are recorded, and keeps the signals that are raised.

It reads the history in the order of recording, so several processes that share one follow the same parts; a signal that
stands already is not kept twice. It works in a thread of its own: nothing waits for it, and what goes wrong here stops
no inspection. After a restart the tests begin with the first parts of the model, which are what later ones are compared
with, and the last ones.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from muad.errors import ConfigError
from muad.service.followup.audit import audit_secret
from muad.service.followup.baseline import Baseline, read_baselines
from muad.service.followup.drift import FROM_THE_START, SCORE, DriftSettings, Ended, Part, ProductWatch, Signal
from muad.service.followup.sequential import LARGEST_REFERENCE
from muad.service.history import History, Inspection, InspectionFilter, NotRecordedError, now
from muad.service.history.record import DriftSignal

_LAST_PARTS: Final = 2_000
_AT_ONCE: Final = 500
_RETRY_S: Final = 5.0
_LOOK_S: Final = 2.0  # how often the file of a model is looked at
_ACCEPTED: Final = "accepted by "  # begins the note of a signal that a person ended
_Stamp = tuple[int, int] | None
_log = logging.getLogger("muad.station")


class Follower:
    """Follows all products of a station.

    Args:
        history: Where parts are recorded, and signals kept.
        settings: How rare false alarms are to be.
        folder: Of the station; its secret also breaks ties.
        place_of: Where the file or folder of a model lies, by its id; None for one that is gone.
    """

    def __init__(
        self, history: History, settings: DriftSettings, folder: Path, place_of: Callable[[str], Path | None]
    ) -> None:
        self._history, self._settings, self._place_of = history, settings, place_of
        self._seed = hashlib.sha256(b"ties" + audit_secret(folder)).hexdigest()
        self._watches: dict[tuple[str, str], tuple[str, ProductWatch]] = {}
        self._baselines: dict[str, tuple[float, _Stamp, dict[str, Baseline]]] = {}
        self._last: str | None = None
        self._accepted: list[DriftSignal] = []
        self._known_accepted: set[str] = set()
        self._news, self._ended, self._lock = threading.Event(), threading.Event(), threading.RLock()
        self._thread = threading.Thread(target=self._run, name="muad-follow", daemon=True)
        self.faults = 0

    def start(self) -> None:
        """Begin to follow, from what the history holds."""
        if self._settings.enabled:
            self._thread.start()

    def stop(self) -> None:
        """Follow no more; what was recorded last is followed after the next start."""
        self._ended.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join()

    def see(self, _: Sequence[Inspection]) -> None:
        """Say that something was recorded."""
        self._news.set()

    def statistics(self) -> dict[tuple[str, str], dict[str, float]]:
        """By station and product, how far each quantity is on its way to a signal: 1 raises one."""
        with self._lock:
            return {key: watch.statistics() for key, (_, watch) in self._watches.items()}

    def accept(self, signal_id: str, who: str, reason: str) -> DriftSignal:
        """Say that what a signal says is known: it ends, and what its quantity is now counts as usual.

        Scores are compared with the calibration, which only `recalibrate` or `calibrate` changes; their signal ends and
        is raised again as long as they differ.

        Raises:
            ConfigError: No reason is given.
            NotRecordedError: No signal of this id stands.
        """
        if not reason.strip():
            raise ConfigError("reason must be given, got none. Say what is known of it, such as: new lamp.")
        signal = next((one for one in self._history.signals(open_only=True) if one.id == signal_id), None)
        if signal is None:
            raise NotRecordedError(f"signal must be one that stands, got {signal_id[:40]!r}.")
        self._history.end_signal(signal_id, now(), f"{_ACCEPTED}{who}: {reason}"[:4000])
        return signal

    def catch_up(self) -> int:
        """Follow everything recorded since; how many parts that were. What `start` does again and again."""
        done = 0
        while found := self._history.since(self._last, _AT_ONCE if self._last else 1):
            self._look_for_accepted()
            if self._last is None:  # the first time: what there is counts as seen once it was replayed
                self._last = found[-1].id
                self._replay(found[-1])
                continue
            for one in found:
                self._follow(one)
            self._last = found[-1].id
            done += len(found)
            if self._ended.is_set():
                break
        return done

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self.catch_up()
            except Exception:  # noqa: BLE001  whatever it is, inspection goes on
                self.faults += 1
                _log.exception("following parts failed; it is tried again")
                self._ended.wait(_RETRY_S)
            self._news.wait(_RETRY_S)
            self._news.clear()

    def _replay(self, newest: Inspection) -> None:
        """The parts that the model in force began with, and the last ones, of each product and station."""
        if newest.model_id is None:
            return
        for product in self._history.counts(InspectionFilter(model_id=newest.model_id), by="judged_as"):
            if product is None:
                continue
            wanted = InspectionFilter(model_id=newest.model_id, judged_as=product)
            first = list(islice(self._history.stream(wanted), LARGEST_REFERENCE))
            for one in first:
                if one.number <= newest.number:
                    self._follow(one)
            if first:
                for one in self._newest(wanted, first[-1].number):
                    if one.number <= newest.number:
                        self._follow(one)
            if self._ended.is_set():
                return

    def _newest(self, wanted: InspectionFilter, after: int) -> Iterator[Inspection]:
        """The last parts, the oldest first, but none up to that number."""
        found: list[Inspection] = []
        cursor = None
        while len(found) < _LAST_PARTS:
            page = self._history.search(wanted, cursor, _AT_ONCE)
            found += [one for one in page.inspections if one.number > after]
            cursor = page.cursor
            if cursor is None or page.inspections[-1].number <= after:
                break
        return reversed(found)

    def _follow(self, one: Inspection) -> None:
        if one.judged_as is None or one.model_id is None:
            return
        key = (one.station, one.judged_as)
        with self._lock:
            self._accept_until(key, one.at)
            watch = self._watch(key, one.model_id)
            if watch is None:
                return
            for found in watch.see(_part(one)):
                self._keep(key, found)

    def _look_for_accepted(self) -> None:
        """What people have accepted since, here or in another process."""
        for one in self._history.signals():
            if (one.note or "").startswith(_ACCEPTED) and one.id not in self._known_accepted:
                self._known_accepted.add(one.id)
                self._accepted.append(one)

    def _accept_until(self, key: tuple[str, str], at: datetime) -> None:
        for one in tuple(self._accepted):
            if (one.station, one.judged_as) == key and one.ended_at is not None and one.ended_at <= at:
                self._accepted.remove(one)
                if key in self._watches:
                    self._watches[key][1].accept(one.quantity)

    def _watch(self, key: tuple[str, str], model_id: str) -> ProductWatch | None:
        """The tests of a product; new ones where another model judges it, or it was calibrated anew."""
        baseline = self._baselines_of(model_id).get(key[1], Baseline())
        known = self._watches.get(key)
        if known is not None and known[0] == model_id and known[1].baseline == baseline:
            return known[1]
        watch = ProductWatch(baseline, self._settings, self._seed)
        if known is not None:
            why = "another model judges" if known[0] != model_id else "it was calibrated anew"
            self._end_all(key, f"{why}, so everything is compared anew")
        self._watches[key] = model_id, watch
        return watch

    def _baselines_of(self, model_id: str) -> dict[str, Baseline]:
        """What a model was calibrated with, read again when its file is another one."""
        looked_at, stamp, known = self._baselines.get(model_id, (-_LOOK_S, None, {}))
        if time.monotonic() - looked_at < _LOOK_S:
            return known
        place = self._place_of(model_id)
        found = None if place is None else _stamp(place)
        if place is not None and found is not None and found != stamp:
            known = read_baselines(place)
        self._baselines[model_id] = time.monotonic(), found or stamp, known
        return known

    def _keep(self, key: tuple[str, str], found: Signal | Ended) -> None:
        station, product = key
        kept = self._history.signals(station=station, judged_as=product)
        own = [one for one in kept if one.quantity == found.quantity]
        if isinstance(found, Ended):
            for one in own:
                if one.ended_at is None and one.raised_at <= found.at:
                    self._history.end_signal(one.id, found.at, f"nothing of it was seen in {found.parts} parts")
            return
        if any(one.ended_at is None or one.raised_at >= found.raised_at for one in own):
            return  # it stands, or this is the past, seen again after a restart
        name = f"{station}\n{product}\n{found.quantity}\n{found.raised_at.isoformat()}"
        self._history.add_signal(
            DriftSignal(
                id=_signal_id(found.raised_at, name),
                station=station,
                judged_as=product,
                quantity=found.quantity,
                direction=found.direction,
                began_at=found.began_at,
                raised_at=found.raised_at,
                inspections=found.parts,
                statistic=found.statistic,
                threshold=found.threshold,
                parts=found.shown_by,
            )
        )
        said = (product, station, found.quantity, found.direction, found.began_at)
        _log.warning("drift of %s at %s: %s is %s since %s", *said)

    def _end_all(self, key: tuple[str, str], note: str) -> None:
        for one in self._history.signals(station=key[0], judged_as=key[1], open_only=True):
            self._history.end_signal(one.id, now(), note)


class DriftCollector:
    """What Prometheus is told of drift.

    Args:
        follower: Whose.
        history: Where signals are.
        registry: It joins this one.
    """

    def __init__(self, follower: Follower, history: History, registry: CollectorRegistry) -> None:
        self._follower, self._history = follower, history
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """The numbers as they are now."""
        names = ["station", "product", "quantity"]
        statistic = GaugeMetricFamily(
            "muad_drift_statistic_share", "Statistic of the drift test as a share of its threshold.", labels=names
        )
        for (station, product), shares in self._follower.statistics().items():
            for quantity, share in shares.items():
                statistic.add_metric([station, product, quantity], share)
        yield statistic
        standing = GaugeMetricFamily("muad_drift_signal", "Drift signals that stand: 1 for each.", labels=names)
        for one in self._history.signals(open_only=True):
            standing.add_metric([one.station, one.judged_as or "", one.quantity], 1)
        yield standing
        yield CounterMetricFamily("muad_drift_faults", "How often following parts failed.", value=self._follower.faults)


def explain(signal: DriftSignal) -> str:
    """A signal in a sentence."""
    what = {"higher": "is higher", "lower": "is lower", "wider": "varies more", "more": "are more than explained"}
    return (
        f"{signal.quantity} {what[signal.direction]} since {signal.began_at:%Y-%m-%d %H:%M} UTC, raised after "
        f"{signal.inspections} parts" + ("; calibrate anew" if signal.quantity in (SCORE, FROM_THE_START) else "")
    )


def _part(one: Inspection) -> Part:
    return Part(
        id=one.id,
        at=one.at,
        verdict=one.verdict,
        score=one.score,
        product_p=one.product_p,
        brightness=one.brightness,
        sharpness=one.sharpness,
    )


def _signal_id(at: datetime, name: str) -> str:
    """The same in every process, and in the order of time."""
    return f"{int(at.timestamp() * 1000):012x}{hashlib.sha256(name.encode()).hexdigest()[:20]}"


def _stamp(place: Path) -> _Stamp:
    try:
        found = (place if place.is_file() else place / "calibration.json").stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
