"""The ways in and out that a station's settings ask for, opened, fed and closed together."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel, ConfigDict

from muad.errors import ConfigError, DataError
from muad.service.gateways.base import Inlet, InletState, Message, OneOrMore, Outlet, Submit
from muad.service.gateways.camera import Camera, CameraSettings
from muad.service.gateways.message import inspection_message
from muad.service.gateways.mqtt import MqttOutlet, MqttSettings
from muad.service.gateways.opcua import OpcuaOutlet, OpcuaSettings
from muad.service.gateways.shift_csv import ShiftCsvSettings, ShiftTables
from muad.service.gateways.spool import Spool, SpoolSettings, SpoolState
from muad.service.gateways.spool_file import SpoolFile
from muad.service.gateways.watch_folder import WatchFolder, WatchSettings
from muad.service.gateways.webhook import WebhookOutlet, WebhookSettings
from muad.service.history import NotRecordedError
from muad.service.shifts import ShiftSettings

if TYPE_CHECKING:
    from muad.service.history import History, Inspection

_LOG = logging.getLogger(__name__)
_SPOOLS: Final = "spool"
_AT_ONCE: Final = 500


class GatewaySections(BaseModel):
    """The sections of station.toml that name ways in and out; none of them is there unless it is written.

    Attributes:
        shifts: When shifts begin.
        spool: What is kept for a far end that is away.
        mqtt: A broker.
        opcua: A server for controllers.
        webhook: Addresses that are told.
        shift_csv: A table per shift.
        watch: Folders that photographs arrive in.
        camera: What takes photographs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shifts: ShiftSettings = ShiftSettings()
    spool: SpoolSettings = SpoolSettings()
    mqtt: MqttSettings | None = None
    opcua: OpcuaSettings | None = None
    webhook: OneOrMore[WebhookSettings] = ()
    shift_csv: ShiftCsvSettings | None = None
    watch: OneOrMore[WatchSettings] = ()
    camera: OneOrMore[CameraSettings] = ()


def check_gateways(sections: GatewaySections, folder: Path) -> list[str]:
    """Check what the sections name: files, zones, addresses, folders; sentences on what a person should know.

    Args:
        sections: Of station.toml.
        folder: The station's.

    Raises:
        ConfigError: Something could not work.
    """
    sections.shifts.check()
    names: list[str] = []
    for section in (sections.mqtt, sections.opcua, sections.shift_csv, *sections.webhook):
        if section is not None:
            section.check(folder)
            names.append(section.name if isinstance(section, WebhookSettings) else section.section)
    _require_different("webhook", names)
    for camera in sections.camera:
        camera.check(folder)
    _require_different("camera", [camera.name for camera in sections.camera])
    for watch in sections.watch:
        watch.check(folder)
    _require_different("watch", [watch.name for watch in sections.watch])
    return [
        f"watch.folder {folder / watch.folder} is not there now; it is looked for until it is"
        for watch in sections.watch
        if not (folder / watch.folder).is_dir()
    ]


