"""`RUN/capture.toml`: between which limits the photographs of each product lie, and what lies outside.

The file is for people: a limit may be edited or its line deleted, and holds so from the next start on.

    capture_rate = 0.005

    [categories.bolt]
    brightness = {at_least = 141.2, at_most = 188.0}
    bright = {at_most = 0.061}
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from muad.capture.quantities import Capture
from muad.capture.reasons import NO_CONTENT, Reason, content_reasons
from muad.errors import ConfigError

CAPTURE_FILE: Final = "capture.toml"
CAPTURE_RATE = 0.005
"""Share of good photographs that may be flagged, unless `capture.toml` says otherwise."""
COARSEST_RATE = 0.1
"""A product whose few photographs support no finer rate than this gets no limits."""
NOT_CHECKED = (
    "light and sharpness of photographs are not checked, only whether they show anything: this run has no "
    f"{CAPTURE_FILE}. muad calibrate RUN or muad.learn_capture adds it where the training images still are"
)
QUANTITIES: Mapping[str, tuple[str | None, str | None]] = {
    "brightness": ("too dark", "too bright"),
    "highlights": ("too dark", None),
    "dark": (None, "too dark"),
    "bright": (None, "too bright"),
    "structure": (NO_CONTENT, None),
    "blank": (None, NO_CONTENT),
    "contrast": ("low contrast", None),
    "sharpness": ("blurred", None),
    "grain": ("blurred", "noisy"),
}
"""What is said of a photograph with too little, and with too much of a quantity; None where that is no fault."""
_OF_LIGHT = frozenset({"brightness", "highlights", "dark", "bright"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Between what a quantity lies in good photographs; None where it has no limit."""

    at_least: float | None = None
    at_most: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureLimits:
    """How photographs of the products of a run are taken.

    Attributes:
        rate: Share of good photographs that may be flagged, for learning again.
        categories: By category and quantity.
    """

    rate: float
    categories: Mapping[str, Mapping[str, Bounds]]

    def reasons(self, category: str | None, captured: Capture) -> tuple[Reason, ...]:
        """Why a photograph must not pass, each kind of fault once; of an unknown category only what needs no limit."""
        found = {reason.what: reason for reason in content_reasons(captured)}
        known = self.categories.get(category, {}) if category is not None else {}
        empty = bool(found)
        for name in (name for name in QUANTITIES if name in known):
            # Of a frame that shows nothing, sharpness says nothing; in other light there is another structure.
            if (empty and name not in _OF_LIGHT) or (name == "structure" and found):
                continue
            value, bounds, (low, high) = getattr(captured, name), known[name], QUANTITIES[name]
            if low is not None and bounds.at_least is not None and value < bounds.at_least:
                found.setdefault(low, Reason(what=low, quantity=name, value=value, limit=bounds.at_least))
            if high is not None and bounds.at_most is not None and value > bounds.at_most:
                found.setdefault(high, Reason(what=high, quantity=name, value=value, limit=bounds.at_most))
        return tuple(found.values())


def has_capture(run: Path) -> bool:
    """Whether a run has learned how its photographs are taken."""
    return (run / CAPTURE_FILE).is_file()


def read_capture(run: Path, categories: Sequence[str] = ()) -> CaptureLimits | None:
    """The limits in a run folder; None if it has none.

    Args:
        run: Run folder.
        categories: Those the run was trained on; empty if that is not known.

    Raises:
        ConfigError: The file is no TOML, or names what there is not, or something in it is no number.
    """
    path = run / CAPTURE_FILE
    if not path.is_file():
        return None
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{CAPTURE_FILE} must be valid TOML, got {path}: {error}.") from None
    tables = values.pop("categories", {})
    if not isinstance(tables, dict):
        raise ConfigError(f"{CAPTURE_FILE}: categories must be tables such as [categories.bolt], got {tables!r}.")
    rate = checked_rate(values.pop("capture_rate", CAPTURE_RATE), f"{CAPTURE_FILE}: capture_rate")
    unknown = next(iter(values), None)
    if unknown is not None:
        raise ConfigError(f"{CAPTURE_FILE} must hold only capture_rate and categories, got {unknown!r}.")
    foreign = next((name for name in tables if categories and name not in categories), None)
    if foreign is not None:
        raise ConfigError(f"{CAPTURE_FILE} must name categories of the run, {', '.join(categories)}, got {foreign!r}.")
    return CaptureLimits(rate=rate, categories={name: _bounds_of(name, table) for name, table in tables.items()})


def checked_rate(rate: object, name: str = "capture_rate") -> float:
    """The rate as a number.

    Raises:
        ConfigError: It is out of range.
    """
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate <= COARSEST_RATE:
        raise ConfigError(f"{name} must be above 0 and at most {COARSEST_RATE}, got {rate!r}. Write 0.5 % as 0.005.")
    return float(rate)


def _bounds_of(category: str, table: Any) -> dict[str, Bounds]:  # noqa: ANN401  whatever TOML holds
    where = f"{CAPTURE_FILE}: categories.{category}"
    if not isinstance(table, dict):
        raise ConfigError(f"{where} must be a table of {', '.join(QUANTITIES)}, got {table!r}.")
    found = {}
    for name, value in table.items():
        if name not in QUANTITIES:
            raise ConfigError(f"{where} must hold only {', '.join(QUANTITIES)}, got {name!r}.")
        sides = {field.name for field in fields(Bounds)}
        if not isinstance(value, dict) or not value.keys() <= sides:
            raise ConfigError(f"{where}.{name} must be {{at_least = number, at_most = number}}, got {value!r}.")
        for side, number in value.items():
            if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
                raise ConfigError(
                    f"{where}.{name}.{side} must be a number, got {number!r}. Leave it out to have no limit."
                )
        bounds = Bounds(**value)
        if bounds.at_least is not None and bounds.at_most is not None and bounds.at_least > bounds.at_most:
            raise ConfigError(
                f"{where}.{name}.at_least must be no more than at_most {bounds.at_most}, got {bounds.at_least}. "
                "Exchange them, or leave one out."
            )
        found[name] = bounds
    return found
