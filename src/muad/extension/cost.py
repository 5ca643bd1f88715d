"""What an extension would take and what it risks, before any of it is done; nothing is written."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from muad.checking.cost import estimate_cost
from muad.checkpoints.checkpoint import load_detector
from muad.detectors.base import FittingDetector
from muad.runtime.views import predict_images, view_image
from muad.wording import counted

if TYPE_CHECKING:
    from muad.detectors.base import LearningDetector
    from muad.extension.intake import Intake
    from muad.extension.learning import Lesson
    from muad.extension.proof import Witnesses
    from muad.types import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionCost:
    """Orders of magnitude on this machine, from measured images, and what may go wrong.

    Attributes:
        learned: Images it learns from.
        rehearsed: Old images among which they are shown.
        scored: Images scored for the proof, those of old products twice, and for new limits.
        steps: Optimizer steps.
        seconds: From start to end, but for the choice of images, which was made for this estimate too.
        memory_bytes: At its peak, beside the program and the network.
        patches: Remembered before and after; None of a detector without a memory.
        risks: Sentences.
    """

    learned: int
    rehearsed: int
    scored: int
    steps: int
    seconds: float
    memory_bytes: int
    patches: tuple[int, int] | None
    risks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)


def estimate(
    run: Path,
    intake: Intake,
    lesson: Lesson,
    proof: Witnesses,
    device: torch.device,
    encoder_weights: Path | None,
) -> ExtensionCost:
    """What it would take.

    Args:
        run: The run as it is.
        intake: What it would be shown.
        lesson: How.
        proof: Calibration images of old products.
        device: Where it would be computed.
        encoder_weights: Where the encoder's file lies now, if not where it was at training.

    Raises:
        CheckpointError: The run cannot be used.
    """
    detector = load_detector(run, encoder_weights).to(device)
    encode_s, score_s = _measured(detector, intake.training[0])
    counts = Counter(record.category for record in intake.training)
    scored = 2 * sum(map(len, proof.images.values())) + len(intake.calibration)
    patches, choose_s, memory = None, 0.0, 0
    if isinstance(detector, FittingDetector):
        state = detector.trainable_state().get("memory")
        before = 0 if state is None else len(state)
        known = detector.remembered()
        after = {name: detector.would_remember(name, count) for name, count in counts.items()}
        patches = (before, before + sum(count - known.get(name, 0) for name, count in after.items()))
        memory = max(detector.needed_bytes(count) for count in counts.values())
        width = 1 if state is None else state.shape[1]
        # Each choice goes once through all candidates, of which what is needed holds two copies.
        choose_s = sum(after.values()) * _pass_s(memory // (8 * width) + 1, device)
        learn_s = len(intake.training) * encode_s * detector.looks
    else:
        schedule = dataclasses.replace(lesson.config.schedule, total_steps=lesson.steps, warmup_steps=0)
        cost = estimate_cost(dataclasses.replace(lesson.config, schedule=schedule), len(lesson.records), device)
        learn_s, memory = cost.seconds, cost.memory_bytes
    return ExtensionCost(
        learned=len(intake.training),
        rehearsed=sum(lesson.rehearsed.values()),
        scored=scored,
        steps=lesson.steps,
        seconds=learn_s + choose_s + scored * score_s,
        memory_bytes=memory,
        patches=patches,
        risks=tuple(_risks(detector, intake, lesson, proof, patches)),
    )


def _risks(
    detector: LearningDetector, intake: Intake, lesson: Lesson, proof: Witnesses, patches: tuple[int, int] | None
) -> Iterator[str]:
    if isinstance(detector, FittingDetector) and patches is not None:
        known = detector.remembered()
        if intake.new:
            yield (
                "scores of old products can only fall, because patches are added and none is taken away: no good part "
                f"is rejected for it, but a defect that looks like a good {' or '.join(intake.new)} may be missed"
            )
        counts = Counter(record.category for record in intake.training)
        for name in intake.products:
            if name in known and detector.would_remember(name, counts[name]) <= known[name]:
                yield (
                    f"{name}: its memory is full at {known[name]} patches and is chosen anew from old and new "
                    "together: its scores may move both ways"
                )
            elif name in proof.images and name not in known:
                yield (
                    f"{name}: the run does not know which patches are of it, so new ones are added beside them and "
                    "none is ever thinned out"
                )
        if patches[1] > patches[0]:
            yield f"a search goes through {patches[1]} patches instead of {patches[0]}: so much longer it takes"
    else:
        yield "all weights move, and so do the scores of every product: where they move too far, limits are set anew"
    for name, paths in proof.images.items():
        gone = proof.missing.get(name, 0)
        if not paths:
            yield f"{name}: nothing can be proven, no calibration image is there{f' ({gone} are gone)' if gone else ''}"
        elif gone:
            yield f"{name}: {gone} of {gone + len(paths)} calibration images are gone or changed; the rest is compared"
    kept = {record.category for record in intake.calibration}
    for name in intake.new:
        if name not in kept:
            yield f"{name}: too few images to keep some for calibration, so it has no limits and gets no verdict"
    if lesson.missing:
        yield f"old photographs are gone: {sum(lesson.missing.values())}"


def _measured(detector: LearningDetector, record: Record) -> tuple[float, float]:
    """Seconds to encode and to score one photograph, the second time."""
    preprocessing = detector.preprocessing
    image = view_image(preprocessing, preprocessing.read(record.path), f"image {record.path}", record.category)
    views = torch.from_numpy(preprocessing.normalise(preprocessing.views(
        preprocessing.read(record.path), f"image {record.path}", record.category
    ))).to(detector.device)  # fmt: skip
    took = []
    for work in (lambda: detector.encode(views), lambda: predict_images(detector, [image], 1)):
        work()
        begun = time.perf_counter()
        work()
        took.append(time.perf_counter() - begun)
    return took[0], took[1]


def _pass_s(candidates: int, device: torch.device) -> float:
    """Seconds of one look at all candidates in a projection as usual."""
    points = torch.zeros(min(candidates, 200_000), 64, device=device)
    begun = time.perf_counter()
    for _ in range(3):
        (points @ points[0]).argmax()
    return (time.perf_counter() - begun) / 3


def described(cost: ExtensionCost) -> str:
    """The cost in one line."""
    minutes = cost.seconds / 60
    shown = counted(max(1, round(cost.seconds)), "second") if minutes < 2 else counted(round(minutes), "minute")
    steps = f", {cost.steps} steps among {counted(cost.rehearsed, 'old image')}" if cost.steps else ""
    patches = "" if cost.patches is None else f", patches {cost.patches[0]} -> {cost.patches[1]}"
    return (
        f"about {shown} and {cost.memory_bytes / 2**30:.2f} GiB: {counted(cost.learned, 'image')} to learn from"
        f"{steps}, {cost.scored} to score{patches}"
    )
