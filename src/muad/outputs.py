"""What prediction leaves on disk: overlays, maps and regions in the photograph's own pixels, and a table of scores."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from PIL import Image

from muad.data.images import IMAGE_SUFFIXES, is_image_file
from muad.errors import ConfigError, DataError
from muad.regions import draw_outlines, find_regions

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

    from muad.inference import ImagePrediction, Predictor

_COLUMNS = (
    *("path", "category", "recognised", "score", "verdict", "reason", "p_value", "width", "height"),
    *("map", "overlay", "notice", "error"),
)
_COVER = 0.7  # share of colour where the map is fully anomalous; the part stays visible under it
_WEAK, _STRONG = np.array((255.0, 225.0, 0.0)), np.array((255.0, 0.0, 70.0))  # yellow to red
_UNSEEN = 0.45  # brightness of what the detector never looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An image to predict and the name its outputs get below the output folder, without suffix."""

    path: Path
    name: Path


def find_images(paths: Sequence[Path]) -> list[Source]:
    """Every image among files and folders, each once, in the order given and sorted within folders.

    Outputs are named by the way from the innermost folder that holds everything, so that `line1/0001.png` and
    `line2/0001.png` stay apart. Hidden files and folders are left out.

    Raises:
        DataError: A path does not exist, or a folder holds no image.
    """
    files: dict[Path, Path] = {}  # by absolute path, so that none is taken twice
    for path in paths:
        if not path.exists():
            raise DataError(f"path must be an existing image or folder, got {path}. Check the path.")
        found = _images_below(path) if path.is_dir() else [path]
        if not found:
            raise DataError(f"path must hold images ({', '.join(sorted(IMAGE_SUFFIXES))}), got {path} without any.")
        for file in found:
            files.setdefault(Path(os.path.abspath(file)), file)  # noqa: PTH100  resolve() would follow links
    bases = [Path(os.path.abspath(path if path.is_dir() else path.parent)) for path in paths]  # noqa: PTH100
    base = Path(os.path.commonpath(bases)) if bases else Path()
    taken: set[Path] = set()
    return [Source(path=file, name=_free_name(absolute.relative_to(base), taken)) for absolute, file in files.items()]


def _images_below(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.rglob("*")
        if is_image_file(file)
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and file.is_file()
    )


def write_predictions(
    predictor: Predictor,
    sources: Sequence[Source],
    out: Path,
    *,
    batch_size: int,
    category: str | None,
    map_format: str = "tiff",
    progress: Callable[[int, int], None],
) -> list[dict[str, Any]]:
    """Predict and write `results.csv`, `results.json`, `overlays/` and `maps/`; rows are flushed as they come.

    Images that cannot be read have an empty score and the reason in the column `error`. `results.json` has the same
    rows, and the regions of each map above its limit.

    Returns:
        The rows of `results.csv`.

    Raises:
        ConfigError: A category is unknown, or missing where it is needed, or no such map format; before anything is
            computed.
        DataError: The output folder cannot be written; what is there stays.
    """
    if map_format not in MAP_FORMATS:
        raise ConfigError(f"map_format must be one of {', '.join(MAP_FORMATS)}, got {map_format!r}.")
    for source in sources:
        predictor.category_of(source.path, category)
    predictions = predictor.stream((source.path for source in sources), batch_size=batch_size, category=category)
    rows: list[dict[str, Any]] = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        with (
            (out / "results.csv").open("w", encoding="utf-8", newline="") as file,
            _JsonList(out / "results.json") as entries,
        ):
            table = csv.DictWriter(file, _COLUMNS)
            table.writeheader()
            for prediction, source in zip(predictions, sources, strict=True):
                entry = _write_one(prediction, source, out, predictor, map_format)
                row = {column: entry.get(column) for column in _COLUMNS}
                table.writerow(row)
                file.flush()
                entries.add(entry)
                rows.append(row)
                progress(len(rows), len(sources))
    except OSError as error:
        done = f" {len(rows)} of {len(sources)} images are done and stay." if rows else ""
        raise DataError(
            f"output folder must be writable, got {out} ({error.strerror or error}). Free space or name another.{done}"
        ) from None
    return rows


def _write_one(
    prediction: ImagePrediction, source: Source, out: Path, predictor: Predictor, map_format: str
) -> dict[str, Any]:
    """Write the map and the overlay of one image; returns what `results.json` says of it."""
    entry: dict[str, Any] = {"path": str(source.path), "category": prediction.category, "score": prediction.score}
    entry |= {"recognised": prediction.recognised_category, "notice": prediction.notice}
    entry |= {"verdict": prediction.verdict, "p_value": prediction.p_value, "reason": prediction.reason}
    entry |= {"reasons": [reason.to_json() for reason in prediction.reasons]}
    if prediction.image is None or prediction.anomaly_map is None:
        return entry | {"error": prediction.error}
    limit = predictor.map_limit(prediction.category)
    regions = () if limit is None else find_regions(prediction.anomaly_map, limit)
    overlay, anomaly_map = out / "overlays" / f"{source.name}.png", out / "maps" / f"{source.name}.{map_format}"
    for file in (overlay, anomaly_map):
        file.parent.mkdir(parents=True, exist_ok=True)
    picture = draw_overlay(prediction.image, prediction.anomaly_map, predictor.colour_scale(prediction.category))
    Image.fromarray(draw_outlines(picture, regions)).save(overlay, compress_level=1)
    scale = MAP_FORMATS[map_format](prediction.anomaly_map, anomaly_map)
    height, width = prediction.image.shape[:2]
    return entry | {
        "width": width,
        "height": height,
        "map": str(anomaly_map.relative_to(out)),
        "map_range": scale,
        "overlay": str(overlay.relative_to(out)),
        "limit": limit,
        "regions": [region.to_json() for region in regions],
        "error": None,
    }


def write_tiff(anomaly_map: Float[np.ndarray, "H W"], file: Path) -> None:
    """The map as 32-bit floating point TIFF, exact."""
    Image.fromarray(anomaly_map).save(file, compression="tiff_lzw")


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
    Image.fromarray(np.nan_to_num(levels, nan=0).astype(np.uint16)).save(file)
    return low, high


MAP_FORMATS: dict[str, Callable[[np.ndarray, Path], tuple[float, float] | None]] = {
    "tiff": write_tiff,
    "npy": write_npy,
    "png": write_png,
}


class _JsonList:
    """A JSON list written entry by entry, whole at the end of the block whatever happens within."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._before = "[\n"

    def __enter__(self) -> Self:
        return self

    def add(self, entry: dict[str, Any]) -> None:
        self._file.write(self._before + json.dumps(entry))
        self._before = ",\n"

    def __exit__(self, *_: object) -> None:
        self._file.write("\n]\n" if self._before == ",\n" else "[]\n")
        self._file.close()


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


def rows_as_json(rows: Sequence[dict[str, Any]]) -> str:
    """The rows of `results.csv` as a JSON list."""
    return json.dumps(list(rows), indent=2)


def _free_name(name: Path, taken: set[Path]) -> Path:
    """`name` without suffix; if another image has it already, with the suffix, then with a number."""
    bare = name.with_suffix("")
    choices = (bare, name, *(bare.with_name(f"{bare.name}-{number}") for number in range(2, 10_000)))
    free = next(choice for choice in choices if choice not in taken)
    taken.add(free)
    return free
