"""The same photographs under every detector's map, each map on the scale of its own good photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from muad.datasets.content_hash import relative_name
from muad.errors import DataError
from muad.images.reading import read_pair
from muad.overlays import draw_overlay
from muad.reporting.pictures import data_uri

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

    from muad.comparison.trial import Trial
    from muad.runs.scores import ImageScore
    from muad.types import Catalog, Record

SIDE_PX = 176
FULL = 3.0
"""Where colours end: so many times as far above the median of good pixels as what one in a thousand exceeds."""
_EXAMPLES, _DISPUTED, _CATEGORIES = 4, 4, 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one detector says of a photograph.

    Attributes:
        key: Of the entry.
        above: Share of the good photographs of the product that score lower.
        stopped: Whether it is above the run's own limit; None without one.
        picture: The photograph under its map, as a data URI; None where the map was not kept.
    """

    key: str
    above: float
    picture: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A photograph, side by side.

    Attributes:
        path: From the data set's folder.
        category: What it shows.
        kind: Kind of defect; None of a good one.
        photograph: With its true defect outlined, as a data URI; None where it cannot be read.
        seen: What each detector says of it.
    """

    path: str
    category: str
    kind: str | None
    photograph: str | None
    seen: tuple[Seen, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """What is shown.

    Attributes:
        examples: By category, of each kind of defect one, and a good one.
        disputed: By category, where detectors differ most, the most first.
        left_out: Categories without pictures, because there are too many.
        unscaled: Entries and categories whose scale is of training photographs, because none were kept.
    """

    examples: Mapping[str, tuple[Shown, ...]]
    disputed: Mapping[str, tuple[Shown, ...]]
    left_out: tuple[str, ...]
    unscaled: tuple[str, ...]


def draw_pictures(trials: Mapping[str, Trial], catalog: Catalog) -> Pictures:
    """Choose and draw.

    Args:
        trials: By entry, the first seed's, in the order in which they are shown.
        catalog: The data set.
    """
    scores = {key: {row.path: row for row in trial.scores()} for key, trial in trials.items()}
    maps = {key: trial.maps() for key, trial in trials.items()}
    records = {relative_name(record.path, catalog.root): record for record in catalog.records}
    first = next(iter(scores.values()), {})
    names = sorted({row.category for row in first.values()})
    above = {key: _above(rows) for key, rows in scores.items()}
    examples, disputed = {}, {}
    drawn: dict[str, Shown] = {}

    def show(row: ImageScore) -> Shown:
        if row.path not in drawn:
            drawn[row.path] = _shown(row, records.get(row.path), trials, maps, above)
        return drawn[row.path]

    for name in names[:_CATEGORIES]:
        rows = [row for row in first.values() if row.category == name and all(row.path in own for own in maps.values())]
        examples[name] = tuple(show(row) for row in _examples(rows))
        ranked = sorted(rows, key=lambda row: (-_dispute(row.path, above), row.path))
        disputed[name] = tuple(
            show(row) for row in ranked[:_DISPUTED] if len(trials) > 1 and _dispute(row.path, above) > 0
        )
    unscaled = [
        f"{key} ({category})"
        for key, trial in trials.items()
        for category in names
        if trial.scales.get(category) is None
    ]
    return Pictures(examples=examples, disputed=disputed, left_out=tuple(names[_CATEGORIES:]), unscaled=tuple(unscaled))


def agreement(trials: Mapping[str, Trial]) -> dict[str, int]:
    """Of the defective photographs above a tenth of the good ones: how many all detectors find, some, and none."""
    above = {key: _above({row.path: row for row in trial.scores()}) for key, trial in trials.items()}
    first = next(iter(trials.values())).scores() if trials else ()
    bad = [row.path for row in first if row.is_anomalous and all(row.path in own for own in above.values())]
    found = [sum(own[path] >= FOUND for own in above.values()) for path in bad]
    return {
        "defective": len(bad),
        "all": sum(count == len(trials) for count in found),
        "some": sum(0 < count < len(trials) for count in found),
        "none": sum(count == 0 for count in found),
    }


FOUND = 0.9
"""A defective photograph counts as found if it scores above this share of the good ones."""


def _above(rows: Mapping[str, ImageScore]) -> dict[str, float]:
    """Share of the good photographs of the product that score lower, ties as half; of a good one, of the others."""
    good: dict[str, np.ndarray] = {
        category: np.sort([row.score for row in rows.values() if row.category == category and not row.is_anomalous])
        for category in {row.category for row in rows.values()}
    }
    shares = {}
    for path, row in rows.items():
        own = good[row.category]
        lower, upto = np.searchsorted(own, row.score, "left"), np.searchsorted(own, row.score, "right")
        ties = upto - lower - (not row.is_anomalous)
        others = len(own) - (not row.is_anomalous)
        if others > 0:
            shares[path] = float((lower + ties / 2) / others)
    return shares


def _dispute(path: str, above: Mapping[str, Mapping[str, float]]) -> float:
    """How far detectors are apart about a photograph: the deviation of its place among the good ones."""
    places = [own[path] for own in above.values() if path in own]
    return float(np.std(places)) if len(places) > 1 else 0.0


def _examples(rows: Sequence[ImageScore]) -> list[ImageScore]:
    """The first of each kind of defect, then a good one."""
    kinds: dict[str, ImageScore] = {}
    for row in sorted(rows, key=lambda row: row.path):
        if row.is_anomalous:
            kinds.setdefault(row.defect_type or "", row)
    good = [row for row in sorted(rows, key=lambda row: row.path) if not row.is_anomalous][:1]
    return [*list(kinds.values())[: _EXAMPLES - len(good)], *good]


def _shown(
    row: ImageScore,
    record: Record | None,
    trials: Mapping[str, Trial],
    maps: Mapping[str, Mapping[str, np.ndarray]],
    above: Mapping[str, Mapping[str, float]],
) -> Shown:
    small, mask = None, None
    if record is not None:
        try:
            image, truth = read_pair(record)
        except DataError:
            pass
        else:
            small, mask = _shrunk(image), truth
    grey = small if small is None else np.repeat(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    return Shown(
        path=row.path,
        category=row.category,
        kind=row.defect_type if row.is_anomalous else None,
        photograph=None if small is None else data_uri(_outlined(small, mask)),
        seen=tuple(
            Seen(
                key=key,
                above=above[key].get(row.path, float("nan")),
                picture=None
                if grey is None
                else data_uri(draw_overlay(grey, _enlarged(maps[key][row.path], grey), _ends(trial, row.category))),
            )
            for key, trial in trials.items()
        ),
    )


def _ends(trial: Trial, category: str) -> tuple[float, float]:
    """Map values drawn as nothing and in full colour."""
    scale = trial.scales.get(category)
    if scale is not None:
        low, rare = scale
        return low, low + FULL * max(rare - low, 1e-12)
    return trial.map_scale or (0.0, 1.0)


def _shrunk(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
    scale = SIDE_PX / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.ascontiguousarray(cv2.resize(image, size, interpolation=how))


def _enlarged(anomaly_map: Float[np.ndarray, "m n"], picture: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w"]:
    """A small map at the size of the picture; NaN stays where nothing was inspected."""
    size = (picture.shape[1], picture.shape[0])
    hidden = np.isnan(anomaly_map)
    lowest = np.float32(np.nanmin(anomaly_map)) if not hidden.all() else np.float32(0)
    values = np.where(hidden, lowest, anomaly_map).astype(np.float32)
    found: np.ndarray = cv2.resize(values, size, interpolation=cv2.INTER_LINEAR)
    if hidden.any():
        found[cv2.resize(hidden.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0] = np.nan
    return found


def _outlined(picture: UInt8[np.ndarray, "h w 3"], mask: UInt8[np.ndarray, "H W"] | None) -> UInt8[np.ndarray, "h w 3"]:
    """The photograph with its true defect outlined."""
    if mask is None or not mask.any():
        return picture
    size = (picture.shape[1], picture.shape[0])
    # Any trace of a defect counts, so that the smallest keeps its outline.
    reduced = cv2.resize((mask >= 128).astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    around = cv2.dilate(reduced.astype(np.uint8), np.ones((5, 5), np.uint8))
    outlines, _ = cv2.findContours(around, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    drawn: np.ndarray = picture.copy()
    cv2.drawContours(drawn, outlines, -1, (0, 0, 0), 3)
    cv2.drawContours(drawn, outlines, -1, (255, 255, 255), 1)
    return drawn
