"""How large the defects in masks are, in pixels and in patches of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from muad.errors import DataError
from muad.images.reading import read_mask

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

    from muad.images.preprocessing import Preprocessing
    from muad.types import Record

_LEAST_DEFECT_PX = 4  # smaller specks of a mask are dust of its making
_MOST_MASKS = 50  # of a category that are read


def defect_areas(mask: UInt8[np.ndarray, "H W"]) -> tuple[int, ...]:
    """Pixels of each separate defect of a mask, without specks."""
    _, _, statistics, _ = cv2.connectedComponentsWithStats((mask >= 128).astype(np.uint8))
    areas = statistics[1:, cv2.CC_STAT_AREA].tolist()
    return tuple(area for area in areas if area >= _LEAST_DEFECT_PX)


def enlargement(size: tuple[int, int], preprocessing: Preprocessing) -> float:
    """By how much the area of anything in an image of this size grows on its way into a view."""
    rows, columns = preprocessing.placements(size)
    return rows[0].extent / rows[0].length * columns[0].extent / columns[0].length


def masked_defects(
    records: Sequence[Record], preprocessing: Preprocessing, patch_px: int
) -> tuple[Float[np.ndarray, " defects"], tuple[int, int] | None]:
    """Areas of defects in patches, of some masks if they are many, and height and width of the photographs.

    Args:
        records: Of one category; those without a mask, or one that cannot be read, are left out.
        preprocessing: How photographs become what the encoder sees.
        patch_px: Side of a patch.
    """
    masked = [(record.mask_path, record.mask_kind) for record in records if record.mask_path is not None]
    sizes: list[float] = []
    shapes: list[tuple[int, int]] = []
    for path, kind in masked[:: max(1, len(masked) // _MOST_MASKS)]:
        try:
            mask = read_mask(path, kind)
        except DataError:
            continue
        shapes.append((mask.shape[0], mask.shape[1]))
        factor = enlargement(shapes[-1], preprocessing) / patch_px**2
        sizes += [area * factor for area in defect_areas(mask)]
    return np.array(sizes), max(shapes, key=shapes.count) if shapes else None
