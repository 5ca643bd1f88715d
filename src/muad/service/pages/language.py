"""What the pages say, in the languages of `texts/`, and how these languages write figures and times.

Every sentence a person reads stands in `texts/en.toml` and `texts/de.toml`, under the same key. A new language is a new
file there.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Final

DEFAULT: Final = "en"
COOKIE: Final = "muad_language"
_DASH = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Language:
    """One language of the pages.

    Attributes:
        code: As in the name of its file.
        texts: What is said, by key such as `live.silent`.
    """

    code: str
    texts: Mapping[str, str]

    def __call__(self, key: str, **values: object) -> str:
        """A text with its values filled in.

        Args:
            key: In the file, with dots between its tables.
            values: What stands in braces in it.
        """
        return self.texts[key].format(**values) if values else self.texts[key]

    def counted(self, key: str, count: int) -> str:
        """A number and what it counts; the file has `key.one` and `key.many`."""
        return self(f"{key}.one" if count == 1 else f"{key}.many", count=self.whole(count))

    def whole(self, count: int) -> str:
        """A count, in groups of three digits."""
        return f"{count:,}".replace(",", self.texts["number.group"])

    def figure(self, value: float | None, digits: int = 4) -> str:
        """A figure to so many significant digits; a dash where there is none."""
        if value is None:
            return _DASH
        if abs(value) >= 10**digits:
            text = f"{value:.0f}" if abs(value) < 1e15 else f"{value:.3g}"
        else:
            text = f"{value:#.{digits}g}".rstrip(".")
        return text.replace(".", self.texts["number.point"])

    def tick(self, value: float) -> str:
        """A round figure on an axis, with no more digits than it has."""
        return f"{value:g}".replace(".", self.texts["number.point"])

    def fixed(self, value: float | None, digits: int = 1) -> str:
        """A figure with so many digits behind the point; a dash where there is none."""
        return _DASH if value is None else f"{value:.{digits}f}".replace(".", self.texts["number.point"])

    def percent(self, share: float | None) -> str:
        """A share as people read it: three digits where it is small."""
        if share is None:
            return _DASH
        value = 100 * share
        digits = 0 if value == round(value) else 2 if value < 1 else 1
        return f"{self.fixed(value, digits)}\N{NO-BREAK SPACE}%"

    def clock(self, at: datetime) -> str:
        """The time of a day."""
        return f"{at:%H:%M:%S}"

    def day(self, at: datetime) -> str:
        """A date."""
        return at.strftime(self.texts["time.day"])

    def moment(self, at: datetime) -> str:
        """Date and time."""
        return f"{self.day(at)} {at:%H:%M:%S}"

    def span(self, span: timedelta) -> str:
        """How long something took or is ago, in its largest unit."""
        seconds = max(int(span.total_seconds()), 0)
        for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
            if seconds >= 2 * size:
                return self(f"time.{unit}", count=seconds // size)
        return self("time.seconds", count=seconds)


def read_languages() -> dict[str, Language]:
    """All languages by code, the default first."""
    found = {}
    for place in files("muad.service.pages").joinpath("texts").iterdir():
        if place.name.endswith(".toml"):
            code = place.name.removesuffix(".toml")
            found[code] = Language(code, flat(tomllib.loads(place.read_text(encoding="utf-8"))))
    return dict(sorted(found.items(), key=lambda item: (item[0] != DEFAULT, item[0])))


def flat(tables: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Nested tables with their keys joined by dots."""
    entries: dict[str, str] = {}
    for key, value in tables.items():
        if isinstance(value, Mapping):
            entries |= flat(value, f"{prefix}{key}.")
        else:
            entries[prefix + key] = str(value)
    return entries


def chosen(languages: Mapping[str, Language], cookie: str | None, accepted: str) -> Language:
    """The language of a request: the one a person chose, else the first the browser asks for, else the default.

    Args:
        languages: Those there are.
        cookie: What was chosen before, or None.
        accepted: The header `Accept-Language`.
    """
    if cookie is not None and cookie in languages:
        return languages[cookie]
    wanted = []
    for place, part in enumerate(accepted.split(",")):
        name, _, weight = part.strip().partition(";q=")
        try:
            wanted.append((-float(weight or 1), place, name.split("-")[0].lower()))
        except ValueError:
            continue
    return next((languages[code] for _, _, code in sorted(wanted) if code in languages), languages[DEFAULT])
