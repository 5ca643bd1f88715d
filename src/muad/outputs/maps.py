"""Anomaly maps on disk: whole or small, exact or in 16 bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, get_args

import cv2
import numpy as np
from PIL import Image

from muad.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import Float

MapFormat = Literal["tiff", "npy", "png"]
MapSize = Literal["none", "small", "full", "16-bit"]
SMALL_PX = 512
_FLOATING_POINT_PREDICTOR = {317: 3}  # a fifth of the bytes, and quicker than without


def map_choice(size: str | None, file_format: str | None) -> tuple[MapSize, MapFormat]:
    """Which maps are written, and how: small ones by default; who names a format alone wants them whole.

    Raises:
        ConfigError: No such size or format, or they contradict each other.
    """
    for name, value, known in (("maps", size, get_args(MapSize)), ("map_format", file_format, get_args(MapFormat))):
        if value is not None and value not in known:
            raise ConfigError(f"{name} must be one of {', '.join(known)}, got {value!r}.")
    if size == "16-bit" and file_format not in (None, "png"):
        raise ConfigError(f"map_format must be png or left out with maps 16-bit, got {file_format}. Take maps full.")
    if size == "16-bit":
        return "full", "png"
    chosen: MapSize = ("small" if file_format is None else "full") if size is None else size  # type: ignore[assignment]
    return chosen, file_format or "tiff"  # type: ignore[return-value]


def small_map(anomaly_map: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "h w"]:
    """The map with at most 512 px on its longer side, each value the mean of those it stands for.

    It covers the same photograph: its pixel (x, y) is the place (x + 1/2) * W / w - 1/2, (y + 1/2) * H / h - 1/2 there.
    NaN where nothing was inspected.
    """
    height, width = anomaly_map.shape
    shrink = SMALL_PX / max(height, width)
    if shrink >= 1:
        return anomaly_map
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    seen = ~np.isnan(anomaly_map)
    if seen.all():
        return np.asarray(cv2.resize(anomaly_map, size, interpolation=cv2.INTER_AREA))
    total = cv2.resize(np.where(seen, anomaly_map, np.float32(0)), size, interpolation=cv2.INTER_AREA)
    share = cv2.resize(seen.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.where(share > 0.5, total / np.maximum(share, np.float32(0.5)), np.float32(np.nan))


def write_tiff(anomaly_map: Float[np.ndarray, "H W"], file: Path) -> None:
    """The map as 32-bit floating point TIFF, exact."""
    Image.fromarray(anomaly_map).save(file, compression="tiff_adobe_deflate", tiffinfo=_FLOATING_POINT_PREDICTOR)


def write_npy(anomaly_map: Float[np.ndarray, "H W"], file: Path) -> None:
    """The map as a NumPy array in float32, exact."""
    np.save(file, anomaly_map)


def write_png(anomaly_map: Float[np.ndarray, "H W"], file: Path) -> tuple[float, float]:
    """The map as 16-bit grey PNG.

    Returns:
        The values that 1 and 65535 stand for, with equal steps between; 0 is where nothing was inspected.
    """
    low, high = float(np.nanmin(anomaly_map)), float(np.nanmax(anomaly_map))
    levels = 1 + np.rint((anomaly_map.astype(np.float64) - low) * (65534 / max(high - low, 1e-300)))
    Image.fromarray(np.nan_to_num(levels, nan=0).astype(np.uint16)).save(file, compress_level=1)
    return low, high


MAP_FORMATS: dict[str, Callable[[np.ndarray, Path], tuple[float, float] | None]] = {
    "tiff": write_tiff,
    "npy": write_npy,
    "png": write_png,
}
