"""The tables of docs/results-compared.md: detectors on real photographs and the toy factory, beside what is published.

    python benchmarks/compared.py DATA --out OUT --budget 5m           trains, measures and writes OUT/compared.md
    python benchmarks/compared.py DATA --out OUT --tables-only         writes it again from what is in OUT

Needs no network: encoders come from packages, random weights where nothing else fits a detector. The same command goes
on where it was stopped; the file is written anew after each data set, so that a run that is cut off leaves what it has.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

METRICS = (
    *("image_auroc", "image_ap", "image_f1_max"),
    *("pixel_auroc", "pixel_ap", "pixel_f1_max", "pixel_aupro"),
)
PUBLISHED = ("MVTec AD", "VisA", "Real-IAD")
_TOY = "toy factory"
_TOY_SHARE = 0.4  # of the budget


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+", help="labelled data sets, beside the toy factory")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", default="5m", help="time for all of it")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--detectors", default="all")
    parser.add_argument("--encoders", default="efficientnet-lite2,muad-tiny")
    parser.add_argument("--image-px", type=int, default=224)
    parser.add_argument("--toy-images", type=int, default=48, help="good training images of each toy product")
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tables-only", action="store_true")
    asked = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # or every encoder that is not here is waited for
    folders = {
        _TOY: asked.out / "toy-factory",
        **{one.absolute().name: asked.out / one.absolute().name for one in asked.data},
    }
    if not asked.tables_only:
        places = {_TOY: asked.out / "toy-data", **{one.absolute().name: one for one in asked.data}}
        _compare(asked, places, folders)
    _write(asked.out, folders)


def _compare(asked: argparse.Namespace, places: dict[str, Path], folders: dict[str, Path]) -> None:
    """Compare on each data set in its share of the budget; what one lacks does not end the others."""
    from muad import MuadError, compare
    from muad.comparison.budget import parse_budget
    from muad.toy_factory import write_toy_factory

    whole = parse_budget(asked.budget)
    write_toy_factory(places[_TOY], train_per_category=asked.toy_images, progress=lambda *_: None)
    for name, data in places.items():
        share = _TOY_SHARE if name == _TOY else (1 - _TOY_SHARE) / (len(places) - 1)
        try:
            compare(
                data, folders[name], detectors=asked.detectors, encoders=asked.encoders, seeds=asked.seeds,
                budget=round(share * whole), image_px=asked.image_px, overrides=asked.settings, device=asked.device,
                note=lambda text, name=name: print(f"{name}: {text}", flush=True),
            )  # fmt: skip
        except MuadError as error:
            print(f"{name}: {error}", flush=True)
        _write(asked.out, folders)


def _write(out: Path, folders: dict[str, Path]) -> None:
    found = {
        name: json.loads((folder / "compare.json").read_text(encoding="utf-8"))
        for name, folder in folders.items()
        if (folder / "compare.json").is_file()
    }
    text = tables(found)
    (out / "compared.md").write_text(text, encoding="utf-8")
    print(text, flush=True)


def tables(found: dict[str, dict[str, Any]]) -> str:
    """Figures beside the published ones, then what each cost.

    Args:
        found: What `compare.json` holds, by name of the data set.
    """
    return "\n".join([*_figures(found), "", *_costs(found), "", *_notes(found), ""])


def _figures(found: dict[str, dict[str, Any]]) -> list[str]:
    lines = [
        "Image AUROC, AP, F1-max · pixel AUROC, AP, F1-max, AUPRO in %, mean over the categories (and the deviation of "
        "image AUROC over seeds). The right-hand columns are published, of other data, other encoders and full length.",
        "",
        f"| detector | encoder here | {' | '.join(found)} | {' | '.join(f'{data}, published' for data in PUBLISHED)} |",
        f"|---|---|{'---|' * (len(found) + len(PUBLISHED))}",
    ]
    rows = _means(found)
    for key in _order(found):
        own = [rows[name].get(key) for name in found]
        detector, encoder = key
        printed = next(iter(found.values()))["published"]
        cells = [_seven(row) for row in own]
        cells += [
            _printed([row for row in printed if (row["detector"], row["data"]) == (detector, data)])
            for data in PUBLISHED
        ]
        lines.append(f"| {detector} | {encoder or '-'} | {' | '.join(cells)} |")
    return lines


def _costs(found: dict[str, dict[str, Any]]) -> list[str]:
    lines = []
    rows = _means(found)
    for name, one in found.items():
        lines += [
            f"{name}: {one['trained_on']} training images of {len(one['categories'])} categories, "
            f"{one['reported']['good']} good and {one['reported']['defective']} defective test images, on "
            f"{one['device']}.",
            "",
            "| detector | encoder | seeds | px | steps of images | of the published length | training | a step "
            "| an image, alone | network only, in batches | memory | size |",
            f"|---|---|{'---:|' * 10}",
        ]
        for key in _order(found):
            row = rows[name].get(key)
            if row is None:
                continue
            lead = f"| {key[0]} | {key[1] or '-'} |"
            if not row["seeds"]:
                lines.append(f"{lead} 0 | {row['error'] or 'not run'} |{' |' * 8}")
                continue
            share = row["share_of_published"]
            steps = "one look" if row["steps"] is None else f"{row['steps']} of {row['batch_size']}"
            far = "" if share is None else f"{100 * share:.2g} %{', far below' if row['far_below_published'] else ''}"
            cells = (
                row["seeds"], row["image_px"], steps, far or "-", _number(row["training_s"], 1, "s"),
                _number(row["step_s"], 1000, "ms"), _number(row["image_s"], 1000, "ms"),
                _number(row["batched_s"], 1000, "ms"), _number(row["memory_bytes"], 2**-20, "MiB"),
                _number(row["disk_bytes"], 2**-20, "MiB"),
            )  # fmt: skip
            lines.append(f"{lead} {' | '.join(map(str, cells))} |")
        lines.append("")
    return lines


def _notes(found: dict[str, dict[str, Any]]) -> list[str]:
    lines = []
    for name, one in found.items():
        lines += [f"{name}: {' '.join(one['recommendation'])}", ""]
        lines += [f"- {name}: {note}" for note in one["notes"]]
    return lines


def _means(found: dict[str, dict[str, Any]]) -> dict[str, dict[tuple[str, str | None], dict[str, Any]]]:
    return {
        name: {(row["detector"], row["encoder"]): row for row in one["rows"] if row["category"] == "mean"}
        for name, one in found.items()
    }


def _order(found: dict[str, dict[str, Any]]) -> list[tuple[str, str | None]]:
    """All rows there are, by image AUROC, mean over the data sets that have it."""
    rows = _means(found)
    keys = dict.fromkeys(key for own in rows.values() for key in own)

    def worth(key: tuple[str, str | None]) -> float:
        known = [own[key]["image_auroc"] for own in rows.values() if key in own and own[key]["image_auroc"] is not None]
        return -sum(known) / len(known) if known else 1.0

    return sorted(keys, key=worth)


def _seven(row: dict[str, Any] | None) -> str:
    if row is None or not row["seeds"]:
        return "not run"
    values = ["-" if row[metric] is None else f"{100 * row[metric]:.1f}" for metric in METRICS]
    wide = row["image_auroc_sd"]
    values[0] += "" if wide is None else f" ± {100 * wide:.1f}"
    return f"{', '.join(values[:3])} · {', '.join(values[3:])}"


def _printed(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "-"
    values = [
        "-" if rows[0]["figures"][metric] is None else f"{100 * rows[0]['figures'][metric]:.1f}" for metric in METRICS
    ]
    each = " (one for each category)" if rows[0]["mode"] == "per_category" else ""
    return f"{', '.join(values[:3])} · {', '.join(values[3:])}{each}"


def _number(value: float | None, factor: float, unit: str) -> str:
    if value is None:
        return "-"
    number = factor * value
    return f"{number:.0f} {unit}" if number >= 10 else f"{number:.2g} {unit}"


if __name__ == "__main__":
    main()
