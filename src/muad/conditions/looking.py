"""Photographs under a condition as the line would see them: changed, measured, made small for recognition."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from muad.capture import CaptureLimits, content_reasons, measure
from muad.datasets.content_hash import relative_name
from muad.recognition import shrink

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jaxtyping import UInt8

    from muad.conditions.condition import Condition
    from muad.images.preprocessing import Preprocessing
    from muad.recognition.learning import Recogniser
    from muad.types import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What is known of a changed photograph besides its score.

    Attributes:
        warnings: What the check of how it was taken has against it.
        small: What it is recognised by; None where products are not recognised.
    """

    warnings: tuple[str, ...]
    small: UInt8[np.ndarray, "h w 3"] | None


class Glances:
    """Changes photographs for the evaluation and keeps what else is seen on them; several threads may call it.

    Args:
        condition: What is done to them.
        seed: Of all that is drawn.
        root: The data set's folder, from which photographs are named.
        preprocessing: The detector's, for its regions of interest.
        capture: How the run's photographs are taken; None where it has not learned that.
        recogniser: What tells the run's products apart, or None.
    """

    def __init__(
        self,
        condition: Condition,
        seed: int,
        root: Path,
        preprocessing: Preprocessing,
        capture: CaptureLimits | None,
        recogniser: Recogniser | None,
    ) -> None:
        self._condition, self._seed, self._root = condition, seed, root
        self._preprocessing, self._capture, self._recogniser = preprocessing, capture, recogniser
        self._lock = threading.Lock()
        self._seen: dict[Path, Glance] = {}
        self.looks_like: dict[Path, str] = {}
        self.warnings: dict[Path, tuple[str, ...]] = {}

    def change(
        self, record: Record, image: UInt8[np.ndarray, "H W 3"], mask: UInt8[np.ndarray, "H W"] | None
    ) -> tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W"] | None]:
        """Photograph and mask as they would be under the condition."""
        name = relative_name(record.path, self._root)
        image, mask = self._condition.apply(image, mask, self._seed, name)
        interest = self._preprocessing.interest
        size = (image.shape[0], image.shape[1])
        inspected = None if interest is None else interest.mask(record.category, size, f"image {record.path}")
        captured = measure(image, inspected)
        if self._capture is None:
            reasons = content_reasons(captured)
        else:
            reasons = self._capture.reasons(record.category, captured)
        known = self._recogniser is not None and record.category in self._recogniser.products.categories
        glance = Glance(
            warnings=tuple(reason.what for reason in reasons), small=shrink(image) if known else None
        )  # fmt: skip
        with self._lock:
            self._seen[record.path] = glance
        return image, mask

    def recognise(self, records: Sequence[Record]) -> None:
        """Have those that were changed meanwhile recognised, each given as what it is, as on the line."""
        with self._lock:
            seen, self._seen = self._seen, {}
        categories = {record.path: record.category for record in records}
        self.warnings |= {path: glance.warnings for path, glance in seen.items()}
        small = {path: glance.small for path, glance in seen.items() if glance.small is not None}
        if self._recogniser is not None and small:
            found = self._recogniser.recognise(list(small.values()), [categories[path] for path in small])
            self.looks_like |= {path: one.category for path, one in zip(small, found, strict=True)}
