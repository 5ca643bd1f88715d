"""What prediction leaves of parts that several photographs show: `objects.csv`, `objects.json`, and their photographs.

Each part has a row with its verdict, beside the rows of its photographs in `results.csv`, which name part and view.
Both tables are written when all parts are judged, or when it is interrupted; what was judged before a power cut and is
in `results.csv` alone is judged again by `--append`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muad.datasets.grouping import MANIFEST_RULE, place_all
from muad.datasets.tree import name_some
from muad.errors import ConfigError
from muad.runtime.looking import Photograph
from muad.runtime.objects import ObjectPrediction, ViewedObject

if TYPE_CHECKING:
    from muad.outputs.sources import Source
    from muad.outputs.tables import Earlier

OBJECTS_CSV, OBJECTS_JSON = "objects.csv", "objects.json"
NO_RULE = "none"
"""Given in place of a rule, to judge photographs one by one whatever the run says."""
_COLUMNS = (
    *("object", "category", "score", "verdict", "reason", "p_value", "highest_view", "missing", "unexpected"),
    *("views", "notice"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Photographs as parts.

    Attributes:
        parts: Each with its photographs and the names of their views, in the order of their names.
        alone: Photographs of which it is not known which part they show.
    """

    parts: tuple[tuple[ViewedObject, tuple[Source, ...]], ...]
    alone: tuple[Source, ...]

    @property
    def sources(self) -> list[Source]:
        """All photographs, in the order they are judged."""
        return [*(source for _, own in self.parts for source in own), *self.alone]


def rule_of(given: str | None, of_run: str, note: Callable[[str], None]) -> str | None:
    """The rule that makes parts of photographs: the one given, else that of the run; None to judge them one by one.

    Args:
        given: As the user says; `none` for no parts.
        of_run: The rule its limits were set with; empty where there is none.
        note: Told where the run judges parts and a list of them is needed.
    """
    if given is not None:
        return None if given == NO_RULE else given
    if of_run == MANIFEST_RULE:
        note("this run also judges parts of several views: say which photographs show one part with --objects")
        return None
    return of_run or None


def parts_of(
    sources: Sequence[Source], rule: str, base: Path, *, given: bool, category: str | None, note: Callable[[str], None]
) -> Parts:
    """Photographs grouped by a rule.

    Args:
        sources: The photographs.
        rule: How.
        base: Folder that parts are named from.
        given: Whether the user named the rule just now; it must then fit.
        category: What they show, if it is known.
        note: Told of photographs the rule does not fit.

    Raises:
        ConfigError: There is no such rule, or it fits no photograph.
        DataError: Its manifest cannot be read.
    """
    places = place_all(rule, [source.path for source in sources], base)
    if not places and given:
        raise ConfigError(
            f"objects must be a rule that fits the photographs, got {rule!r}, which fits none of {len(sources)}, such "
            f"as {sources[0].path}. With --objects none they are judged one by one."
        )
    grouped: dict[tuple[str | None, str], list[Source]] = {}
    alone = [source for source in sources if source.path not in places]
    for source in sources:
        if source.path in places:
            placed = places[source.path]
            grouped.setdefault((category or placed.category, placed.part), []).append(source)
    if alone:
        names = name_some(source.path.as_posix() for source in alone)
        note(f"{len(alone)} of {len(sources)} photographs are of no part by the rule {rule!r}: {names}")
    parts = []
    for (what, name), own in sorted(grouped.items(), key=lambda item: (item[0][0] or "", item[0][1])):
        views = tuple((places[source.path].view, Photograph(source.path, what)) for source in own)
        parts.append((ViewedObject(name=name, views=views, category=what), tuple(own)))
    return Parts(parts=tuple(parts), alone=tuple(alone))


def undone(parts: Parts, earlier: Earlier, out: Path) -> Parts:
    """Those that are not judged yet: a part as a whole, as soon as one of its photographs is new or has changed."""
    if earlier.used != "append":
        return parts
    known = {entry["object"] for entry in read_objects(out)}
    left = [(part, own) for part, own in parts.parts if part.name not in known or earlier.unknown(own)]
    return Parts(parts=tuple(left), alone=tuple(earlier.unknown(parts.alone)))


def read_objects(out: Path) -> list[dict[str, Any]]:
    """Entries of `objects.json` in an output folder; none where there is no such file that can be read."""
    with suppress(OSError, ValueError):
        found = json.loads((out / OBJECTS_JSON).read_text(encoding="utf-8"))
        if isinstance(found, list):
            return [entry for entry in found if isinstance(entry, dict) and "object" in entry]
    return []


def write_objects(out: Path, found: Iterable[ObjectPrediction], *, keep: bool) -> list[dict[str, Any]]:
    """Write both tables, whole or not at all.

    Args:
        out: Output folder.
        found: Parts that were judged now.
        keep: Whether rows of other parts that are there stay.

    Returns:
        The rows of `objects.csv` of the parts that were judged now.

    Raises:
        OSError: They cannot be written.
    """
    entries = [one.to_dict() for one in found]
    new = {(entry["object"], entry["category"]) for entry in entries}
    kept = [entry for entry in read_objects(out) if (entry["object"], entry.get("category")) not in new] if keep else []
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, _COLUMNS)
    table.writeheader()
    rows = [_row(entry) for entry in (*kept, *entries)]
    table.writerows(rows)
    listed = ",\n".join(json.dumps(entry) for entry in (*kept, *entries))
    _write(out / OBJECTS_CSV, text.getvalue())
    _write(out / OBJECTS_JSON, f"[\n{listed}\n]\n" if listed else "[]\n")
    return rows[len(kept) :]


def remove_objects(out: Path) -> None:
    """Take away the tables of parts of results that are replaced."""
    for name in (OBJECTS_CSV, OBJECTS_JSON):
        (out / name).unlink(missing_ok=True)


def part_in_words(one: ObjectPrediction) -> str:
    """What is said of a part beside each of its photographs."""
    said = [f"part {one.name}: {one.verdict or 'no verdict'}"]
    if one.score is not None:
        at_least = " at least" if one.missing else ""
        said.append(f"score{at_least} {one.score:.4g}")
    if one.highest_view is not None:
        said.append(f"highest in view {one.highest_view}")
    return ", ".join(said) + "".join(f"; {reason}" for reason in one.reasons)


def _row(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of `objects.json` as a row of `objects.csv`: lists are text."""
    views = ";".join(
        f"{own['view']}={own['verdict'] or ('error' if own['error'] else 'none')}" for own in entry["views"]
    )
    listed = {name: ";".join(entry[name]) for name in ("missing", "unexpected")}
    plain = {**entry, **listed, "views": views}
    return {name: _one_line(plain.get(name)) for name in _COLUMNS}


def _one_line(value: Any) -> Any:  # noqa: ANN401  a cell
    return value.replace("\r", "\\r").replace("\n", "\\n") if isinstance(value, str) else value


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.partial")
    # Names that are no text on this system are written as far as they can be.
    draft.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
    draft.replace(path)
