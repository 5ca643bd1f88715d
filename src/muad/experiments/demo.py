"""The main job on rendered images, from nothing to pictures; every part that is already there is reused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageDraw

from muad.bundling.export import export
from muad.bundling.networks import ExporterMissingError
from muad.checkpoints.checkpoint import read_config
from muad.datasets.index import open_catalog
from muad.device import choose_device, has_fast_bf16
from muad.evaluation.evaluate import Progress, evaluate
from muad.images.reading import read_pair
from muad.metrics.report import Report
from muad.overlays.band import NO_VERDICT_COLOUR, VERDICT_COLOURS
from muad.overlays.text import draw_text, text_width
from muad.reporting import report as write_report
from muad.reporting.content import read_content
from muad.runs.folder import read_run
from muad.runs.scores import SCORES_FILE
from muad.runtime.predictor import Predictor
from muad.runtime.sessions import runtimes
from muad.toy_factory import write_toy_factory
from muad.training.run import train

if TYPE_CHECKING:
    from muad.decisions.limits import Verdict
    from muad.reporting.content import Counts, RunContent
    from muad.runtime.prediction import ImagePrediction
    from muad.types import Record

    Judged = dict[str, list[tuple[Record, ImagePrediction]]]

RECIPE, BUNDLE = "toy-factory", "demo.muad"
_CELL_PX, _TITLE_PX, _TEXT_PX = 192, 38, 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much of the toy factory is rendered, and what is set on top of the recipe.

    Attributes:
        categories: Products; None for all.
        train: Good photographs of each product to train on.
        test_normal: Good photographs of each product to test on.
        test_per_defect: Photographs to test on of each kind of defect.
        checked: Photographs that bundle and run are compared on.
        overrides: `section.key=value` settings.
    """

    categories: tuple[str, ...] | None = None
    train: int
    test_normal: int
    test_per_defect: int
    checked: int
    overrides: tuple[str, ...] = ()


