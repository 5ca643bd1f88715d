"""How much of a defect is enough to find: `defects_config.json` of MVTec LOCO AD, and the defects of an image by it.

Where a part is missing, no one can say which of the pixels that it might have covered are anomalous. So each kind of
defect has an area, absolute or a share of its mask, beyond which finding more of it counts no further.

References:
    Bergmann et al., Beyond Dents and Scratches: Logical Constraints in Unsupervised Anomaly Detection and
    Localization, IJCV 2022.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from muad.datasets.tree import list_images
from muad.errors import DataError
from muad.images.reading import read_labels

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import Bool

CONFIG_FILE = "defects_config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Saturation:
    """When a kind of defect counts as found.

    Attributes:
        name: The kind of defect.
        threshold: Pixels, or where `relative` a share (0 to 1) of the defect's own.
        relative: Whether it is a share.
    """

    name: str
    threshold: float
    relative: bool

    def area(self, pixels: int) -> int:
        """Pixels that are enough, of a defect of so many; a share is rounded down, as the authors do."""
        return int(self.threshold * pixels) if self.relative else min(int(self.threshold), pixels)


@dataclass(frozen=True, slots=True, kw_only=True)
class SaturatedDefect:
    """One defect of an image.

    Attributes:
        mask: True at its pixels.
        saturation: When it counts as found.
    """

    mask: Bool[np.ndarray, "H W"]
    saturation: Saturation


def read_saturation(path: Path) -> dict[int, Saturation]:
    """The kinds of defect of a category, by the value their pixels have in masks.

    Args:
        path: `defects_config.json`.

    Raises:
        DataError: It cannot be read, or says nothing sound.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} must be JSON that can be read, got: {error}. Restore it from the release.") from None
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{path} must be a list of kinds of defect, got none. Restore it from the release.")
    found: dict[int, Saturation] = {}
    for number, entry in enumerate(entries):
        value, saturation = _entry(path, number, entry)
        if value in found:
            raise DataError(
                f"{path} must have each pixel_value once, got {value} for {found[value].name} and {saturation.name}. "
                "Restore it from the release."
            )
        found[value] = saturation
    return found


def read_defects(folder: Path) -> list[SaturatedDefect]:
    """The defects of an image.

    Args:
        folder: Of its masks, `<category>/ground_truth/<kind>/<name>`; every file is one defect.

    Raises:
        DataError: A mask cannot be read, is empty, or has values that `defects_config.json` does not name.
    """
    kinds = read_saturation(folder.parents[2] / CONFIG_FILE)
    defects = []
    for path in list_images(folder, []):
        labels = read_labels(path)
        values = np.unique(labels[labels > 0]).tolist()
        if len(values) != 1 or values[0] not in kinds:
            raise DataError(
                f"mask {path} must mark one defect by a value of {CONFIG_FILE} ({', '.join(map(str, sorted(kinds)))}), "
                f"got {values or 'none'}. Restore it from the release."
            )
        defects.append(SaturatedDefect(mask=labels > 0, saturation=kinds[values[0]]))
    return defects


def _entry(path: Path, number: int, entry: Any) -> tuple[int, Saturation]:  # noqa: ANN401, JSON may hold anything
    fields: Mapping[str, Any] = entry if isinstance(entry, Mapping) else {}
    name, relative = fields.get("defect_name"), fields.get("relative_saturation")
    value: Any = fields.get("pixel_value")
    threshold: Any = fields.get("saturation_threshold")
    sound = (
        isinstance(name, str)
        and type(value) is int
        and 1 <= value <= 255
        and type(relative) is bool
        and type(threshold) in (int, float)
        and threshold > 0
        and (threshold <= 1 if relative else threshold == int(threshold))
    )
    if not sound:
        raise DataError(
            f"entry {number} of {path} must have a defect_name, a pixel_value from 1 to 255, a relative_saturation of "
            "true or false, and a saturation_threshold of whole pixels or, if relative, up to 1, got "
            f"{entry!r}. Restore it from the release."
        )
    return int(value), Saturation(name=str(name), threshold=float(threshold), relative=bool(relative))
