"""Figures that the source of a recipe prints, to stand beside measured ones of the very same categories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from muad.datasets.published import EXPECTED_COUNTS
from muad.metrics.published import Published
from muad.metrics.report import METRIC_NAMES


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFigures:
    """What was printed of a data set.

    Attributes:
        data: Name of the data set.
        source: Where it is printed.
        figures: By metric, mean over the categories, in [0, 1]; None where the source has none.
        recipe: The recipe of the run; None if it is not known.
        changed: Settings of the run that are not the recipe's; None where that was not recorded.
    """

    data: str
    source: str
    figures: Mapping[str, float | None]
    recipe: str | None
    changed: tuple[str, ...] | None

    def sentence(self) -> str:
        """Whose figures they are, and what differs from how they were made."""
        text = f"published: mean over {self.data}, {self.source}"
        if self.changed:
            more = f" and {len(self.changed) - 4} more" if len(self.changed) > 4 else ""
            text += (
                f"; this run was trained with other settings than {self.recipe}: {', '.join(self.changed[:4])}{more}"
            )
        elif self.changed is None and self.recipe is not None:
            text += f"; whether this run was trained with the settings of {self.recipe} was not recorded"
        return text


def published_figures(
    stated: Published, categories: Iterable[str], recipe: str | None, changed: Iterable[str] | None
) -> PublishedFigures | None:
    """What was printed for exactly these categories, if the settings of a run say so.

    Args:
        stated: Of the run's settings.
        categories: Those that were evaluated.
        recipe: Name of the recipe it was trained by, or None.
        changed: Settings of the run that are not the recipe's; None where that was not recorded.
    """
    known = EXPECTED_COUNTS.get(stated.data)
    figures = {name: getattr(stated, name) for name in METRIC_NAMES}
    if known is None or known.categories != set(categories) or not any(figures.values()):
        return None
    return PublishedFigures(
        data=stated.data,
        source=stated.source,
        figures=figures,
        recipe=recipe,
        changed=None if changed is None else tuple(changed),
    )