# 172 good photographs are enough to learn from, and leave 100 different ones for a limit at 1 %. To compare bundle and
# run on all that are kept would take longer than the training.
FULL = Extent(train=172, test_normal=16, test_per_defect=6, checked=24)
# 48 leave 24 for the limits, of which a rate of 5 % needs 19 that differ.
QUICK = Extent(
    categories=("pill_blister", "printed_board"),
    train=48,
    test_normal=6,
    test_per_defect=1,
    checked=8,
    overrides=(
        'detector.encoders=["muad-tiny"]',
        "detector.resize_px=[280,280]",
        "detector.crop_px=[280,280]",
        "detector.most_patches=600",
        "training.calibration_share=0.5",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What the demo leaves.

    Attributes:
        report: The figures.
        picture: The sheet of overlays.
        page: The page that reports the run.
        found: What was found and what was missed, in one sentence.
    """

    report: Report
    picture: Path
    page: Path
    found: str


def run_demo(out: Path, progress: Progress, note: Callable[[str], None], extent: Extent = FULL) -> Demo:
    """Render, train, evaluate, draw, report and export into a folder.

    Args:
        out: Folder for `data/`, `run/`, `overlays.png` and the bundle.
        progress: Called with the part at work, how much is done, how much there is, and a loss or None.
        note: Called with sentences the user should see.
        extent: How much is rendered and learned.

    Raises:
        MuadError: The folder holds something else, or cannot be written.
    """
    data, run, picture = out / "data", out / "run", out / "overlays.png"
    write_toy_factory(
        data,
        train_per_category=extent.train,
        test_normal=extent.test_normal,
        test_per_defect=extent.test_per_defect,
        categories=extent.categories,
        progress=lambda done, total: progress("render", done, total, None),
    )
    if not _is_trained(run):
        train(data, run, recipe=RECIPE, overrides=extent.overrides, resume=True, progress=progress, note=note)
    _say_if_random(run, note)
    figures = run / "evaluation.json"
    if figures.is_file() and (run / SCORES_FILE).is_file():
        report = Report.from_json(json.loads(figures.read_text(encoding="utf-8")))
    else:
        report = evaluate(run, data, progress=progress)
    judged = judge_examples(Predictor(run), open_catalog(data, for_training=False).select(split="test"))
    if not picture.is_file():
        draw_examples(judged, picture)
    page = write_report(run, data=data, progress=progress)
    _by_bundle(run, out / BUNDLE, judged, extent.checked, progress, note)
    return Demo(report=report, picture=picture, page=page, found=found_and_missed(read_content(run)))


def found_and_missed(content: RunContent) -> str:
    """How many of the tested parts were stopped at the limits, as a sentence."""
    judged = [category for category in content.categories if category.is_judged]
    bad, good = ([getattr(category, label) for category in judged] for label in ("bad", "good"))
    if not judged:
        return "there are no limits, so nothing was judged"

    def told(counts: list[Counts]) -> str:
        rejected, review, passed = (
            sum(getattr(count, what) for count in counts) for what in ("rejected", "review", "passed")
        )
        return f"{rejected} rejected, {review} sent to review, {passed} passed"

    total, sound = (sum(count.total for count in counts) for counts in (bad, good))
    return f"of {total} parts with a defect: {told(bad)}; of {sound} good parts: {told(good)}"


def judge_examples(predictor: Predictor, records: Sequence[Record]) -> Judged:
    """What is said of the first good part of every category, and of the first with each kind of defect."""
    chosen: dict[str, dict[str, Record]] = {}
    for record in records:
        chosen.setdefault(record.category, {}).setdefault(record.defect_type or "", record)
    examples = {category: [record for _, record in sorted(kinds.items())] for category, kinds in chosen.items()}
    found = iter(predictor.predict([record.path for kinds in examples.values() for record in kinds]))
    return {category: [(record, next(found)) for record in kinds] for category, kinds in examples.items()}


def draw_examples(judged: Judged, picture: Path) -> None:
    """A sheet with a row per category: one normal image, then one of each kind of defect, each above its overlay.

    Above each stand product, defect and verdict. What was found is coloured and outlined, true defects are outlined in
    white, at a distance, so that one sees what was found and what was missed.
    """
    columns = max(len(kinds) for kinds in judged.values())
    rows = []
    for kinds in judged.values():
        cells = [_cell(record, prediction) for record, prediction in kinds]
        cells += [np.full_like(cells[0], 255)] * (columns - len(cells))
        rows.append(np.concatenate(cells, axis=1))
    picture.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(picture)


def _by_bundle(
    run: Path, bundle: Path, judged: Judged, checked: int, progress: Progress, note: Callable[[str], None]
) -> None:
    """Write the run as one file and have the examples judged by that, as a line without torch does."""
    if not bundle.is_file() or bundle.stat().st_mtime < (run / "run.json").stat().st_mtime:
        try:
            export(run, bundle, precisions=_lower(), force=True, most_images=checked, progress=progress, note=note)
        except ExporterMissingError as error:
            note(f"no bundle for the line: {error}")
            return
    pairs = [pair for kinds in judged.values() for pair in kinds]
    found = Predictor(bundle).predict([record.path for record, _ in pairs])
    same = sum(ours.verdict == theirs.verdict for (_, ours), theirs in zip(pairs, found, strict=True))
    note(f"{bundle.name}, judging without torch: the run's verdict on {same} of {len(pairs)} examples")


def _lower() -> tuple[str, ...]:
    """bfloat16 beside float32, where it can be measured."""
    return ("bf16",) if "openvino" in runtimes() and has_fast_bf16(choose_device("cpu")) else ()


def _cell(record: Record, prediction: ImagePrediction) -> np.ndarray:
    image, mask = read_pair(record)
    overlay = image if prediction.anomaly_map is None else prediction.overlay(band=False)
    if mask is not None:
        near, far = (cv2.dilate((mask >= 128).astype(np.uint8), np.ones((side, side))) for side in (7, 11))
        overlay = np.where((far > near)[..., None], np.uint8(255), overlay)
    pair = [Image.fromarray(half).resize((_CELL_PX, _CELL_PX)) for half in (image, overlay)]
    framed = [np.pad(np.asarray(half), ((2, 2), (2, 2), (0, 0)), constant_values=255) for half in pair]
    return np.concatenate([_title(record, prediction.verdict), *framed])


def _title(record: Record, verdict: Verdict | None) -> np.ndarray:
    """Product and true defect of a picture, and the verdict on its colour."""
    title = Image.new("RGB", (_CELL_PX + 4, _TITLE_PX), (255, 255, 255))
    draw = ImageDraw.Draw(title)
    draw_text(draw, (3, 15), record.category, _TEXT_PX, (20, 20, 20), bold=True)
    draw_text(draw, (3, 31), record.defect_type or "good", _TEXT_PX, (20, 20, 20))
    word = verdict or "no verdict"
    left = title.width - 8 - text_width(word, _TEXT_PX, bold=True)
    colour = NO_VERDICT_COLOUR if verdict is None else VERDICT_COLOURS[verdict]
    draw.rectangle((left - 5, 19, title.width - 3, _TITLE_PX - 2), fill=colour)
    draw_text(draw, (left, 31), word, _TEXT_PX, (255, 255, 255), bold=True)
    return np.asarray(title)


def _is_trained(run: Path) -> bool:
    return (run / "run.json").is_file() and bool(read_run(run).get("finished"))


def _say_if_random(run: Path, note: Callable[[str], None]) -> None:
    """Nobody should take figures of an untrained encoder for what the method can do."""
    config = read_config(run)
    for encoder in config.encoders:
        source = encoder.family().source
        if encoder.is_random:
            note(f"encoder: {source}; nothing was learned before this demo, so expect less than with DINOv2")
        else:
            note(f"encoder: {encoder.name}, {source}")
