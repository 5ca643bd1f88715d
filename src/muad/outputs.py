"""What prediction leaves on disk: overlays and maps in the photograph's own pixels, and one table of scores."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from muad.data.images import IMAGE_SUFFIXES, is_image_file
from muad.errors import DataError

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

    from muad.inference import ImagePrediction, Predictor

_COLUMNS = ("path", "category", "recognised", "score", "width", "height", "map", "overlay", "notice", "error")
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
    progress: Callable[[int, int], None],
) -> list[dict[str, Any]]:
    """Predict and write `results.csv`, `overlays/` and `maps/` (32-bit TIFF); rows are flushed as they come.

    Images that cannot be read have an empty score and the reason in the column `error`.

    Returns:
        The rows of `results.csv`.

    Raises:
        ConfigError: A category is unknown, or missing where it is needed; before anything is computed.
        DataError: The output folder cannot be written; what is there stays.
    """
    for source in sources:
        predictor.category_of(source.path, category)
    predictions = predictor.stream((source.path for source in sources), batch_size=batch_size, category=category)
    rows: list[dict[str, Any]] = []
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
        done = f" {len(rows)} of {len(sources)} images are done and stay." if rows else ""
        raise DataError(
            f"output folder must be writable, got {out} ({error.strerror or error}). Free space or name another.{done}"
        ) from None
    return rows


def _write_each(
    predictions: Iterable[ImagePrediction], sources: Sequence[Source], out: Path, scale: tuple[float, float] | None
) -> Iterator[dict[str, Any]]:
    for prediction, source in zip(predictions, sources, strict=True):
        row: dict[str, Any] = {"path": str(source.path), "category": prediction.category, "error": prediction.error}
        row |= {"recognised": prediction.recognised_category, "notice": prediction.notice}
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
