"""The settings of a run as a table that ships with muad, `settings.json`: known at once, and where there is no torch.

`make settings` writes it, and `docs/settings.md`, from the configuration (`listing`); a test holds all three equal.
Only detectors that other packages bring are looked at in the code.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Any

from muad.bench import bench
from muad.detectors.registry import DETECTORS, detector_names
from muad.errors import ConfigError
from muad.runs.faults import closest

TABLE_FILE = "settings.json"
_HEAD = """\
# Settings

What `--set section.key=value` and recipes may set, with the default where no recipe says otherwise; without a recipe
`muad train` chooses sizes and length for your data and machine, and says which. First what all detectors share, then
what each has. This page is written by `make settings` from the configuration itself. Find one in the terminal:
```console
$ muad settings tiles
```
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting.

    Attributes:
        path: How a recipe or `--set` names it: `section.key`.
        detector: The detector that has it; None for a setting of all runs.
        allowed: What it may be, in words.
        default: Without a recipe of one's own; None where it is left out.
        meaning: What it does.
    """

    path: str
    detector: str | None
    allowed: str
    default: Any
    meaning: str


def find_settings(pattern: str | None = None, detector: str | None = None) -> tuple[Setting, ...]:
    """The settings whose path or meaning holds a pattern, sections in the order of a recipe.

    Args:
        pattern: Part of a path or of its meaning, or a path with `*`; None for all.
        detector: Leave out what other detectors have.

    Raises:
        ConfigError: No such detector, or no setting like that.
    """
    names = detector_names()
    if detector is not None and detector not in names:
        raise ConfigError(f"detector must be one of {', '.join(names)}, got {detector!r}.{closest(detector, names)}")
    known = [setting for setting in all_settings() if detector is None or setting.detector in (None, detector)]
    if pattern is None:
        return tuple(known)
    found = [setting for setting in known if _matches(setting, pattern)]
    if not found:
        short = {setting.path.rpartition(".")[2]: setting.path for setting in known}
        paths = [*short, *short.values()]
        raise ConfigError(
            f"pattern must be part of a setting's path or meaning, got {pattern!r}.{closest(pattern, paths)}"
        )
    return tuple(found)


def all_settings() -> tuple[Setting, ...]:
    """Those of the table, or where other packages bring detectors, all that the code has.

    Raises:
        ConfigError: Other packages bring detectors, and torch is not installed.
    """
    if set(detector_names()) <= set(DETECTORS):
        return shipped_settings()
    found: tuple[Setting, ...] = bench("configuration.listing").computed_settings()
    return found


@cache
def shipped_settings() -> tuple[Setting, ...]:
    """The settings of muad and its own detectors, as the table has them."""
    text = (resources.files("muad.configuration") / TABLE_FILE).read_text(encoding="utf-8")
    return tuple(Setting(**row) for row in json.loads(text))


def as_table(settings: Iterable[Setting]) -> str:
    """The text of `settings.json`."""
    rows = [json.dumps(asdict(setting), ensure_ascii=False) for setting in settings]
    return "[\n" + ",\n".join(rows) + "\n]\n"


def as_markdown(settings: Iterable[Setting]) -> str:
    """The text of `docs/settings.md`: a table for each section, and for each detector."""
    known = list(settings)
    titles = dict.fromkeys((setting.path.partition(".")[0], setting.detector) for setting in known)
    return _HEAD + "".join(
        f"\n## {section}{f': {detector}' if detector else ''}\n\n" + "\n".join(_rows(known, section, detector)) + "\n"
        for section, detector in sorted(titles, key=lambda title: title[1] is not None)
    )


def _rows(settings: Iterable[Setting], section: str, detector: str | None) -> Iterator[str]:
    yield "| setting | default | may be | meaning |"
    yield "|---|---|---|---|"
    for setting in settings:
        if (setting.path.partition(".")[0], setting.detector) == (section, detector):
            default = "left out" if setting.default is None else f"`{json.dumps(setting.default, ensure_ascii=False)}`"
            cells = (f"`{setting.path}`", default, setting.allowed, setting.meaning)
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _matches(setting: Setting, pattern: str) -> bool:
    if "*" in pattern:
        return fnmatch.fnmatchcase(setting.path, pattern)
    return pattern.lower() in setting.path or pattern.lower() in setting.meaning.lower()
