"""The message is what its published schema says."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import jsonschema_rs
import pytest

from muad.capture import Reason
from muad.service.gateways.message import MOST_POINTS, MOST_REGIONS, SCHEMA_VERSION, inspection_message, json_schema
from muad.service.history.record import Inspection

_PUBLISHED = Path(__file__).parents[3] / "docs" / "station-message.schema.json"


def test_the_published_json_schema_is_that_of_the_message() -> None:
    wanted = json.dumps(json_schema(), indent=1, sort_keys=True) + "\n"
    assert _PUBLISHED.read_text(encoding="utf-8") == wanted, "write it again with message.json_schema()"


@pytest.mark.parametrize("facts", [{}, {"verdict": "error", "score": None, "error": "damaged", "highest": None}])
def test_a_message_fits_the_schema(inspection: Callable[..., Inspection], facts: dict[str, object]) -> None:
    found = replace(inspection(7, **facts), reasons=(Reason(what="too dark", quantity="mean", value=3.0, limit=20.0),))
    message = json.loads(json.dumps(inspection_message(found), allow_nan=False))
    jsonschema_rs.validator_for(json_schema()).validate(message)
    assert set(message) == set(json_schema()["required"]), "every key is always there"
    assert message["schema_version"] == SCHEMA_VERSION
    assert message["at"].endswith("Z")
    assert datetime.fromisoformat(message["at"]) == found.at
    assert (message["number"], message["product"], message["serial"]) == (7, "bolt", "A7")


def test_a_message_is_bounded_whatever_the_photograph(inspection: Callable[..., Inspection]) -> None:
    region = inspection(1).regions[0]
    big = replace(region, polygon=tuple((x, 0) for x in range(10_001)), peak=math.inf)
    message = inspection_message(replace(inspection(1), regions=(big,) * 5000))
    assert len(message["regions"]) == MOST_REGIONS
    assert len(message["regions"][0]["polygon"]) <= MOST_POINTS
    assert message["regions"][0]["peak"] is None
    assert len(json.dumps(message, allow_nan=False)) < 500_000


def test_times_are_told_in_utc(inspection: Callable[..., Inspection]) -> None:
    at = datetime.fromisoformat("2026-03-29T03:30:00+02:00")
    told = datetime.fromisoformat(inspection_message(inspection(1, at=at))["at"])
    assert (told, told.tzinfo) == (at, UTC)
