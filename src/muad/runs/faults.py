"""What is wrong with a configuration, in one line: the key's path, what it must be, what it is, and the remedy."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import typing
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import ValidationError

from muad.errors import ConfigError

_KINDS = {
    "float_type": "a number",
    "int_type": "a whole number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "path_type": "the path of a file",
    "tuple_type": "a list",
    "dataclass_type": "a table of keys",
    "dict_type": "a table of keys",
    "mapping_type": "a table of keys",
    "missing": "given",
    "string_too_short": "a name",
    "too_long": "a shorter list",
}
_MEMBERS = ("EncoderConfig", "str")  # a list may hold tables of settings and names
_UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")


def explain(error: ValidationError, root: type) -> str:
    """The first fault of a configuration of the kind `root`, in one line."""
    # An unknown key goes first: it is often why another one is missing.
    faults = sorted(error.errors(), key=lambda fault: fault["type"] not in _UNKNOWN)
    fault = faults[0]
    path, name = _path(fault, root)
    if fault["type"] in _UNKNOWN:
        return f"recipe key must be a known one, got {path!r}{_closest_key(path, root, name)}"
    if isinstance(cause := fault.get("ctx", {}).get("error"), ConfigError):
        # A part of the configuration names its keys from itself on; the reader needs them from the top.
        above, _, own = path.rpartition(".")
        return f"{above}.{cause}" if above and str(cause).startswith(f"{own}.") else str(cause)
    if fault["type"] == "union_tag_invalid":
        return _not_a_choice(f"{path}.name", fault["ctx"]["expected_tags"], fault["input"]["name"])
    if fault["type"] == "literal_error":
        return _not_a_choice(path, fault["ctx"]["expected"], fault["input"])
    got = json.dumps(fault["input"], ensure_ascii=False)
    if fault["type"] == "too_long":
        return f"{path} must be {fault['ctx']['max_length']} values, got {got}."
    if fault["type"] == "missing" and isinstance(fault["loc"][-1], int):
        wanted = 1 + max(int(other["loc"][-1]) for other in faults if _path(other, root)[0] == path)
        return f"{path} must be {wanted} values, got {got}."
    if fault["type"] == "missing":
        return f"{path} must be given, got none. Set it in the recipe, or with --set {path}=VALUE."
    return f"{path} must be {constraint_of(fault)}, got {got}.{_remedy(fault['type'], path, fault['input'], root)}"


def constraint_of(fault: Any) -> str:  # noqa: ANN401  pydantic's ErrorDetails
    """What a value must be, in a few words that follow "must be"."""
    kind, context = fault["type"], fault.get("ctx", {})
    if kind == "literal_error":
        return f"one of {context['expected'].replace(' or ', ', ')}"
    if kind == "greater_than_equal":
        return f"at least {context['ge']:g}"
    if kind in ("greater_than", "less_than"):
        return f"above {context['gt']:g}" if kind == "greater_than" else f"below {context['lt']:g}"
    return _KINDS.get(kind, str(fault["msg"]))


def key_paths(kind: type, prefix: str = "", name: str | None = None) -> Iterator[str]:
    """Every key of the configuration as `section.key`.

    Args:
        kind: A dataclass of them.
        prefix: Set before every path.
        name: Where a field may hold one of several dataclasses, that of the one whose keys are wanted; None for all.
    """
    for entry in dataclasses.fields(kind):
        nested = _nested(kind, entry.name)
        if len(nested) > 1 and name is not None:
            nested = [cls for cls in nested if _name_of(cls) == name]
        if not nested:
            yield prefix + entry.name
        below = (path for cls in nested for path in key_paths(cls, f"{prefix}{entry.name}.", name))
        yield from dict.fromkeys(below)


def closest(word: str, choices: Iterable[str]) -> str:
    """A question whether the most similar choice was meant, after a space; nothing if none is similar."""
    found = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f" Did you mean {found[0]!r}?" if found else ""


def _not_a_choice(path: str, expected: str, value: object) -> str:
    choices = re.findall(r"'([^']*)'", expected)
    got = json.dumps(value, ensure_ascii=False)
    return f"{path} must be one of {', '.join(choices)}, got {got}.{closest(str(value), choices)}"


def _path(fault: Any, root: type) -> tuple[str, str | None]:  # noqa: ANN401  pydantic's ErrorDetails
    """The key's path, without places in lists, and the name of the dataclass chosen from several, if there is one."""
    parts: list[str] = []
    kinds, name = [root], None
    for before, part in zip([None, *fault["loc"]], fault["loc"], strict=False):
        if isinstance(before, int) and isinstance(part, str) and part in _MEMBERS:
            continue  # which kind of member of a list was tried
        if len(kinds) > 1 and part in {_name_of(kind) for kind in kinds}:  # pydantic puts the choice into the path
            kinds, name = [kind for kind in kinds if _name_of(kind) == part], part
        elif isinstance(part, str):
            parts.append(part)
            kinds = [found for kind in kinds for found in _nested(kind, part)]
    return ".".join(parts), name


def _name_of(kind: type) -> object:
    """What a field of several dataclasses tells them apart by."""
    return next((entry.default for entry in dataclasses.fields(kind) if entry.name == "name"), None)


def _nested(kind: type, name: str) -> list[type]:
    """The dataclasses a field may hold."""
    hint = typing.get_type_hints(kind).get(name)
    choices = (hint, *typing.get_args(hint))
    return [choice for choice in choices if dataclasses.is_dataclass(choice) and isinstance(choice, type)]


def _remedy(fault: str, path: str, value: object, root: type) -> str:
    if _KINDS.get(fault) == "a table of keys":
        known = [key for key in key_paths(root) if key.startswith(f"{path}.")]
        return f" Set a key of it, such as {known[0]}." if known else ""
    if isinstance(value, str) and fault in ("float_type", "int_type"):
        return " Write it as 0.001 or 1e-3, without quotes."
    return " Put it in quotes." if fault in ("string_type", "path_type") else ""


def _closest_key(path: str, root: type, name: str | None) -> str:
    """The key that was probably meant: of the same table if one is alike, else of any; or what the table has."""
    if name is not None and path in _with_tables(key_paths(root)):
        return f", which detector.name = {name!r} does not have. Leave it out, or name another detector."
    table, _, key = path.rpartition(".")
    known = _with_tables(key_paths(root, name=name))
    siblings = [whole for whole in known if whole.rpartition(".")[0] == table]
    for candidates in (siblings, sorted(known, key=lambda whole: whole.count("."))):
        found = difflib.get_close_matches(key, [known[whole] for whole in candidates], n=1, cutoff=0.6)
        if found:
            return f". Did you mean {next(whole for whole in candidates if known[whole] == found[0])!r}?"
    return f". Known there: {', '.join(known[whole] for whole in siblings)}." if siblings else "."


def _with_tables(paths: Iterable[str]) -> dict[str, str]:
    """The paths, and those of the tables they lie in, each with its last part."""
    known: dict[str, str] = {}
    for path in paths:
        whole = path
        while whole and whole not in known:
            known[whole], whole = whole.rpartition(".")[2], whole.rpartition(".")[0]
    return known