class Gateways:
    """All of them.

    Args:
        sections: What is wanted, checked.
        folder: The station's.
        most_bytes: Of a photograph from a folder.

    Attributes:
        cameras: By name.

    Raises:
        DataError: What waits for them cannot be kept on disk.
    """

    def __init__(self, sections: GatewaySections, folder: Path, most_bytes: int) -> None:
        outlets: list[Outlet] = []
        if sections.mqtt is not None:
            outlets.append(MqttOutlet(sections.mqtt, folder))
        if sections.opcua is not None:
            outlets.append(OpcuaOutlet(sections.opcua, folder))
        if sections.shift_csv is not None:
            outlets.append(ShiftTables(sections.shift_csv, sections.shifts, folder))
        outlets += [WebhookOutlet(webhook, folder) for webhook in sections.webhook]
        place = folder / _SPOOLS
        try:
            self._spools = [Spool(place, outlet, sections.spool) for outlet in outlets]
        except OSError as error:
            raise DataError(
                f"{place} must be a folder that can be written to, got one that cannot ({error})."
            ) from None
        _forget_others(place, {outlet.name for outlet in outlets})
        self.cameras = {camera.name: Camera(camera, folder) for camera in sections.camera}
        watched = [WatchFolder(watch, folder, most_bytes) for watch in sections.watch]
        self._inlets: list[Inlet] = [*watched, *self.cameras.values()]

    def start(self, submit: Submit, history: History) -> None:
        """Begin: first what was recorded before the last stop, and not passed on.

        Args:
            submit: What inlets hand photographs to.
            history: What was recorded.
        """
        for spool in self._spools:
            try:
                count = spool.catch_up(lambda last: _recorded_since(history, last))
            except Exception:  # noqa: BLE001  what is wrong with an outlet never stops inspection
                _LOG.exception("outlet %s: what was recorded before the last stop could not be looked up", spool.name)
            else:
                if count:
                    _LOG.warning("outlet %s: %d inspections from before the last stop are passed on", spool.name, count)
            spool.start()
        for inlet in self._inlets:
            inlet.start(submit)

    def see(self, inspections: Sequence[Inspection]) -> None:
        """Pass on what was recorded; quick, since it waits on disk for whoever takes it."""
        if not self._spools:
            return
        messages = [inspection_message(inspection) for inspection in inspections]
        for spool in self._spools:
            spool.put(messages)

    def stop_inlets(self) -> None:
        """Bring in no more photographs; those in hand are judged before this returns."""
        for inlet in self._inlets:
            inlet.stop()

    def close(self) -> None:
        """Stop passing on; what waits stays on disk."""
        for spool in self._spools:
            spool.close()

    def spool(self, name: str) -> Spool | None:
        """What stands before the way out of that name, if there is one."""
        return next((spool for spool in self._spools if spool.name == name), None)

    @property
    def outlets(self) -> list[SpoolState]:
        """How ways out do."""
        return [spool.state() for spool in self._spools]

    @property
    def inlets(self) -> list[InletState]:
        """How ways in do."""
        return [inlet.state() for inlet in self._inlets]

    def troubles(self) -> list[str]:
        """What is wrong with them now, in sentences; none of it stops inspection."""
        found = [
            f"{state.name} is away for {state.away_for_s:.0f} s, {state.waiting} messages wait: {state.error}"
            for state in self.outlets
            if state.away_for_s is not None
        ]
        return found + [
            f"{state.name} is away for {state.away_for_s:.0f} s: {state.error}"
            for state in self.inlets
            if state.away_for_s is not None
        ]


class GatewayMetrics(Collector):
    """What Prometheus is told of them.

    Args:
        gateways: Asked whenever it is told.
    """

    def __init__(self, gateways: Gateways) -> None:
        self._gateways = gateways

    def collect(self) -> Iterator[Metric]:
        """Figures of every outlet and inlet."""
        outlets, inlets = self._gateways.outlets, self._gateways.inlets
        for name, what in (
            ("sent", "Messages that the far end has taken"),
            ("refused", "Messages that the far end will never take"),
            ("dropped", "Messages that were given up because the spool was full"),
            ("failures", "Attempts that failed"),
        ):
            counter = CounterMetricFamily(f"muad_outlet_{name}", what, labels=["outlet"])
            for outlet in outlets:
                counter.add_metric([outlet.name], getattr(outlet, name))
            yield counter
        for name, what in (("waiting", "Messages that wait"), ("bytes", "Bytes of messages that wait")):
            gauge = GaugeMetricFamily(f"muad_outlet_{name}", what, labels=["outlet"])
            for outlet in outlets:
                gauge.add_metric([outlet.name], getattr(outlet, name))
            yield gauge
        for name, what in (
            ("taken", "Photographs that were judged"),
            ("refused", "Photographs that are never taken"),
            ("skipped", "Moments of a camera without a photograph"),
        ):
            counter = CounterMetricFamily(f"muad_inlet_{name}", what, labels=["inlet"])
            for inlet in inlets:
                counter.add_metric([inlet.name], getattr(inlet, name))
            yield counter
        away = GaugeMetricFamily(
            "muad_gateway_away_seconds", "How long it has been away; 0 if it is not", labels=["name"]
        )
        for name, away_for_s in [(state.name, state.away_for_s) for state in outlets] + [
            (state.name, state.away_for_s) for state in inlets
        ]:
            away.add_metric([name], away_for_s or 0.0)
        yield away


def _require_different(section: str, names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"{section}.name must be another one for each, got {twice!r} twice.")


def _forget_others(place: Path, names: set[str]) -> None:
    """Of outlets that are off, what is recorded from now on is not put in when they are on again."""
    for path in place.glob("*.sqlite"):
        if path.stem not in names:
            with suppress(OSError):
                file = SpoolFile(path)
                if waiting := file.fill().waiting:
                    _LOG.warning("outlet %s is off; %d messages for it wait in %s", path.stem, waiting, path)
                file.forget_last()
                file.close()


def _recorded_since(history: History, last: str) -> Iterator[Message]:
    """The messages of what was recorded after an inspection; of none if that is not in the history."""
    try:
        history.get(last)
    except NotRecordedError:
        return
    while batch := history.since(last, _AT_ONCE):
        yield from map(inspection_message, batch)
        last = batch[-1].id
