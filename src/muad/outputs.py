"""What prediction leaves on disk: overlays and maps in the photograph's own pixels, and one table of scores."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image

from muad.data.images import IMAGE_SUFFIXES
from muad.errors import DataError

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

    from muad.inference import ImagePrediction, Predictor

_COLUMNS = ("path", "category", "score", "width", "height", "map", "overlay", "error")
_STRONGEST = 0.75  # share of colour where the map is fully anomalous; the part stays visible under it


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An image to predict and the name its outputs get below the output folder, without suffix."""

    path: Path
    name: Path


def find_images(paths: Sequence[Path]) -> list[Source]:
    """Every image among files and folders, folders searched through, in the order given and sorted within.

    Raises:
        DataError: A path does not exist, or a folder holds no image.
    """
    sources: list[Source] = []
    taken: set[Path] = set()
    for path in paths:
        if path.is_dir():
            files = sorted(
                file
                for file in path.rglob("*")
                if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file() and not file.name.startswith(".")
            )
            if not files:
                raise DataError(f"path must hold images ({', '.join(sorted(IMAGE_SUFFIXES))}), got {path} without any.")
            found = [(file, file.relative_to(path)) for file in files]
        elif path.exists():
            found = [(path, Path(path.name))]
        else:
            raise DataError(f"path must be an existing image or folder, got {path}.")
        sources += [Source(path=file, name=_free_name(name, taken)) for file, name in found]
    return sources


def write_predictions(
    predictor: Predictor,
    sources: Sequence[Source],
    out: Path,
    *,
    batch_size: int,
    category: str | None,
    progress: Callable[[int, int], None],
) -> list[dict[str, Any]]:
    """Predict and write `results.csv`, `overlays/` and `maps/` (32-bit TIFF); rows are flushed as they come.

    Images that cannot be read have an empty score and the reason in the column `error`.

    Returns:
        The rows of `results.csv`.

    Raises:
        DataError: The output folder cannot be written; what is there stays.
    """
    rows: list[dict[str, Any]] = []
    predictions = predictor.stream((source.path for source in sources), batch_size=batch_size, category=category)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with (out / "results.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, _COLUMNS)
            table.writeheader()
            for row in _write_each(predictions, sources, out, predictor.map_scale):
                table.writerow(row)
                file.flush()
                rows.append(row)
                progress(len(rows), len(sources))
    except OSError as error:
        raise DataError(f"output folder must be writable, got {out} ({error}). Free space or name another.") from None
    return rows


def _write_each(
    predictions: Iterable[ImagePrediction], sources: Sequence[Source], out: Path, scale: tuple[float, float] | None
) -> Iterator[dict[str, Any]]:
    for prediction, source in zip(predictions, sources, strict=True):
        row: dict[str, Any] = {"path": str(source.path), "category": prediction.category, "error": prediction.error}
        if prediction.image is not None and prediction.anomaly_map is not None:
            overlay = out / "overlays" / f"{source.name}.png"
            anomaly_map = out / "maps" / f"{source.name}.tiff"
            for file in (overlay, anomaly_map):
                file.parent.mkdir(parents=True, exist_ok=True)
            picture = draw_overlay(prediction.image, prediction.anomaly_map, scale)
            Image.fromarray(picture).save(overlay, compress_level=1)
            Image.fromarray(prediction.anomaly_map).save(anomaly_map, compression="tiff_lzw")
            height, width = prediction.image.shape[:2]
            row |= {"score": prediction.score, "width": width, "height": height}
            row |= {"map": str(anomaly_map.relative_to(out)), "overlay": str(overlay.relative_to(out))}
        yield {column: row.get(column) for column in _COLUMNS}


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
    # Reversed TURBO channels are RGB; its lower half (blue) would tint normal parts, so colours start at green.
    colours = cv2.applyColorMap((110 + 145 * strength).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    weight = (_STRONGEST * strength)[..., None]
    blended = image * (1 - weight) + colours * weight
    return np.where(seen[..., None], blended, image * 0.45).astype(np.uint8)


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
