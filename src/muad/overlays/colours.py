"""The colours of an anomaly map over its photograph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

_COVER = 0.7  # share of colour where the map is fully anomalous; the part stays visible under it
_WEAK, _STRONG = np.array((255.0, 225.0, 0.0), np.float32), np.array((255.0, 0.0, 70.0), np.float32)  # yellow to red
_UNSEEN = np.float32(0.45)  # brightness of what the detector never looked at


def draw_overlay(
    image: UInt8[np.ndarray, "H W 3"],
    anomaly_map: Float[np.ndarray, "H W"],
    scale: tuple[float, float] | None = None,
) -> UInt8[np.ndarray, "H W 3"]:
    """The photograph with anomalous places coloured; what a crop hid from the detector is darkened.

    Args:
        image: The original image.
        anomaly_map: Its map; NaN where nothing was inspected.
        scale: Values drawn as nothing and as fully anomalous. The same for all images of a run, so that a good part
            looks good; None takes the range of this map.
    """
    seen = ~np.isnan(anomaly_map)
    low, high = scale or (float(np.nanmin(anomaly_map)), float(np.nanmax(anomaly_map)))
    strength = np.clip((np.nan_to_num(anomaly_map, nan=low) - low) / max(high - low, 1e-12), 0, 1)
    colours = _WEAK + (_STRONG - _WEAK) * strength[..., None]
    # Flat at both ends: the small ups and downs of a good part do not tint it.
    weight = (_COVER * strength**2 * (3 - 2 * strength))[..., None]
    blended = image * (1 - weight) + colours * weight
    return np.where(seen[..., None], blended, image * _UNSEEN).astype(np.uint8)
