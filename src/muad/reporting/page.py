"""From values to one HTML file: everything is inside, everything is escaped, equal values give equal bytes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from muad._version import __version__
from muad.errors import DataError


def render(template: str, values: dict[str, Any]) -> str:
    """The text of a page.

    Args:
        template: File in `templates/`.
        values: What it shows.
    """
    environment = Environment(
        loader=PackageLoader("muad.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    environment.filters["figure"] = figure
    environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    return environment.get_template(template).render(version=__version__, **values)


def percent(share: float) -> str:
    """A share as people read it."""
    return f"{100 * share:.1f} %" if 0 < share < 1 else f"{100 * share:.0f} %"


def figure(value: float | None, digits: int = 3) -> str:
    """A figure, or a dash where there is none."""
    return "\N{EN DASH}" if value is None else f"{value:.{digits}f}"


def split_command(sentence: str) -> tuple[str, str]:
    """A sentence and the command it ends with, if it does."""
    found = re.fullmatch(r"(.*?) (muad (?:train|calibrate|evaluate) .*)", sentence)
    return (found[1], found[2]) if found else (sentence, "")


def write_page(text: str, out: Path) -> None:
    """Write a page.

    Raises:
        DataError: The file cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # File names that are no text on this system are shown as far as they can be.
        out.write_bytes(text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise DataError(
            f"page must be a file that can be written, got {out} ({error.strerror or error}). "
            "Free space or name another."
        ) from None
