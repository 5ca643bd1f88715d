"""The page of a data check: what was found, with the pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from muad.checking.findings import GRAVE, MEANINGS, REMEDIES
from muad.datasets.content_hash import relative_name
from muad.reporting.page import render, write_page
from muad.reporting.pictures import thumbnail
from muad.wording import expected_time

if TYPE_CHECKING:
    from muad.checking.findings import DataCheck, Finding

_SHOWN_FINDINGS = 24  # of a kind and product, with pictures
_SHOWN_IMAGES = 6  # of a finding


def write_check_page(found: DataCheck, out: Path) -> None:
    """Write the result of `check_data` as one HTML file.

    Raises:
        DataError: The file cannot be written.
    """
    kinds: list[dict[str, Any]] = [
        {
            "name": kind,
            "meaning": MEANINGS[kind],
            "remedy": REMEDIES[kind],
            "grave": kind in GRAVE,
            "count": count,
            "products": [_product(name, findings, found.data) for name, findings in _by_product(found, kind)],
        }
        for kind, count in found.counts.items()
    ]
    values = {
        "name": found.data.absolute().name,
        "data": str(found.data.absolute()),
        "layout": found.layout,
        "data_hash": found.data_hash,
        "categories": found.categories,
        "count_by_category": {
            row.name: sum(finding.category == row.name for finding in found.findings) for row in found.categories
        },
        "images": sum(row.train + row.test_good + row.test_bad for row in found.categories),
        "kinds": kinds,
        "grave": sum(kind["count"] for kind in kinds if kind["grave"]),
        "total": len(found.findings),
        "absent": [meaning for kind, meaning in MEANINGS.items() if kind not in found.counts],
        "proposed": found.proposed,
        "cost": found.cost,
        "cost_time": None if found.cost is None else expected_time(found.cost.seconds),
        "notes": found.notes,
    }
    write_page(render("check.html", values), out)


def _by_product(found: DataCheck, kind: str) -> list[tuple[str, list[Finding]]]:
    own = [finding for finding in found.findings if finding.kind == kind]
    names = dict.fromkeys(finding.category for finding in own)
    return [(name, [finding for finding in own if finding.category == name]) for name in names]


def _product(name: str, findings: list[Finding], root: Path) -> dict[str, Any]:
    """What the template shows of one product: pictures of single images side by side, then what concerns several."""
    shown = findings[:_SHOWN_FINDINGS]
    return {
        "name": name,
        "count": len(findings),
        "hidden": len(findings) - len(shown),
        "singles": [_shown(finding, root) for finding in shown if len(finding.images) == 1],
        "others": [_shown(finding, root) for finding in shown if len(finding.images) != 1],
    }


def _shown(finding: Finding, root: Path) -> dict[str, Any]:
    images = finding.images[:_SHOWN_IMAGES]
    return {
        "text": finding.text,
        "pictures": [(relative_name(path, root), thumbnail(path, finding.box)) for path in images],
        "hidden": len(finding.images) - len(images),
    }
