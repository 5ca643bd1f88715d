"""Between rows of the database and plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from muad.capture import Reason
from muad.decisions.regions import Region
from muad.service.history.record import Inspection, Kept, NewInspection

_KEPT = tuple(field.name for field in fields(Kept))
_OWN = ("kept", "colour_scale", "reasons", "regions", "highest", "extras", "times")
_PLAIN = tuple(field.name for field in fields(NewInspection) if field.name not in _OWN)
_SINCE = ("number", "word", "word_at", "pictures_removed")


def inspection_values(new: NewInspection) -> dict[str, Any]:
    """The row of a new inspection."""
    normal, limit = new.colour_scale or (None, None)
    return {
        **{name: getattr(new, name) for name in _PLAIN},
        **{name: getattr(new.kept, name) for name in _KEPT},
        "normal_value": normal,
        "limit_value": limit,
        "reasons": [reason.to_json() for reason in new.reasons],
        "regions": [region.to_json() for region in new.regions],
        "highest": None if new.highest is None else new.highest.to_json(),
        "extras": dict(new.extras),
        "times": dict(new.times),
        "word": None,
        "word_at": None,
        "pictures_removed": False,
    }


def inspection_of(row: Mapping[str, Any]) -> Inspection:
    """The inspection that a row holds."""
    scale = None if row["normal_value"] is None else (row["normal_value"], row["limit_value"])
    return Inspection(
        **{name: row[name] for name in (*_PLAIN, *_SINCE)},
        kept=Kept(**{name: row[name] for name in _KEPT}),
        colour_scale=scale,
        reasons=tuple(Reason(**reason) for reason in row["reasons"]),
        regions=tuple(region_of(region) for region in row["regions"]),
        highest=None if row["highest"] is None else region_of(row["highest"]),
        extras=row["extras"],
        times=row["times"],
    )


def region_of(values: Mapping[str, Any]) -> Region:
    """A region from its plain values."""
    return Region(
        polygon=tuple((x, y) for x, y in values["polygon"]),
        area_px=values["area_px"],
        peak=values["peak"],
        peak_at=(values["peak_at"][0], values["peak_at"][1]),
        mean=values["mean"],
    )
