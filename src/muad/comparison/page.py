"""`compare.html`, `.csv` and `.json`: a comparison as people and programs read it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from muad.comparison.budget import FAR_BELOW
from muad.comparison.pictures import FOUND, FULL, agreement, draw_pictures
from muad.comparison.published import DATA, OTHER_TERMS
from muad.comparison.table import MEAN
from muad.metrics.report import METRIC_NAMES
from muad.reporting.page import render, write_page
from muad.runs.folder import write_text
from muad.wording import duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muad.comparison.ranking import Ranking
    from muad.comparison.table import Comparison
    from muad.types import Catalog

_HEADINGS = (
    "image<br>AUROC",
    "image<br>AP",
    "image<br>F1-max",
    "pixel<br>AUROC",
    "pixel<br>AP",
    "pixel<br>F1-max",
    "AUPRO",
)


def write_comparison(found: Comparison, catalog: Catalog) -> None:
    """Write page, table and JSON into the comparison's folder.

    Raises:
        DataError: The page cannot be written.
        CheckpointError: Another file cannot be written.
    """
    write_text(found.out / "compare.csv", found.to_csv())
    write_text(found.out / "compare.json", json.dumps(found.to_json(), indent=1) + "\n")
    write_page(render("compare.html", _values(found, catalog)), found.page)


def _values(found: Comparison, catalog: Catalog) -> dict[str, Any]:
    """What the template shows."""
    entries = found.ordered()
    firsts = {entry.key: found.trials[entry.key][0] for entry in entries if found.trials.get(entry.key)}
    keys = {entry.key: entry for entry in entries}
    means = dict(zip((entry.key for entry in entries), found.means, strict=True))
    done = {key: row for key, row in means.items() if row["seeds"]}
    names = sorted({row["category"] for row in found.rows} - {MEAN})
    return {
        "name": catalog.root.absolute().name,
        "facts": found.facts,
        "entries": entries,
        "means": means,
        "best": {metric: _best(done, metric) for metric in METRIC_NAMES},
        "by_category": {
            name: {
                entry.key: row
                for entry in entries
                for row in found.rows
                if row["category"] == name and (row["detector"], row["encoder"]) == (entry.detector, entry.encoder)
            }
            for name in names
        },
        "metrics": list(zip(METRIC_NAMES, _HEADINGS, strict=True)),
        "published": {key: found.published_of(entry.detector) for key, entry in keys.items()},
        "published_data": DATA,
        "other_terms": OTHER_TERMS,
        "failures": found.failures,
        "ranking": found.ranking,
        "forest": {} if found.ranking is None else _forest(found.ranking),
        "chosen_on": found.chosen_on,
        "recommendation": found.recommendation,
        "fastest": _least(done, "image_s"),
        "finder": _best(done, "pixel_ap"),
        "shortest": _least(done, "training_s"),
        "pictures": draw_pictures(firsts, catalog),
        "agreement": agreement(firsts),
        "found_share": FOUND,
        "full": FULL,
        "far_below": FAR_BELOW,
        "notes": found.notes,
        "duration": duration,
        "part": part,
        "bytes": _bytes,
        "milliseconds": _milliseconds,
        "runs": {key: str(trials[0].run) for key, trials in found.trials.items() if trials},
    }


def _best(rows: Mapping[str, Mapping[str, Any]], name: str) -> str | None:
    """The entry with the largest of some figure."""
    known = {key: row[name] for key, row in rows.items() if row[name] is not None}
    return max(known, key=lambda key: known[key]) if known else None


def _least(rows: Mapping[str, Mapping[str, Any]], name: str) -> str | None:
    known = {key: row[name] for key, row in rows.items() if row[name] is not None}
    return min(known, key=lambda key: known[key]) if known else None


def _forest(ranking: Ranking) -> dict[str, Any]:
    """Where interval and figure of each detector lie on a common axis, in percent of its width."""
    low = min(one.low for one in ranking.standings)
    low = min(0.05 * int(low / 0.05), 0.95)

    def place(value: float) -> float:
        return 100 * (value - low) / (1 - low)

    return {
        "low": low,
        "places": {
            one.key: {"low": place(one.low), "wide": place(one.high) - place(one.low), "dot": place(one.auroc)}
            for one in ranking.standings
        },
    }


def part(share: float) -> str:
    """A share as people read it, small ones too.

    Example:
        >>> part(0.00057), part(0.034), part(0.3)
        ('0.06 %', '3.4 %', '30 %')
    """
    value = 100 * share
    return f"{value:.0f} %" if value >= 10 else f"{value:.1f} %" if value >= 1 else f"{value:.1g} %"


def _bytes(count: float | None) -> str:
    """A size as people read it."""
    if count is None:
        return "\N{EN DASH}"
    mib = count / 2**20
    return f"{mib / 1024:.1f} GiB" if mib >= 1000 else f"{mib:.0f} MiB" if mib >= 10 else f"{mib:.1f} MiB"


def _milliseconds(seconds: float | None) -> str:
    """A short time as people read it."""
    if seconds is None:
        return "\N{EN DASH}"
    value = 1000 * seconds
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms"
