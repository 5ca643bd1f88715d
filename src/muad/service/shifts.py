"""When shifts begin: local times in a named zone, also on the days when clocks are put forward or back."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from muad.errors import ConfigError

_NAME = re.compile(r"[\w-]{1,40}")
_LOCAL_TIME = Path("/etc/localtime")
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """One shift of one day.

    Attributes:
        name: As in the settings.
        begins: In local time, with its zone.
        ends: When the next one begins.
    """

    name: str
    begins: datetime
    ends: datetime

    @property
    def label(self) -> str:
        """When it begins, in local time, and its name: `2026-03-29-0600-early`."""
        return f"{self.begins:%Y-%m-%d-%H%M}-{self.name}"


def _clock_time(value: object) -> object:
    """A number would be taken for seconds after midnight."""
    if isinstance(value, int | float):
        raise ValueError('a time of day in quotes, such as "06:00"')
    return value


class ShiftSettings(BaseModel):
    """`[shifts]`: which parts of a day belong together, for tables and counters.

    Attributes:
        zone: Name of the time zone, such as `Europe/Berlin`; that of this machine if empty.
        starts: Local time at which each shift begins; it lasts until the next.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    zone: str = ""
    starts: Annotated[dict[str, Annotated[time, BeforeValidator(_clock_time)]], Field(min_length=1, max_length=24)] = {
        "early": time(6),
        "late": time(14),
        "night": time(22),
    }

    def check(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ConfigError: The zone is unknown, a name is no name of a file, or two shifts begin at once.
        """
        self.time_zone()
        for name, start in self.starts.items():
            if not _NAME.fullmatch(name):
                raise ConfigError(f"shifts.starts must have names of letters, digits, - and _, got {name!r}.")
            if start.tzinfo is not None:
                raise ConfigError(f"shifts.starts.{name} must be a local time such as 06:00, got {start.isoformat()}.")
        if len(set(self.starts.values())) < len(self.starts):
            raise ConfigError("shifts.starts must be different times, got one of them twice.")

    def time_zone(self) -> ZoneInfo:
        """The zone.

        Raises:
            ConfigError: There is no such zone.
        """
        if not self.zone:
            return _machine_zone()
        try:
            return ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ConfigError(
                f"shifts.zone must be a time zone such as Europe/Berlin, got {self.zone!r}. If the name is right, this "
                "machine has no table of zones: pip install tzdata."
            ) from None

    def shift_at(self, at: datetime) -> Shift:
        """The shift that a moment belongs to.

        A shift that begins in the hour that clocks skip begins as much later; one that begins in the hour that comes
        twice begins the first time. On such days a shift is an hour shorter or longer.

        Args:
            at: With its time zone.
        """
        zone = self.time_zone()
        here = at.astimezone(zone).date()
        starts = sorted(
            (_moment(here + day * _DAY, start, zone), name)
            for day in (-1, 0, 1)
            for name, start in self.starts.items()
            if date.min < here + day * _DAY < date.max
        )
        number = max(place for place, (begins, _) in enumerate(starts) if begins <= at)
        return Shift(
            name=starts[number][1],
            begins=starts[number][0].astimezone(zone),
            ends=starts[number + 1][0].astimezone(zone),
        )


def _machine_zone() -> ZoneInfo:
    """The zone this machine is set to; UTC where that cannot be told, as on Windows."""
    name = os.environ.get("TZ", "").removeprefix(":")
    if not name:
        with suppress(OSError):
            name = str(_LOCAL_TIME.resolve(strict=True)).rpartition("/zoneinfo/")[2]
    with suppress(ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo(name)
    with suppress(ValueError, OSError), _LOCAL_TIME.open("rb") as file:
        return ZoneInfo.from_file(file, key="local")
    return ZoneInfo("UTC")


def _moment(day: date, start: time, zone: ZoneInfo) -> datetime:
    """When a clock on the wall shows that time, in UTC, in which later is larger."""
    return datetime.combine(day, start.replace(fold=0), tzinfo=zone).astimezone(UTC)
