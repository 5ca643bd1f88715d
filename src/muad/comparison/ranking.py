"""Which detector ranks images best, and how sure that is: a bootstrap over images, the same draw for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from muad.wording import counted

if TYPE_CHECKING:
    from jaxtyping import Float

    from muad.runs.scores import ImageScore

Scores = Mapping[str, Sequence[Sequence["ImageScore"]]]
"""By entry, the scores of each seed; all of them of the same images."""

_DRAWS, _FEWEST_DRAWS, _PAIRS = 2000, 200, 2e9
SURE = 0.95
"""Share of the draws in which one must be ahead of another to be called better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a detector stands.

    Attributes:
        key: Of the entry.
        auroc: Image AUROC, mean over categories and seeds.
        low: Lower end of the interval that holds 95 % of the draws.
        high: Its upper end.
        first: Share of the draws in which it is ahead of all others.
    """

    key: str
    auroc: float
    low: float
    high: float
    first: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """All detectors, the best first.

    Attributes:
        standings: One of each.
        ahead: By entry, the share of the draws in which it is ahead of each other one, ties as half.
        images: How many images it rests on.
        categories: Those with good and defective images, which alone count.
        draws: How often images were drawn.
    """

    standings: tuple[Standing, ...]
    ahead: Mapping[str, Mapping[str, float]]
    images: int
    categories: tuple[str, ...]
    draws: int

    @property
    def best(self) -> Standing:
        """The first."""
        return self.standings[0]

    @property
    def not_told_apart(self) -> tuple[Standing, ...]:
        """Those the first is not surely better than."""
        own = self.ahead[self.best.key]
        return tuple(standing for standing in self.standings[1:] if own[standing.key] < SURE)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "by": "image_auroc, mean over categories and seeds",
            "images": self.images,
            "categories": list(self.categories),
            "draws": self.draws,
            "standings": [
                {name: getattr(one, name) for name in ("key", "auroc", "low", "high", "first")}
                for one in self.standings
            ],
            "ahead": {key: dict(others) for key, others in self.ahead.items()},
        }

    def sentences(self, costs: Mapping[str, float]) -> list[str]:
        """What may be said of the first, and of those it is not told apart from.

        Args:
            costs: Seconds an image takes, by entry.
        """
        best, others = self.best, self.not_told_apart
        basis = f"{counted(self.images, 'image')} of {counted(len(self.categories), 'category')}"
        if len(self.standings) == 1:
            return [f"{best.key} alone has figures: image AUROC {best.auroc:.3f} on {basis}."]
        begin = (
            f"{best.key} has the highest image AUROC, {best.auroc:.3f} ({best.low:.3f} to {best.high:.3f}), on {basis}"
        )
        if not others:
            second = self.standings[1]
            share = self.ahead[best.key][second.key]
            return [
                f"{begin}.",
                f"That is clear: drawn again {self.draws} times from these images, it is ahead of {second.key}, the "
                f"next, in {100 * share:.0f} %.",
            ]
        names = ", ".join(f"{one.key} (ahead of it in {100 * self.ahead[best.key][one.key]:.0f} %)" for one in others)
        found = [f"{begin}.", f"These images do not tell it apart from {names}; {100 * SURE:.0f} % would."]
        known = [key for key in (best.key, *(one.key for one in others)) if key in costs]
        cheapest = min(known, key=lambda key: costs[key], default=best.key)
        if cheapest != best.key:
            found.append(
                f"Of those {cheapest} takes least time for an image, {1000 * costs[cheapest]:.3g} ms against "
                f"{1000 * costs[best.key]:.3g} ms: unless more images decide otherwise, it is as good a choice."
            )
        return found


def rank(scores: Scores, *, seed: int = 0) -> Ranking | None:
    """Detectors by image AUROC; None where no category has good and defective images.

    Each draw takes as many good and as many defective images of every category as there are, with replacement, the
    same for all detectors, and as many of a detector's seeds as it has.

    Args:
        scores: By entry and seed.
        seed: Of the draws.
    """
    first = next((seeds[0] for seeds in scores.values() if seeds), None)
    if first is None:
        return None
    labels = {(row.category, row.path): row.is_anomalous for row in first}
    categories = sorted({name for name, _ in labels})
    both = [name for name in categories if len({label for (own, _), label in labels.items() if own == name}) == 2]
    if not both:
        return None
    tables = {key: [_table(rows, both, labels) for rows in seeds] for key, seeds in scores.items() if seeds}
    pairs = sum(bad.size * good.size for seeds in tables.values() for one in seeds for bad, good in one)
    draws = int(np.clip(_PAIRS / max(pairs, 1), _FEWEST_DRAWS, _DRAWS))
    random = np.random.default_rng(seed)
    sizes = [(bad.size, good.size) for bad, good in next(iter(tables.values()))[0]]
    drawn = [
        tuple(random.multinomial(size, np.full(size, 1 / size), draws).astype(np.float32) for size in both_sizes)
        for both_sizes in sizes
    ]
    observed, spread = {}, {}
    for key, seeds in tables.items():
        values = [np.mean([_wins(bad, good).mean() for bad, good in one]) for one in seeds]
        again = np.stack([_drawn_auroc(one, drawn) for one in seeds])  # seeds x draws
        chosen = random.integers(0, len(seeds), (len(seeds), draws))
        observed[key] = float(np.mean(values))
        spread[key] = np.take_along_axis(again, chosen, axis=0).mean(axis=0)
    return _ranking(observed, spread, sum(name in both for name, _ in labels), tuple(both), draws)


def _ranking(
    observed: Mapping[str, float],
    spread: Mapping[str, Float[np.ndarray, " d"]],
    images: int,
    categories: tuple[str, ...],
    draws: int,
) -> Ranking:
    order = sorted(observed, key=lambda key: (-observed[key], key))
    values = np.stack([spread[key] for key in order])
    top = values == values.max(axis=0)
    first = (top / top.sum(axis=0)).mean(axis=1)
    standings = tuple(
        Standing(
            key=key,
            auroc=observed[key],
            low=float(np.percentile(own, 2.5)),
            high=float(np.percentile(own, 97.5)),
            first=float(share),
        )
        for key, own, share in zip(order, values, first, strict=True)
    )
    ahead = {key: {other: _share_ahead(spread[key], spread[other]) for other in order if other != key} for key in order}
    return Ranking(standings=standings, ahead=ahead, images=images, categories=categories, draws=draws)


def _share_ahead(own: Float[np.ndarray, " d"], other: Float[np.ndarray, " d"]) -> float:
    return float(((own > other) + (own == other) / 2).mean())


def _table(
    rows: Sequence[ImageScore], categories: Sequence[str], labels: Mapping[tuple[str, str], bool]
) -> list[tuple[Float[np.ndarray, " m"], Float[np.ndarray, " n"]]]:
    """Scores of the defective and of the good images of each category, images in one order for all."""
    found = {(row.category, row.path): row.score for row in rows}
    return [
        (
            np.array([found[key] for key, bad in labels.items() if key[0] == name and bad]),
            np.array([found[key] for key, bad in labels.items() if key[0] == name and not bad]),
        )
        for name in categories
    ]


def _wins(bad: Float[np.ndarray, " m"], good: Float[np.ndarray, " n"]) -> Float[np.ndarray, "m n"]:
    """1 where a defective image scores above a good one, half where they score alike."""
    won: np.ndarray = (bad[:, None] > good).astype(np.float32) + (bad[:, None] == good) * np.float32(0.5)
    return won


def _drawn_auroc(
    tables: Sequence[tuple[np.ndarray, np.ndarray]], drawn: Sequence[tuple[np.ndarray, ...]]
) -> Float[np.ndarray, " d"]:
    """Mean over the categories of the AUROC of each draw."""
    values = [
        ((bad_drawn @ _wins(bad, good)) * good_drawn).sum(axis=1) / (bad.size * good.size)
        for (bad, good), (bad_drawn, good_drawn) in zip(tables, drawn, strict=True)
    ]
    mean: np.ndarray = np.mean(values, axis=0)
    return mean
