"""Every claim about speed, measured side by side on this machine: `make bench`, or with `--quick` a few of them.

Each row runs in a process of its own, so that none inherits another's memory, threads or compiled code. The report
goes to docs/performance.md; figures of a machine that others are using mean little, so let it be quiet. With `--only`,
the rows of earlier calls on this machine stay in the report, so that it can be measured in parts.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from muad.threads import prepare_threads

ROOT = Path(__file__).resolve().parents[1]
SECTIONS = ("inference", "training", "postprocess", "metrics", "loader", "growth")
_REFERENCE = "reference, float32 eager"
_FULL = ("torch fp32", "torch bf16", "torch bf16 compiled", "openvino fp32", "openvino bf16", "openvino int8")
_SHORT = ("torch bf16", "openvino bf16", "openvino int8")

Row = list[Any]


def plan(sections: list[str], quick: bool) -> list[Row]:
    """Rows in the order they are measured; those that are compared follow each other."""
    rows: list[Row] = []
    if "inference" in sections or "training" in sections:
        rows += [["peak", precision] for precision in ("float32", "bf16")]
    if "inference" in sections:
        shapes: list[tuple[str, int, tuple[str, ...]]] = [("S", 392, _SHORT)]
        if not quick:
            shapes = [("S", 392, _FULL), ("B", 392, _FULL), ("tiny", 392, ("torch fp32", *_SHORT))]
            shapes += [(encoder, 280, _SHORT) for encoder in ("S", "B", "tiny")]
        rows += [["fit", encoder] for encoder in dict.fromkeys(encoder for encoder, _, _ in shapes)]
        for encoder, side_px, variants in shapes:
            for batch in (1,) if quick else (1, 8):
                onnx = ("onnx fp32",) if variants == _FULL and batch == 1 else ()
                rows += [["inference", encoder, side_px, name, batch] for name in (_REFERENCE, *variants, *onnx)]
    if "postprocess" in sections:
        batches = (8,) if quick else (1, 8, 16)
        names = ("in stages, sorted", "one matrix per axis, partial selection")
        rows += [["postprocess", name, batch] for batch in batches for name in names]
    if "metrics" in sections:
        ours = ("ours, all exact", "ours, AUPRO by 200 thresholds")
        for count in (100,) if quick else (100, 1725):
            rows += [["metrics", name, count] for name in (*ours, "scikit-learn, 3 metrics", "plain loop, AUPRO")]
        rows += [] if quick else [["metrics", ours[0], 10_000]]
    return rows + _data_rows(sections, quick)


def _data_rows(sections: list[str], quick: bool) -> list[Row]:
    """Rows of training, of the loader, and of growth with the number of images."""
    from data_rows import LOADERS, VERBS
    from training_rows import VARIANTS

    rows: list[Row] = []
    if "training" in sections:
        shapes = [("tiny", 280)] if quick else [("S", 392), ("S", 280), ("tiny", 280), ("B", 280)]
        rows += [["training", encoder, side_px, name] for encoder, side_px in shapes for name in VARIANTS]
    if "loader" in sections:
        rows += [["loader", name] for name in LOADERS]
    if "growth" in sections:
        counts = {"evaluate": (100, 1000, 10_000), "predict": (100, 1000)}
        rows += [["growth", verb, count] for verb in VERBS for count in counts[verb][: 1 if quick else None]]
        rows += [] if quick else [["share", 64]]
    return rows


def run_rows(rows: list[Row], options: argparse.Namespace) -> Iterator[tuple[dict[str, Any], float]]:
    """Measure every row in a new process, and the minutes it took; one that fails says why instead of figures."""
    for number, row in enumerate(rows, 1):
        begun = time.perf_counter()
        result = _measured(row, options, 1)[0]
        if options.together and row[0] in ("inference", "training") and "ms" in result:
            both = _measured(row, options, 2)
            result["together"] = max(one.get("ms", float("nan")) for one in both) / result["ms"]
        taken = time.perf_counter() - begun
        print(f"{number}/{len(rows)} {row} {result} ({taken:.0f} s)", file=sys.stderr)
        yield {"row": row, **result}, taken / 60


def _measured(row: Row, options: argparse.Namespace, processes: int) -> list[dict[str, Any]]:
    """The figures of a row by each of so many processes, which begin to measure at one moment."""
    command = [sys.executable, __file__, "--row", json.dumps(row), "--cache", str(options.cache)]
    command += ["--budget", str(options.budget)]
    with tempfile.TemporaryDirectory() as meeting:
        surroundings = os.environ | {"MUAD_BENCH_MEETING": f"{meeting}:{processes}"}
        running = [
            subprocess.Popen(
                command, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
            )
            for _ in range(processes)
        ]
        said = [process.communicate() for process in running]
    return [
        {"failed": (error.strip().splitlines() or ["no message"])[-1]}
        if process.returncode
        else json.loads(text.splitlines()[-1])
        for process, (text, error) in zip(running, said, strict=True)
    ]


def run_one(row: Row, cache: Path, budget_s: float) -> dict[str, Any]:
    """The figures of one row, measured here."""
    prepare_threads()  # before torch is loaded, as in every process of muad
    import data_rows
    import rows
    import training_rows

    kind, *rest = row
    if kind == "training":
        return training_rows.training_row(*rest)
    if kind == "loader":
        return data_rows.loader_row(*rest)
    if kind == "growth":
        return data_rows.verb_row(*rest)
    if kind == "share":
        return data_rows.share_row(*rest, cache=cache)
    if kind == "peak":
        return rows.peak_row(*rest)
    if kind == "fit":
        return rows.fit_row(*rest, cache=cache)
    if kind == "inference":
        return rows.inference_row(*rest, cache=cache, budget_s=budget_s)
    if kind == "postprocess":
        return rows.postprocess_row(*rest, budget_s=budget_s)
    return rows.metric_row(*rest)


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few rows, a minute or two; printed, not written")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="this part alone; may be repeated")
    parser.add_argument("--match", help="of these, the rows whose JSON this regular expression finds")
    parser.add_argument("--together", action="store_true", help="networks also by two processes at once")
    parser.add_argument("--remark", default="", help="a sentence for the header: what else was running, what failed")
    parser.add_argument("--out", type=Path, help="where the report goes (default: docs/performance.md)")
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "bench", help="fitted decoders and exports")
    parser.add_argument("--budget", type=float, default=5.0, help="seconds of repeated calls per row")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        print(json.dumps(run_one(json.loads(options.row), options.cache, options.budget)))
        return
    from measure import describe_machine
    from report import write_report

    machine = describe_machine()
    planned = plan(options.only or list(SECTIONS), options.quick)
    if options.match:
        planned = [row for row in planned if row[0] in ("peak", "fit") or re.search(options.match, json.dumps(row))]
    results, minutes = [], 0.0
    for result, taken in run_rows(planned, options):
        if options.quick:
            results, minutes = [*results, result], minutes + taken
        else:  # kept at once, so that what was measured is not lost when a run is interrupted
            results, minutes = merge([result], taken, machine, options.cache / "results.json")
    if options.quick:
        print(write_report(results, machine, minutes=minutes))
        return
    if options.remark:
        machine["remark"] = options.remark
    text = write_report(results, machine, minutes=minutes)
    print(text)
    (options.out or ROOT / "docs" / "performance.md").write_text(text, encoding="utf-8")


def merge(
    results: list[dict[str, Any]], minutes: float, machine: dict[str, str], file: Path
) -> tuple[list[dict[str, Any]], float]:
    """These results among those measured before on the same machine, in the order of the plan, which the file keeps."""
    before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    known = {name: value for name, value in machine.items() if name != "load at start"}
    rows = {json.dumps(result["row"]): result for result in results}
    if before.get("machine") == known:
        rows = {json.dumps(result["row"]): result for result in before["rows"]} | rows
        minutes += before["minutes"]
    order = [json.dumps(row) for row in plan(list(SECTIONS), quick=False)]
    merged = [rows[row] for row in dict.fromkeys(order) if row in rows]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"machine": known, "minutes": minutes, "rows": merged}, indent=1), encoding="utf-8")
    return merged, minutes


if __name__ == "__main__":
    main()
