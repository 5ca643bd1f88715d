"""What prediction leaves on disk: overlays, maps and regions in the photograph's own pixels, tables, a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from PIL import Image

from muad.errors import ConfigError, DataError
from muad.outputs.maps import MAP_FORMATS, MapFormat, MapSize, map_choice, small_map
from muad.outputs.objects import part_in_words, remove_objects, write_objects
from muad.outputs.page import page_row, write_results_page
from muad.outputs.sources import MAPS, OVERLAYS, Source
from muad.outputs.tables import COLUMNS, VIEW_COLUMNS, ResultTables, earlier_results, file_facts

if TYPE_CHECKING:
    from pathlib import Path

    from muad.decisions.object_limits import ObjectVerdict
    from muad.outputs.objects import Parts
    from muad.outputs.tables import Used
    from muad.runtime.objects import ObjectPrediction
    from muad.runtime.prediction import ImagePrediction
    from muad.runtime.predictor import Predictor

Save = Literal["all", "review", "reject", "none"]
_SAVED: dict[str, tuple[str | None, ...]] = {  # verdicts that leave pictures
    "all": ("pass", "review", "incomplete", "unknown product", "reject", None),
    "review": ("review", "incomplete", "unknown product", "reject", None),
    "reject": ("reject",),
    "none": (),
}
_EXACT_PIXELS = 2_000_000  # above it an overlay is a JPEG of a fifth of the bytes, written in a tenth of the time


def write_predictions(
    predictor: Predictor,
    sources: Sequence[Source],
    out: Path,
    *,
    batch_size: int,
    category: str | None,
    progress: Callable[[int, int], None],
    save: Save = "review",
    maps: MapSize | None = None,
    map_format: MapFormat | None = None,
    used: Used = "refuse",
    parts: Parts | None = None,
) -> list[dict[str, Any]]:
    """Predict and write `results.csv`, `results.json`, `overlays/` and `maps/`; rows are on disk as they come.

    At the end, or when it is interrupted, `results.html` shows them.

    Images that cannot be read have an empty score and the reason in the column `error`. `results.json` has the same
    rows, with the regions of each map above its limit and the place where it is highest.

    Args:
        predictor: What judges.
        sources: Images, from `find_images`.
        out: Output folder.
        batch_size: Images per forward pass.
        category: What they show, if it is known.
        progress: Told how many are done, of how many.
        save: The mildest verdict that leaves overlay and map; an image without verdict, or of an unknown product,
            counts as one to review.
        maps: Size of maps: none, at most 512 px, or the photograph's; small if neither this nor a format is given.
        map_format: How they are stored; full ones if only this is given.
        used: What becomes of results that are there already.
        parts: The same images as parts of several views; each gets a verdict, in `objects.csv` and `objects.json`.

    Returns:
        The new rows of `results.csv`.

    Raises:
        ConfigError: A category is unknown, or missing where it is needed, or no such option, or the folder holds
            results; before anything is computed.
        DataError: The output folder cannot be written; what is there stays.
    """
    pictures = picture_choice(save, maps, map_format)
    earlier = earlier_results(out, used)
    for source in sources:
        predictor.category_of(source.path, category)
    columns = COLUMNS if parts is None else COLUMNS + VIEW_COLUMNS
    rows: list[dict[str, Any]] = []
    shown = [page_row(entry, out) for entry in earlier.entries] if earlier.used == "append" else []
    judged: list[ObjectPrediction] = []
    try:
        with ResultTables(out, earlier, columns) as tables:

            def add(entry: dict[str, Any], part: str | None = None) -> None:
                rows.append(tables.add(entry))
                shown.append(page_row(entry | {"part": part}, out))
                progress(len(rows), len(sources))

            if earlier.used == "overwrite":
                remove_objects(out)
            try:
                for one, own in () if parts is None else _judged_parts(predictor, parts, batch_size):
                    for (view, prediction), source in zip(one.views, own, strict=True):
                        of_part = one.verdict if view == one.highest_view else None
                        entry = write_one(prediction, source, out, pictures, of_part)
                        add(entry | {"object": one.name, "view": view}, part_in_words(one))
                    judged.append(one.without_pictures())
                alone = sources if parts is None else parts.alone
                single = predictor.stream((source.path for source in alone), batch_size=batch_size, category=category)
                for prediction, source in zip(single, alone, strict=True):
                    add(write_one(prediction, source, out, pictures))
            finally:  # also of a run that is interrupted
                if parts is not None:
                    write_objects(out, judged, keep=earlier.used == "append")
                write_results_page(out, shown)
    except OSError as error:
        done = f" {len(rows)} of {len(sources)} images are done and stay." if rows else ""
        raise DataError(
            f"output folder must be writable, got {out} ({error.strerror or error}). Free space or name another.{done}"
        ) from None
    return rows


def _judged_parts(
    predictor: Predictor, parts: Parts, batch_size: int
) -> Iterator[tuple[ObjectPrediction, Sequence[Source]]]:
    """Parts as they are judged, with their photographs."""
    found = predictor.stream_objects((one for one, _ in parts.parts), batch_size=batch_size)
    return zip(found, (own for _, own in parts.parts), strict=True)


def picture_choice(
    save: str = "review", maps: str | None = None, map_format: str | None = None
) -> tuple[Save, MapSize, MapFormat]:
    """Which images leave pictures, and which maps.

    Raises:
        ConfigError: No such option, or two that contradict each other.
    """
    if save not in get_args(Save):
        raise ConfigError(f"save must be one of {', '.join(get_args(Save))}, got {save!r}.")
    return save, *map_choice(maps, map_format)  # type: ignore[return-value]


def write_one(
    prediction: ImagePrediction,
    source: Source,
    out: Path,
    pictures: tuple[Save, MapSize, MapFormat],
    of_part: ObjectVerdict | None = None,
) -> dict[str, Any]:
    """Write the map and the overlay of one image, if its verdict asks for them; returns its entry of `results.json`.

    Args:
        prediction: What was said of it.
        source: The image.
        out: Output folder.
        pictures: Which images leave pictures, and which.
        of_part: The verdict on the part it shows, where that asks for them too.

    Raises:
        OSError: A file cannot be written.
    """
    save, map_size, map_format = pictures
    size, modified = file_facts(source.path)
    entry = prediction.to_dict() | {"path": source.path.as_posix(), "bytes": size, "modified_ns": modified}
    entry |= {"overlay": None, "map": None, "map_range": None, "map_px": None}
    wanted = prediction.verdict in _SAVED[save] or (of_part is not None and of_part in _SAVED[save])
    if prediction.anomaly_map is None or not wanted:
        return entry
    overlay = prediction.overlay()
    exact = overlay.shape[0] * overlay.shape[1] <= _EXACT_PIXELS
    file = out / OVERLAYS / f"{source.name}.{'png' if exact else 'jpg'}"
    file.parent.mkdir(parents=True, exist_ok=True)
    how: dict[str, Any] = {"compress_level": 1} if exact else {"quality": 92, "subsampling": 0}
    Image.fromarray(overlay).save(file, **how)
    entry["overlay"] = file.relative_to(out).as_posix()
    if map_size == "none":
        return entry
    anomaly_map = small_map(prediction.anomaly_map) if map_size == "small" else prediction.anomaly_map
    file = out / MAPS / f"{source.name}.{map_format}"
    file.parent.mkdir(parents=True, exist_ok=True)
    entry["map_range"] = MAP_FORMATS[map_format](anomaly_map, file)
    entry["map_px"] = [anomaly_map.shape[1], anomaly_map.shape[0]]
    entry["map"] = file.relative_to(out).as_posix()
    return entry
