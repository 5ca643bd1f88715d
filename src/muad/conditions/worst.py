"""Pictures of the worst: the photograph, the same under the condition, and what the detector makes of that."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from muad.conditions.condition import UNCHANGED
from muad.errors import CheckpointError, DataError
from muad.file_names import safe_part
from muad.images.reading import read_pair
from muad.overlays import draw_overlay
from muad.reporting.pictures import outlined
from muad.runs.folder import make_folder
from muad.runtime.views import original_map, predict_images, view_image

if TYPE_CHECKING:
    from jaxtyping import UInt8

    from muad.conditions.condition import Condition
    from muad.conditions.outcome import ConditionOutcome, ConditionsReport, ImageOutcome
    from muad.decisions.limits import Limits
    from muad.runtime.views import Scorer
    from muad.types import Record

_FOLDER = "pictures"
_GAP_PX = 6
_QUALITY = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """The worst false alarm or miss of a category under a condition.

    Attributes:
        condition: Under which.
        row: What the run says of it.
        before: Its score as photographed.
        is_error: Whether the run's own limits judge it wrongly; else it is only the nearest to that.
        file: Picture, a WebP; None where the photograph cannot be read.
    """

    condition: Condition
    row: ImageOutcome
    before: float
    is_error: bool
    file: Path | None

    @property
    def uri(self) -> str | None:
        """The picture as text that a page can hold."""
        if self.file is None:
            return None
        return f"data:image/webp;base64,{base64.b64encode(self.file.read_bytes()).decode('ascii')}"


def draw_worst(
    found: ConditionsReport,
    records: Mapping[str, Record],
    detector: Callable[[str], Scorer],
    limits: Limits | None,
    map_scale: tuple[float, float] | None,
    weights: str,
) -> list[Worst]:
    """The worst of every condition and category; pictures that are there from before are not drawn again.

    Args:
        found: What is finished.
        records: The photographs by name.
        detector: That of a category.
        limits: Those of the run.
        map_scale: Map values drawn as nothing and as fully anomalous, where no limit says so.
        weights: Tells which weights scored them.

    Raises:
        CheckpointError: The folder is not writable.
    """
    worst = []
    for one in found.conditions:
        if one.condition.kind == UNCHANGED:
            continue
        for row, before, is_error in choose_worst(one, found.conditions[0].rows, limits):
            normal = 0.0 if map_scale is None else map_scale[0]
            scale = (None if limits is None else limits.colour_scale(row.category, normal)) or map_scale
            kind = "miss" if row.is_anomalous else "alarm"
            facts = f"{row.path}\0{found.seed}\0{weights}\0{scale}"
            own = hashlib.sha256(facts.encode("utf-8", "surrogateescape")).hexdigest()[:8]
            stem = safe_part(f"{one.condition.name}_{row.category}_{kind}")
            path = found.folder / _FOLDER / f"{stem}_{own}.webp"
            file: Path | None = path
            try:
                if not path.is_file():
                    record, scorer = records[row.path], detector(row.category)
                    strip = _strip(record, one.condition, found.seed, row.path, scorer, scale)
                    _save(strip, path, f"{stem}_")
            except DataError:  # changed since it was scored
                file = None
            worst.append(Worst(condition=one.condition, row=row, before=before, is_error=is_error, file=file))
    return worst


def choose_worst(
    one: ConditionOutcome, unchanged: Sequence[ImageOutcome], limits: Limits | None
) -> Iterator[tuple[ImageOutcome, float, bool]]:
    """Of each category the worst good and the worst defective photograph, its score before, and whether it is an error.

    Where limits judge any wrongly, it is the worst of those that they judged rightly before, else the worst of them.
    """
    before = {row.path: row for row in unchanged}
    for category in one.categories:
        for anomalous in (False, True):
            rows = [row for row in one.rows if row.category == category and row.is_anomalous is anomalous]
            if not rows:
                continue
            wrong = [row for row in rows if row.passes(limits) is anomalous]
            newly = [row for row in wrong if before[row.path].passes(limits) is not anomalous]
            ranked = sorted(newly or wrong or rows, key=attrgetter("path"))
            worst = (min if anomalous else max)(ranked, key=attrgetter("score"))
            yield worst, before[worst.path].score, bool(wrong)


def _strip(
    record: Record,
    condition: Condition,
    seed: int,
    name: str,
    detector: Scorer,
    scale: tuple[float, float] | None,
) -> UInt8[np.ndarray, "h w 3"]:
    """Three pictures side by side, true defects outlined."""
    image, mask = read_pair(record, detector.preprocessing.value_range)
    changed, truth = condition.apply(image, mask, seed, name)
    views = view_image(detector.preprocessing, changed, f"image {record.path}", record.category)
    (found,) = predict_images(detector, [views], 16)
    overlay = draw_overlay(changed, original_map(detector.preprocessing, views, found), scale)
    pictures = [outlined(image, mask), outlined(changed, truth), outlined(overlay, truth)]
    gap = np.full((pictures[0].shape[0], _GAP_PX, 3), 255, np.uint8)
    return np.concatenate([pictures[0], gap, pictures[1], gap, pictures[2]], axis=1)


def _save(strip: UInt8[np.ndarray, "h w 3"], file: Path, prefix: str) -> None:
    """Write a picture in place of any other of the same condition, category and kind."""
    folder = make_folder(file.parent)
    content = io.BytesIO()
    Image.fromarray(strip).save(content, "WEBP", quality=_QUALITY)
    try:
        for former in [each for each in folder.iterdir() if each.name.startswith(prefix)]:
            former.unlink()
        draft = file.with_suffix(".partial")
        draft.write_bytes(content.getvalue())
        draft.replace(file)
    except OSError as error:
        raise CheckpointError(f"pictures must be writable, got {file} ({error}). Free space or name another.") from None
