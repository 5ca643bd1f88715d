"""The colours of an anomaly map over its photograph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

_COVER = np.float32(0.7)  # share of colour where the map is fully anomalous; the part stays visible under it
_WEAK, _STRONG = np.array((255, 225, 0), np.float32), np.array((255, 0, 70), np.float32)  # yellow to red
_UNSEEN = np.float32(0.45)  # brightness of what the detector never looked at
_STRIP_ROWS = 16


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
    low, high = scale or (float(np.nanmin(anomaly_map)), float(np.nanmax(anomaly_map)))
    overlay = np.empty_like(image)
    for top in range(0, len(image), _STRIP_ROWS):  # what fits into a processor's cache is done several times as fast
        strip = np.s_[top : top + _STRIP_ROWS]
        values, pixels, drawn = anomaly_map[strip], image[strip], overlay[strip]
        drawn[:] = pixels
        hidden = np.isnan(values)
        if hidden.any():
            drawn[hidden] = (pixels[hidden] * _UNSEEN).astype(np.uint8)
            values = np.nan_to_num(values, nan=low)
        if (values > low).any():
            strength = np.clip((values - np.float32(low)) * np.float32(1 / max(high - low, 1e-12)), 0, 1)[..., None]
            # Flat at both ends: the small ups and downs of a good part do not tint it.
            weight = _COVER * strength * strength * (3 - 2 * strength)
            blended = pixels + (_WEAK - pixels + (_STRONG - _WEAK) * strength) * weight
            np.copyto(drawn, blended.astype(np.uint8), where=(strength > 0))
    return overlay
