"""Shifts begin by the clock on the wall, also when that is put forward or back."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from muad.errors import ConfigError
from muad.service.shifts import ShiftSettings

BERLIN = ShiftSettings.model_validate({"zone": "Europe/Berlin"})
ODD = ShiftSettings.model_validate({"zone": "Europe/Berlin", "starts": {"one": "02:30", "two": "14:00"}})


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("settings", "at", "label", "hours"),
    [
        (BERLIN, "2026-03-02T05:00", "2026-03-02-0600-early", 8),
        (BERLIN, "2026-03-02T04:59", "2026-03-01-2200-night", 8),
        # The night in which clocks are put forward has seven hours, the one in which they are put back nine.
        (BERLIN, "2026-03-29T03:59", "2026-03-28-2200-night", 7),
        (BERLIN, "2026-03-29T04:00", "2026-03-29-0600-early", 8),
        (BERLIN, "2026-10-25T04:59", "2026-10-24-2200-night", 9),
        (BERLIN, "2026-10-25T05:00", "2026-10-25-0600-early", 8),
        # 02:30 is skipped in spring, so that the shift begins at 03:30; in autumn it comes twice, and the first counts.
        (ODD, "2026-03-29T01:29", "2026-03-28-1400-two", 12.5),
        (ODD, "2026-03-29T01:30", "2026-03-29-0330-one", 10.5),
        (ODD, "2026-10-25T00:30", "2026-10-25-0230-one", 12.5),
        (ODD, "2026-10-25T01:30", "2026-10-25-0230-one", 12.5),
    ],
)
def test_a_moment_belongs_to_the_shift_of_the_clock_on_the_wall(
    settings: ShiftSettings, at: str, label: str, hours: float
) -> None:
    shift = settings.shift_at(_utc(at))
    assert shift.label == label
    assert (shift.ends.astimezone(UTC) - shift.begins.astimezone(UTC)) == timedelta(hours=hours)


@given(
    at=st.datetimes(datetime(2000, 1, 3), datetime(2060, 1, 1), timezones=st.just(UTC)),
    starts=st.dictionaries(st.text("abc", min_size=1), st.times(), min_size=1, max_size=5),
    zone=st.sampled_from(["Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
)
def test_every_moment_lies_in_its_shift(at: datetime, starts: dict[str, time], zone: str) -> None:
    shift = ShiftSettings(zone=zone, starts=starts).shift_at(at)
    assert shift.begins <= at < shift.ends or shift.begins.astimezone(UTC) <= at < shift.ends.astimezone(UTC)
    assert shift.name in starts


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"shifts.zone must be a time zone such as Europe/Berlin, got 'Mars/Olympus'"):
        ShiftSettings(zone="Mars/Olympus").check()
    with pytest.raises(ConfigError, match=r"shifts\.zone"):
        ShiftSettings(zone="../../etc/passwd").check()
    with pytest.raises(ConfigError, match="different times"):
        ShiftSettings(starts={"a": time(6), "b": time(6)}).check()
    with pytest.raises(ConfigError, match="names of letters"):
        ShiftSettings(starts={"../a": time(6)}).check()
    with pytest.raises(ValidationError, match="06:00"):
        ShiftSettings.model_validate({"starts": {"early": 6}})
    BERLIN.check()


def test_without_a_zone_that_of_the_machine_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    assert ShiftSettings().shift_at(_utc("2026-07-01T04:00")).label == "2026-07-01-0600-early"
    monkeypatch.delenv("TZ")
    ShiftSettings().check()
    ShiftSettings().shift_at(_utc("2026-07-01T04:00"))
