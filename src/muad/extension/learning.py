"""How a detector learns more: a memory takes new patches in, a network takes steps with old images among the new."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from muad.detectors import detector_class
from muad.errors import ConfigError, DataError
from muad.runs.images import file_digest
from muad.training import train_detector
from muad.types import Record

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from muad.configuration.run_config import RunConfig
    from muad.detectors.base import Detector
    from muad.extension.settings import ExtensionSettings
    from muad.runs.folder import Checkpoint
    from muad.runs.images import RunImages

Notice = Callable[[str], None]
Progress = Callable[[str, int, int, float | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What a detector is going to be shown.

    Attributes:
        config: Settings of the extended run.
        records: New images and, by rehearsal, old ones before them; each once.
        order: How often and when each of them is shown, by its place; None for each once.
        steps: Optimizer steps; 0 of a memory.
        rehearsed: By product, old images among them.
        missing: By product, old images that are gone or changed.
    """

    config: RunConfig
    records: tuple[Record, ...]
    order: tuple[int, ...] | None = None
    steps: int = 0
    rehearsed: Mapping[str, int] = field(default_factory=dict)
    missing: Mapping[str, int] = field(default_factory=dict)


def require_way(config: RunConfig) -> str:
    """How the detector of a run goes on learning.

    Raises:
        ConfigError: It cannot.
    """
    name = config.detector.name
    if config.training.mode == "per_category":
        raise ConfigError(
            "training.mode must be multi_class for a run to be extended, got per_category: each product has a detector "
            "of its own there. Train a new product as a run of its own: muad train DATA --out RUN"
        )
    way = detector_class(name).goes_on_by
    if not way:
        raise ConfigError(
            f"detector must be patchcore, or dinomaly, for a run to be extended, got {name}: it takes a new training. "
            "Train it on the old and the new photographs together: muad train DATA --out RUN"
        )
    return way


def prepare(
    config: RunConfig, new: Sequence[Record], known: RunImages, settings: ExtensionSettings, note: Notice
) -> Lesson:
    """What is going to be shown, nothing of it yet.

    Args:
        config: Of the run as it is.
        new: New images.
        known: Images the run has.
        settings: Of the extension.
        note: Called with sentences the user should see.

    Raises:
        DataError: Old images of a product are gone, all of them, where they must be shown again.
    """
    if require_way(config) == "insertion":
        return Lesson(config=config, records=tuple(new))
    old, missing = old_images(known)
    counts = Counter(record.category for record in old)
    for name, count in missing.items():
        if not counts[name]:
            raise DataError(
                f"old photographs must be there to be shown again, or {config.detector.name} forgets them, got none of "
                f"{count} of {name} where they were, in {known.base}. Restore them, or train anew on what there is."
            )
        note(
            f"{name}: {count} of {count + counts[name]} old photographs are gone or changed; the others stand for them"
        )
    steps = settings.steps or max(1, config.schedule.total_steps // 4)
    schedule = dataclasses.replace(config.schedule, total_steps=config.schedule.total_steps + steps)
    return Lesson(
        config=dataclasses.replace(config, schedule=schedule),
        records=(*old, *new),
        order=mixed(len(old), len(new), settings.rehearsal),
        steps=steps,
        rehearsed=dict(sorted(counts.items())),
        missing=missing,
    )


def old_images(known: RunImages) -> tuple[list[Record], dict[str, int]]:
    """Training images of a run that lie where they were, as they were; and how many of each product do not."""
    there, missing = list[Record](), Counter[str]()
    for name, own in sorted(known.training.items()):
        for one, digest in own.items():
            path = known.base / one
            if file_digest(path) == digest:
                there.append(Record(path=path, category=name, split="train", is_anomalous=False))
            else:
                missing[name] += 1
    return there, dict(missing)


def mixed(old: int, new: int, share: float) -> tuple[int, ...]:
    """An epoch of old and new images of which the old are a share; the fewer ones come again as often as that takes.

    Args:
        old: Old images; places 0 to `old` - 1.
        new: New images; the places after those.
        share: Of the old, above 0 and below 1.

    Example:
        >>> mixed(2, 1, 0.5), mixed(1, 3, 0.25)
        ((0, 1, 2, 2), (0, 1, 2, 3))
    """
    if old * (1 - share) >= new * share:
        shown_old, shown_new = old, max(new, round(old * (1 - share) / share))
    else:
        shown_old, shown_new = max(old, round(new * share / (1 - share))), new
    places = [*(sorted(one % old for one in range(shown_old))), *(old + one % new for one in sorted(range(shown_new)))]
    return tuple(sorted(places))


def learn(
    lesson: Lesson, begin: Checkpoint, draft: Path, fabric: Fabric, *, progress: Progress, note: Notice
) -> Detector:
    """Show it, and leave the result in the folder's last checkpoint, from which an interrupted one goes on.

    Raises:
        KeyboardInterrupt: Ctrl-C; what was done is saved.
        CheckpointError: A checkpoint cannot be read or written.
    """
    return train_detector(
        lesson.config,
        lesson.records,
        draft,
        fabric,
        begin=begin,
        order=lesson.order,
        progress=progress,
        note=note,
    )
