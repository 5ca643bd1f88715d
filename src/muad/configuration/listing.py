"""Every setting of a run as a list: its path, what it may be, its default and what it means, read from the code itself.

Meaning and default come from the configuration dataclasses, choices from their annotations, and the range from what
their own checks say of values that are out of it, so that nothing is stated twice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import re
import types
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union

from muad.configuration.run_config import settings_tree
from muad.configuration.settings_table import Setting, as_markdown, as_table
from muad.detectors.registry import DETECTORS
from muad.errors import ConfigError

_WORDS = {int: "whole number", float: "number", str: "text", Path: "path", bool: "true or false"}
_OUTSIDE = (-1, 0, 2**70, -0.5, 1.5, "")  # values that a range, if there is one, excludes at least one of


@cache
def computed_settings() -> tuple[Setting, ...]:
    """Every setting there is here, those of detectors from other packages too, sections in the order of a recipe."""
    return tuple(_settings_of(settings_tree(), "", None, None))


def write_tables(table: Path, page: Path) -> None:
    """Write what ships with muad, the settings of its own detectors, and the page of them: `make settings`.

    Args:
        table: `settings.json` in this package.
        page: `docs/settings.md`.
    """
    own = own_settings()
    table.write_text(as_table(own), encoding="utf-8")
    page.write_text(as_markdown(own), encoding="utf-8")


def own_settings() -> tuple[Setting, ...]:
    """The settings of muad and its own detectors."""
    return tuple(setting for setting in computed_settings() if setting.detector in (None, *DETECTORS))


def _settings_of(kind: type, prefix: str, detector: str | None, given: object) -> Iterator[Setting]:
    """The settings of a dataclass and of those inside it; `given` is one that whoever has it takes by default."""
    hints = typing.get_type_hints(kind)
    meanings = {name: text for base in reversed(kind.__mro__) for name, text in meanings_of(base).items()}
    for entry in dataclasses.fields(kind):
        path, hint = prefix + entry.name, hints[entry.name]
        inside = [part for part in _parts(hint) if isinstance(part, type) and dataclasses.is_dataclass(part)]
        default = _default(entry) if given is None else getattr(given, entry.name)
        for part in inside:
            own = next((entry.default for entry in dataclasses.fields(part) if entry.name == "name"), None)
            of_detector = str(own) if len(inside) > 1 else detector
            yield from _settings_of(part, f"{path}.", of_detector, default if isinstance(default, part) else None)
        if not inside:
            yield Setting(
                path=path,
                detector=detector,
                allowed=_allowed(kind, entry.name, hint),
                default=_plain(default),
                meaning=meanings.get(entry.name, ""),
            )


def meanings_of(kind: type) -> dict[str, str]:
    """What the docstring of a class says of each of its attributes, each in one line."""
    _, _, section = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    for text in re.split(r"\n(?=    \w)", "\n" + section.split("\n\n")[0]):
        name, colon, meaning = text.strip().partition(":")
        if colon:
            found[name] = " ".join(meaning.split())
    return found


def _allowed(kind: type, name: str, hint: Any) -> str:  # noqa: ANN401  an annotation
    """What a field may hold: type or choices, then its range."""
    parts = _parts(hint)
    words = " or ".join(_in_words(part) for part in parts if part is not types.NoneType)
    words += ", or left out" if types.NoneType in parts else ""
    constraint = _constraint(kind, name, parts[0])
    return f"{words}; {constraint}" if constraint else words


def _in_words(part: Any) -> str:  # noqa: ANN401  an annotation
    if typing.get_origin(part) is Literal:
        return ", ".join(map(str, typing.get_args(part)))
    if typing.get_origin(part) is tuple:
        first, *others = typing.get_args(part)
        if typing.get_origin(first) in (Union, types.UnionType):
            return "names or tables in a list"
        if typing.get_origin(first) is Literal:
            return f"{_in_words(first)} in a list"
        return f"{_WORDS[first]}s in a list" if Ellipsis in others else f"list of {1 + len(others)} {_WORDS[first]}s"
    return _WORDS[part]


def _parts(hint: Any) -> tuple[Any, ...]:  # noqa: ANN401  an annotation
    """The members of a union, or the one type there is."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        return typing.get_args(hint)
    if typing.get_origin(hint) is typing.Annotated:
        return _parts(typing.get_args(hint)[0])
    return (hint,)


def _constraint(kind: type, name: str, part: Any) -> str:  # noqa: ANN401  an annotation
    """What the class itself says a value must be, asked with values that are out of any range."""
    if part is bool or typing.get_origin(part) is Literal:
        return ""
    numbers = typing.get_args(part) if typing.get_origin(part) is tuple else ()
    for value in _OUTSIDE:
        if isinstance(value, str) is not (str in (part, *numbers[:1])):
            continue
        with contextlib.suppress(TypeError, ArithmeticError):  # values of another kind, or parts that must be given
            try:
                kind(**{name: tuple(value for _ in numbers) if numbers else value})
            except ConfigError as error:
                told = re.search(rf"\b{name} must be (.+?), got ", str(error))
                if told:
                    return told[1]
    return ""


def _default(entry: dataclasses.Field[Any]) -> Any:  # noqa: ANN401  whatever the field holds
    if entry.default_factory is not dataclasses.MISSING:
        return entry.default_factory()
    return None if entry.default is dataclasses.MISSING else entry.default


def _plain(value: Any) -> Any:  # noqa: ANN401  whatever a field holds
    return json.loads(json.dumps(value, default=str))
