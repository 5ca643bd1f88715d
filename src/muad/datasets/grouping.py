"""Which photographs show one part, and in which view: by their folders, by a pattern of their names, or by a list.

A rule is what a user writes: `folder`, a pattern such as `{object}_{view}`, or a manifest with the columns `path`,
`object_id` and `view`. Parts are named by the way to them, so that `line1/0001` and `line2/0001` stay apart.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

from muad.datasets.manifest import is_manifest, read_rows
from muad.errors import ConfigError, DataError
from muad.images.reading import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from muad.types import Record

FOLDER_RULE, MANIFEST_RULE = "folder", "manifest"
"""`{object}/{view}` by another name; and what a run says whose data set itself told."""
_FOLDER_PATTERN = "{object}/{view}"
_PIECES = re.compile(r"(\{object\}|\{view\}|\*)")
# A view is as short as it can be, all else as long: of `a_b_top`, `{object}_{view}` is view `top` of `a_b`.
_MEANING = {"{object}": r"(?P<object>[^/]+)", "{view}": r"(?P<view>[^/]+?)", "*": r"[^/]*"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What a rule says of a photograph.

    Attributes:
        part: Which part it shows.
        view: In which view.
        category: What the part is, where the rule says that too.
    """

    part: str
    view: str
    category: str | None = None


class Grouping(Protocol):
    """Finds part and view of photographs."""

    def place(self, path: Path, base: Path) -> Placed | None:
        """Part and view of a photograph; None where the rule does not fit it.

        Args:
            path: The photograph.
            base: Folder that parts are named from.
        """


def grouping_of(rule: str) -> Grouping:
    """What a rule means.

    Args:
        rule: `folder`, a pattern with `{object}` and `{view}`, or a manifest.

    Raises:
        ConfigError: It is none of them.
        DataError: The manifest cannot be read.
    """
    if rule == FOLDER_RULE:
        return PatternGrouping(_FOLDER_PATTERN)
    if is_manifest_rule(rule):
        return ManifestGrouping(Path(rule))
    return PatternGrouping(rule)


def is_manifest_rule(rule: str) -> bool:
    """Whether a rule is the name of a list."""
    return is_manifest(Path(rule)) and "{" not in rule


class PatternGrouping:
    """Parts by the end of a photograph's path, without its suffix.

    Args:
        pattern: Text with `{object}` and `{view}` once each; `*` stands for anything but a slash.

    Raises:
        ConfigError: It lacks one of them, or has one twice.
    """

    def __init__(self, pattern: str) -> None:
        bare = pattern
        if PurePosixPath(pattern).suffix.lower() in IMAGE_SUFFIXES:
            bare = pattern[: -len(PurePosixPath(pattern).suffix)]
        pieces = _PIECES.split(bare)
        if any(pieces.count(name) != 1 for name in ("{object}", "{view}")):
            raise ConfigError(
                "objects must be folder, a manifest (.csv, .jsonl), or a pattern that holds {object} and {view} once "
                f"each, got {pattern!r}. For instance: --objects '{{object}}_{{view}}' for 0001_top.png"
            )
        regex = "".join(_MEANING.get(piece) or re.escape(piece) for piece in pieces)
        self._form = re.compile(f"(?P<before>.*/)?{regex}", re.DOTALL)

    def place(self, path: Path, base: Path) -> Placed | None:
        """Part and view of a photograph; None where the pattern does not fit."""
        name, root = (Path(os.path.abspath(one)).as_posix() for one in (path, base))  # noqa: PTH100  no links followed
        found = self._form.fullmatch(name[: -len(path.suffix)] if path.suffix else name)
        if found is None:
            return None
        before, within = found["before"] or "", root.rstrip("/") + "/"
        if before.startswith(within):
            before = before[len(within) :]
        elif within.startswith(before):
            before = ""
        return Placed(part=before + found["object"], view=found["view"])


class ManifestGrouping:
    """Parts by a list; photographs that are not in it belong to none.

    Args:
        path: CSV with a header or JSON-lines: `path`, `object_id`, `view`, and `category` if it is known.

    Raises:
        DataError: It cannot be read, or names a photograph twice.
    """

    def __init__(self, path: Path) -> None:
        self._known: dict[str, Placed] = {}
        for number, row in read_rows(path, ("path", "object_id", "view")):
            if not row.get("path") or not row.get("object_id") or not row.get("view"):
                continue
            key = os.path.abspath(path.parent / row["path"])  # noqa: PTH100
            if key in self._known:
                raise DataError(f"row {number} of {path} must name an image of its own, got {row['path']!r} again.")
            self._known[key] = Placed(part=row["object_id"], view=row["view"], category=row.get("category") or None)

    def place(self, path: Path, base: Path) -> Placed | None:  # noqa: ARG002  parts are named by the list
        """Part and view of a photograph; None where it is not listed."""
        return self._known.get(os.path.abspath(path))  # noqa: PTH100


def place_all(rule: str, paths: Iterable[Path], base: Path) -> dict[Path, Placed]:
    """Part and view of every photograph that the rule fits.

    Raises:
        ConfigError: There is no such rule.
        DataError: Its manifest cannot be read.
    """
    grouping = grouping_of(rule)
    found = ((path, grouping.place(path, base)) for path in paths)
    return {path: placed for path, placed in found if placed is not None}


def with_places(records: Sequence[Record], rule: str, root: Path) -> list[Record]:
    """The records with part and view by a rule; what a data set says itself stays where the rule does not fit.

    Raises:
        ConfigError: There is no such rule.
        DataError: Its manifest cannot be read.
    """
    placed: Mapping[Path, Placed] = place_all(rule, [record.path for record in records], root)
    return [
        record if (own := placed.get(record.path)) is None else replace(record, object_id=own.part, view=own.view)
        for record in records
    ]
