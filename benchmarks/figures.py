"""Tables of figures in the docs, written from the JSON they were measured as.

    python benchmarks/figures.py [--check]

A page has a place for a table: a line `<!-- table: NAME -->`, and `<!-- end -->` below it. NAME is a file of
benchmarks/results: what `evaluation.json` of a run holds (a row for each category and their mean) or `compare.json`
of a comparison (a row for each detector, with what is published), or `conditions.json` of a run under conditions (a row
for each condition and category), or, as `turns`, what `authors.py --out` writes; with the commands and the seed it came
of.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PLACE = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)
METRICS = ("image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_ap", "pixel_f1_max", "pixel_aupro")
_BESIDE_AUTHORS = (
    "| system | what | theirs, ms | ours | ms | times faster | batch, px |",
    "|---|---|---|---|---|---|---|",
)
_SHOWN = ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "pixel_aupro")


def table(result: dict[str, Any]) -> str:
    """A result as markdown, ending with a newline."""
    if "turns" in result:
        return beside_authors(result["turns"]) + "\n"
    kind = _comparison if "rows" in result else _conditions if "conditions" in result else _evaluation
    lines = kind(result)
    return "\n".join(lines) + "\n"


def read(name: str) -> dict[str, Any]:
    """A result by its name."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def filled(page: str) -> str:
    """The text of a page with its tables written anew."""
    return PLACE.sub(lambda place: f"{place[1]}{table(read(place[2]))}{place[3]}", page)


def _evaluation(result: dict[str, Any]) -> list[str]:
    lines = [f"| category | {' | '.join(METRICS)} |", f"|---|{'---|' * len(METRICS)}"]
    for category, figures in result["categories"].items():
        lines.append(f"| {category} | {' | '.join(f'{figures[metric]:.4f}' for metric in METRICS)} |")
    means = " | ".join(f"**{result['mean'][metric]:.4f}**" for metric in METRICS)
    return [*lines, f"| **mean** | {means} |"]


def _comparison(result: dict[str, Any]) -> list[str]:
    rows = sorted(result["rows"], key=lambda row: -row["image_auroc"])
    best = {metric: max(row[metric] for row in rows) for metric in _SHOWN}
    printed = {row["detector"]: row for row in result["published"]}
    lines = [
        "| detector | encoder | steps | here | published, MVTec AD | training | an image alone "
        "| network, in batches | memory |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        theirs = printed.get(row["detector"])
        each = " (one each)" if theirs and theirs["mode"] == "per_category" else ""
        cells = [
            f"`{row['detector']}`", row["encoder"] or "-", str(row["steps"] or "one look"), _percent(row, best),
            _percent(theirs["figures"], {}) + each if theirs else "-",
            _unit(row["training_s"], 1, "s"), _unit(row["image_s"], 1000, "ms"), _unit(row["batched_s"], 1000, "ms"),
            _unit(row["memory_bytes"], 2**-20, "MiB"),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _conditions(result: dict[str, Any]) -> list[str]:
    lines = [
        "| category | condition | image_auroc | pixel_ap | good, stopped | defective, passed | … unwarned "
        "| flagged, good | flagged, defective | taken for another product, good |",
        f"|{'---|' * 10}",
    ]
    for category in result["conditions"][0]["categories"]:
        for one in result["conditions"]:
            own = one["categories"][category]
            good, bad = own["good"], own["anomalous"]
            cells = [
                category, one["meaning"], f"{own['figures']['image_auroc']:.3f}", f"{own['figures']['pixel_ap']:.3f}",
                _of(good["total"] - good["passed"], good["total"], own["more_alarms"]),
                _of(bad["passed"], bad["total"], own["more_misses"]), _of(bad["unnoticed"], bad["total"]),
                _of(good["warned"], good["total"]), _of(bad["warned"], bad["total"]),
                _of(good["misnamed"], good["total"]),
            ]  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def beside_authors(rows: list[dict[str, Any]]) -> str:
    """Rows as Markdown; a system that could not be measured says why."""
    lines = list(_BESIDE_AUTHORS)
    for row in rows:
        if "failed" in row:
            lines.append(f"| `{row['system']}` | not run: {row['failed']} | | | | | |")
            continue
        theirs = row["theirs"]["processor_s"]
        for name, taken in row.items():
            if name in ("system", "what", "of", "theirs"):
                continue
            ours = taken["processor_s"]
            lines.append(
                f"| `{row['system']}` | {row['what']} | {_ms(theirs)} | {name} | {_ms(ours)} | "
                f"{_ratio(theirs / ours)} | {row['of']} |"
            )
    return "\n".join(lines)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f}" if seconds >= 0.01 else f"{1000 * seconds:.1f}"


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value < 2 else f"{value:.1f}"


def _of(count: int, whole: int, beyond_chance: bool = False) -> str:
    text = f"{count} of {whole}"
    return f"**{text}**" if beyond_chance else text


def _percent(figures: dict[str, float | None], best: dict[str, float]) -> str:
    """Five figures, of the image, then of the pixel; what nobody printed is left out there and a dash here."""
    cells = {}
    for metric in _SHOWN:
        value = figures[metric]
        text = "-" if value is None else f"{100 * value:.1f}"
        cells[metric] = f"**{text}**" if value is not None and value == best.get(metric) else text
    image = [cells[metric] for metric in _SHOWN[:2] if cells[metric] != "-"]
    return f"{', '.join(image)} · {', '.join(cells[metric] for metric in _SHOWN[2:])}"


def _unit(value: float | None, factor: float, unit: str) -> str:
    if value is None:
        return "-"
    number = factor * value
    return f"{number:.0f} {unit}" if number >= 10 else f"{number:.1f} {unit}"


def main() -> None:
    """Write the tables, or with --check only say which page has others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; end with 1 if a table is another one")
    options = parser.parse_args()
    stale = []
    for page in sorted((ROOT / "docs").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (new := filled(text)) != text:
            stale.append(page.name)
            if not options.check:
                page.write_text(new, encoding="utf-8")
    print(f"{'other tables' if options.check else 'written'}: {', '.join(stale) or 'none'}")
    raise SystemExit(bool(stale and options.check))


if __name__ == "__main__":
    main()
