"""Single limits set by hand from a command: `limits.toml` with a value changed, everything else in it as it was."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomli_w

from muad.decisions.limit_history import replace_text
from muad.decisions.limits import LIMITS_FILE, check_limits
from muad.decisions.object_limits import check_object_limits
from muad.errors import ConfigError
from muad.runs.folder import read_run

_NAMES = ("review", "reject", "map")
_PARTS = "objects."


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSetting:
    """A limit and what it is to be.

    Attributes:
        category: Of which product; `objects.box` for the limits of whole parts of `box`.
        name: `review`, `reject` or `map`.
        value: The limit; None to have none.
    """

    category: str
    name: str
    value: float | None


def parse_setting(text: str) -> LimitSetting:
    """What `screw.reject=0.35` or `screw.reject=none` asks for.

    Raises:
        ConfigError: It is not of that form.
    """
    key, _, value = text.rpartition("=")
    category, _, name = key.strip().rpartition(".")
    if not category or name not in _NAMES:
        raise ConfigError(
            f"set must be CATEGORY.LIMIT=NUMBER with a limit of {', '.join(_NAMES)}, got {text!r}. "
            "For instance: --set screw.reject=0.35"
        )
    if value.strip().lower() == "none":
        return LimitSetting(category=category, name=name, value=None)
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"{key.strip()} must be a number, or none for no limit, got {value.strip()!r}.")
    return LimitSetting(category=category, name=name, value=number)


def set_limits(run: Path, settings: Sequence[LimitSetting], note: Callable[[str], None]) -> None:
    """Change limits of a run; the former file is kept in its history.

    Args:
        run: Run folder.
        settings: Which, and to what.
        note: Told where the former limits are.

    Raises:
        ConfigError: A category is none of the run's, or the limits would contradict each other.
        CheckpointError: The folder cannot be written.
    """
    categories = tuple(read_run(run).get("categories", ()))
    path = run / LIMITS_FILE
    former = _read(path)
    of_parts = {f"{_PARTS}{name}" for name in tomllib.loads(former).get("objects", {}).get("categories", {})}
    known = {*categories, *of_parts}
    unknown = next((one for one in settings if categories and one.category not in known), None)
    if unknown is not None:
        raise ConfigError(f"category must be one of {', '.join([*categories, *of_parts])}, got {unknown.category!r}.")
    wrong = next((one for one in settings if one.category in of_parts and one.name == "map"), None)
    if wrong is not None:
        raise ConfigError(f"a limit of parts must be review or reject, got {wrong.category}.{wrong.name}.")
    text = changed_text(former, settings, datetime.now(UTC).isoformat(timespec="seconds"))
    values = tomllib.loads(text)
    check_limits(values, categories)
    if "objects" in values:
        check_object_limits(values["objects"], categories, None)
    replace_text(run, text, note)


def changed_text(former: str, settings: Sequence[LimitSetting], when: str) -> str:
    """The text of `limits.toml` with other limits.

    What said of a changed limit which rate it keeps goes, because it keeps it no more.
    """
    wanted = _with_values(tomllib.loads(former), settings)
    lines = former.splitlines()
    for setting in settings:
        lines = _with_line(lines, setting, when)
    text = "\n".join(lines) + "\n"
    try:
        if tomllib.loads(text) == wanted:
            return text
    except tomllib.TOMLDecodeError:
        pass
    # A file written in another manner, such as with inline tables: its values without its comments.
    return tomli_w.dumps(wanted)


def _with_values(values: dict[str, Any], settings: Sequence[LimitSetting]) -> dict[str, Any]:
    for setting in settings:
        table = values
        for key in _way(setting.category):
            table = table.setdefault(key, {})
        table.pop(f"{setting.name}_rate", None)
        table.pop(setting.name, None)
        if setting.value is not None:
            table[setting.name] = setting.value
    return values


def _with_line(lines: list[str], setting: LimitSetting, when: str) -> list[str]:
    heads = [place for place, line in enumerate(lines) if line.lstrip().startswith("[")]
    begin = next((place for place in heads if _is_table(lines[place], setting.category)), None)
    if begin is None:
        head = tomli_w.dumps(_nested(setting.category)).strip()
        lines, begin = [*lines, "", head], len(lines) + 1
        heads.append(begin)
    end = next((place for place in heads if place > begin), len(lines))
    name = setting.name
    about = re.compile(rf"\s*({name}(_rate)?\s*=|#\s*(no )?{name} (above|limit)|#\s*{name} set by hand)")
    kept = [line for line in lines[begin + 1 : end] if not about.match(line)]
    blank = len(kept) - len([line for line in kept if line.strip()]) if kept and not kept[-1].strip() else 0
    body, rest = (kept[:-blank], kept[-blank:]) if blank else (kept, [])
    said = [f"# {name} set by hand {when}"]
    if setting.value is not None:
        said.insert(0, f"{name} = {setting.value!r}")
    return [*lines[: begin + 1], *body, *said, *rest, *lines[end:]]


def _is_table(line: str, category: str) -> bool:
    try:
        found: Mapping[str, Any] = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return False
    return found == _nested(category)


def _way(category: str) -> tuple[str, ...]:
    """Keys from the top of the file to the limits of a category, or to those of its parts."""
    if category.startswith(_PARTS):
        return ("objects", "categories", category.removeprefix(_PARTS))
    return ("categories", category)


def _nested(category: str) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key in reversed(_way(category)):
        table = {key: table}
    return table


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
        tomllib.loads(text)
        return text
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise ConfigError(f"{LIMITS_FILE} must be valid TOML, got {path}: {error}. Correct it first.") from None
