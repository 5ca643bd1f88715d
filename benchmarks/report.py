"""The measured rows as a page: ratios first, absolute figures after them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

Result = dict[str, Any]
ACCURACY = Path(__file__).with_name("accuracy.md")
TRAINED, TOGETHER = Path(__file__).with_name("trained.md"), Path(__file__).with_name("together.md")
HISTORY, CARDS = Path(__file__).with_name("station_history.md"), Path(__file__).with_name("cards.md")
LAYERS = Path(__file__).with_name("layers.md")
_COLUMNS = (
    "Of the peak, below: operations of matrix products per second, as a part of what a product of two square matrices "
    "does in the same precision, the best of 1024, 2048 and 4096 rows: {reached}. Two at once: how many times as long "
    "two processes take that begin together, the slower of them; sharing fairly is 2."
)
_REFERENCE = "reference, float32 eager"
_LIMITS = {"fp32": 1e-5, "bf16": 1e-3, "int8": 5e-3}
_SLOW = {
    "ours, all exact": "scikit-learn, 3 metrics",
    "ours, AUPRO by 200 thresholds": "plain loop, AUPRO",
}
_SIDE = " --set detector.resize_px=[224,224] --set detector.crop_px=[224,224]"
_RUNS = (
    "Two runs on real photographs, of one seed, and the first of them on every backend:",
    "```console",
    "$ muad train photos --out fp32 --set schedule.total_steps=200 --set training.precision=32-true "
    "--set training.cache=off" + _SIDE,
    "$ muad train photos --out bf16 --set schedule.total_steps=200 --set training.precision=bf16-mixed" + _SIDE,
    "$ python benchmarks/accuracy.py fp32 photos --cached bf16 --out benchmarks/accuracy.md",
    "```",
)


def write_report(results: Sequence[Result], machine: dict[str, str], *, minutes: float) -> str:
    """Markdown of everything measured."""
    lines = ["# Performance", "", "Written by `make bench`; do not edit.", ""]
    lines += [f"- {name}: {value}" for name, value in machine.items()]
    lines += [
        f"- measured {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC in {minutes:.0f} minutes, "
        "one process per row",
        "",
        "Times are medians. How many times faster, and what part of the peak, is told of the fastest calls, which the "
        "rest of the machine disturbs least; a median marked ~ is more than 25 % above them. Weights are seeded and "
        "random, decoders fitted for 50 steps: times carry over to trained detectors; how far backends are off is "
        "measured on trained ones, further down.",
        "",
    ]
    if summary := _summary(results):
        lines += ["## In short", "", *summary, ""]
    peaks = {result["row"][1]: result["flops"] for result in results if result["row"][0] == "peak"}
    if peaks:
        reached = " and ".join(f"{flops / 1e12:.2f} TFLOP/s in {name}" for name, flops in peaks.items())
        lines += [_COLUMNS.format(reached=reached), ""]
    for title, kind, table in (
        ("Inference", "inference", partial(_inference, peaks=peaks)),
        ("Training step", "training", partial(_training, peaks=peaks)),
        ("Maps and scores from patch distances", "postprocess", _postprocess),
        ("Pixel metrics", "metrics", _metrics),
        ("Loading images", "loader", _loader),
        ("Growth with the number of images", "growth", _growth),
        ("Evaluation and its forward passes", "share", _share),
    ):
        chosen = [result for result in results if result["row"][0] == kind]
        if chosen:
            lines += [f"## {title}", "", *table(chosen), ""]
    for title, file in (
        ("Where the time goes", LAYERS),
        ("Trained detectors, by their own limits", TRAINED),
        ("Two at once", TOGETHER),
        ("The station's history", HISTORY),
    ):
        if file.is_file():
            lines += [f"## {title}", "", file.read_text(encoding="utf-8")]
    if ACCURACY.is_file():
        lines += ["## What it costs in figures", "", *_RUNS, ACCURACY.read_text(encoding="utf-8")]
    return "\n".join([*lines, "## Graphics cards", "", CARDS.read_text(encoding="utf-8")])


def _summary(results: Sequence[Result]) -> list[str]:
    """The answers first: how many times faster, at what deviation."""
    lines = ["| what | times faster | |", "|---|---|---|"]
    measured = [r for r in results if r["row"][0] == "inference" and "ms" in r]
    plain = {tuple(r["row"][i] for i in (1, 2, 4)): r["best_ms"] for r in measured if r["row"][3] == _REFERENCE}
    for (encoder, side_px, batch), base in plain.items():
        rows = [r for r in measured if (r["row"][1], r["row"][2], r["row"][4]) == (encoder, side_px, batch)]
        for precision, limit in _LIMITS.items():
            within = [r for r in rows if f" {precision}" in r["row"][3] and r["deviation"] <= limit]
            if within:
                best = min(within, key=lambda r: r["best_ms"])
                ratio = f"{base / best['best_ms']:.1f}"
                name = f"inference, {encoder}, {side_px} px, batch {batch}, {precision}"
                lines.append(f"| {name} | {ratio} | {best['row'][3]} |")
    steps = {tuple(r["row"][1:]): r["best_ms"] for r in results if r["row"][0] == "training" and "ms" in r}
    for (encoder, side_px, variant), taken in steps.items():
        base = next((ms for key, ms in steps.items() if key[:2] == (encoder, side_px) and "reference" in key[2]), None)
        if base is not None and "reference" not in variant:
            lines.append(f"| training step, {encoder}, {side_px} px | {base / taken:.1f} | {variant} |")
    seconds = {(r["row"][1], r["row"][2]): r["s"] for r in results if r["row"][0] == "metrics" and "s" in r}
    for (variant, count), taken in seconds.items():
        if variant in _SLOW and (_SLOW[variant], count) in seconds:
            ratio = f"{seconds[_SLOW[variant], count] / taken:.0f}"
            lines.append(f"| pixel metrics of {count} maps, {variant} | {ratio} | against {_SLOW[variant]} |")
    return lines


def _inference(results: Sequence[Result], peaks: Mapping[str, float]) -> list[str]:
    lines = [
        "Normalised images in memory to blurred maps and scores. The reference is the authors' order of operations in "
        "eager float32 (`benchmarks/reference_path.py`). Memory: the process's peak, building and checking included.",
        "",
        "| encoder | px | batch | variant | times faster | ms per image | of the peak | two at once | ready after s | "
        "peak MiB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    plain = {tuple(r["row"][i] for i in (1, 2, 4)): r for r in results if r["row"][3] == _REFERENCE}
    for result in results:
        _, encoder, side_px, variant, batch = result["row"]
        start = f"| {encoder} | {side_px} | {batch} | {variant} |"
        if "failed" in result:
            lines.append(f"{start} {result['failed']} | | | | | |")
            continue
        base = plain.get((encoder, side_px, batch), {})
        ratio = f"{base['best_ms'] / result['best_ms']:.1f}" if "ms" in base else ""
        lines.append(
            f"{start} {ratio} | {result['ms']:.1f}{_mark(result)} | "
            f"{_share_of_peak(result, 1000 * result['flops'] / result['best_ms'], peaks)} | {_together(result)} | "
            f"{result['setup_s']:.1f} | {result['peak_mib']:.0f} |"
        )
    return lines


def _training(results: Sequence[Result], peaks: Mapping[str, float]) -> list[str]:
    lines = [
        "A step of 16 images, ms. The reference encodes its images, has the authors' order of operations and damps "
        "gradients by boolean index; ours takes kept features. Features: encoding, or taking those kept. Loss included "
        "in forward, clipping in optimiser.",
        "",
        "| encoder | px | variant | times faster | step | features | forward | backward | optimiser | of the peak | "
        "two at once | peak MiB |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    plain = {tuple(r["row"][1:3]): r["best_ms"] for r in results if r["row"][3].startswith("reference") and "ms" in r}
    for result in results:
        _, encoder, side_px, variant = result["row"]
        start = f"| {encoder} | {side_px} | {variant} |"
        if "failed" in result:
            lines.append(f"{start} {result['failed']} | | | | | | | | |")
            continue
        base = plain.get((encoder, side_px))
        ratio = f"{base / result['best_ms']:.1f}" if base else ""
        parts = " | ".join(f"{result[name]:.0f}" for name in ("ms", "features", "forward", "backward", "optimiser"))
        share = (
            "" if "reference" in variant else _share_of_peak(result, 1000 * result["flops"] / result["best_ms"], peaks)
        )
        lines.append(f"{start} {ratio} | {parts} | {share} | {_together(result)} | {result['peak_mib']:.0f} |")
    return lines


def _loader(results: Sequence[Result]) -> list[str]:
    lines = [
        "PNG files of 1024 px to normalised images of 392 px.",
        "",
        "| variant | times faster | ms per image |",
        "|---|---|---|",
    ]
    base = next((r["ms"] for r in results if r["row"][1].startswith("reference") and "ms" in r), None)
    for result in results:
        if "failed" in result:
            lines.append(f"| {result['row'][1]} | {result['failed']} | |")
            continue
        ratio = f"{base / result['ms']:.1f}" if base else ""
        lines.append(f"| {result['row'][1]} | {ratio} | {result['ms']:.2f} |")
    return lines


def _growth(results: Sequence[Result]) -> list[str]:
    lines = [
        "The whole verb on generated files of 112 px in one category, every second one with a defect, by an encoder "
        "of four small blocks: what grows here is not the network. Memory: the process's peak.",
        "",
        "| verb | images | s | images/s | peak MiB |",
        "|---|---|---|---|---|",
    ]
    for result in results:
        _, verb, count = result["row"]
        if "failed" in result:
            lines.append(f"| {verb} | {count} | {result['failed']} | | |")
            continue
        rate = count / result["s"]
        lines.append(f"| {verb} | {count} | {result['s']:.1f} | {rate:.0f} | {result['peak_mib']:.0f} |")
    return lines


def _share(results: Sequence[Result]) -> list[str]:
    lines = [
        "S at 392 px in bf16 by torch, PNG files of 512 px: reading, masks, maps and metrics beside the network.",
        "",
    ]
    for result in results:
        if "failed" in result:
            lines.append(result["failed"])
            continue
        lines.append(
            f"{result['row'][1]} images: {result['s']:.1f} s in all, {result['forward_s']:.1f} s of it forward passes, "
            f"ratio {result['ratio']:.2f}."
        )
    return lines


def _postprocess(results: Sequence[Result]) -> list[str]:
    lines = [
        "28 x 28 distances to a blurred map of 256 x 256 and its score.",
        "",
        "| batch | variant | times faster | ms per image | deviation of the score |",
        "|---|---|---|---|---|",
    ]
    plain = {r["row"][2]: r for r in results if r["row"][1] == "in stages, sorted" and "ms" in r}
    for result in results:
        _, variant, batch = result["row"]
        if "failed" in result:
            lines.append(f"| {batch} | {variant} | {result['failed']} | | |")
            continue
        base = plain.get(batch)
        ratio = f"{base['ms'] / result['ms']:.0f}{_mark(base, result)}" if base else ""
        lines.append(
            f"| {batch} | {variant} | {ratio} | {result['ms']:.3f}{_mark(result)} | {result['deviation']:.0e} |"
        )
    return lines


def _metrics(results: Sequence[Result]) -> list[str]:
    lines = [
        "Synthetic maps of 256 x 256, every second with defects; all pixels. Ratios are to what gives the same "
        "figures: scikit-learn for AUROC, AP and F1, the plain loop for AUPRO by 200 thresholds.",
        "",
        "| maps | variant | times faster | s | extra MiB | AUROC | AP | F1 max | AUPRO | |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    seconds = {(r["row"][1], r["row"][2]): r["s"] for r in results if "s" in r}
    for result in results:
        _, variant, count = result["row"]
        if "failed" in result:
            lines.append(f"| {count} | {variant} | {result['failed']} | | | | | | | |")
            continue
        base = seconds.get((_SLOW.get(variant, ""), count))
        ratio = f"{base / result['s']:.0f}" if base else ""
        values = [f"{result[name]:.8f}" if name in result else "" for name in ("auroc", "ap", "f1", "aupro")]
        lines.append(
            f"| {count} | {variant} | {ratio} | {result['s']:.2f} | {result['extra_mib']:.0f} | {' | '.join(values)} | "
            f"{result.get('note', '')} |"
        )
    return lines


def _share_of_peak(result: Result, flops: float, peaks: Mapping[str, float]) -> str:
    """Part of what a matrix product does in the row's precision; empty for int8, whose peak is not measured."""
    variant = result["row"][3]
    peak = peaks.get("bf16" if "bf16" in variant else "float32") if "int8" not in variant else None
    return f"{flops / peak:.0%}" if peak else ""


def _together(result: Result) -> str:
    return f"{result['together']:.2f}" if "together" in result else ""


def _mark(*results: Result) -> str:
    return " ~" if any(result.get("noisy") for result in results) else ""
