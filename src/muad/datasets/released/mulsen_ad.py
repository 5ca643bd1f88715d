"""MulSen-AD: colour and infrared of every part, from two cameras that do not share a frame.

`<category>/{RGB,Infrared}/train/<number>.png`, `.../test/{good,<defect>}/<number>.png`, `.../GT/<defect>/<number>.png`,
and `RGB/GT/<defect>/data.csv`, which says part by part in which of colour, infrared and point cloud the defect shows.
Each image is a record of its own, as published; `object_id` joins the two of a part and `view` tells them apart. The
point clouds are meshes without a grid (`.stl`), and are not read.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, NamedTuple

from muad.datasets.pairing import note_missing_masks, pair_masks
from muad.datasets.tree import (
    find_subfolder,
    folder_name,
    is_normal_folder,
    list_images,
    name_some,
    require_images,
    subfolders,
)
from muad.errors import DataError
from muad.types import Record

if TYPE_CHECKING:
    from pathlib import Path

_SENSES = ("rgb", "infrared")
_LABELS = "data.csv"


class _Shows(NamedTuple):
    """Where the defect of a part shows."""

    rgb: bool
    infrared: bool
    points: bool


def is_mulsen_ad(root: Path) -> bool:
    """Whether the folder, or one directly inside, has `RGB/train` and `Infrared/train`."""
    return any(_is_category(folder) for folder in (root, *subfolders(root)))


def read_mulsen_ad(root: Path) -> tuple[list[Record], list[str]]:
    """Records and notes of MulSen-AD, colour and infrared."""
    notes: list[str] = []
    categories = [root] if _is_category(root) else [folder for folder in subfolders(root) if _is_category(folder)]
    records: list[Record] = []
    for folder in categories:
        labels = _read_labels(folder)
        own = [record for sense in _SENSES for record in _read_sense(folder, sense, labels, notes)]
        require_images(folder, own)
        note_missing_masks(folder_name(folder), own, notes)
        hidden = sum(shows.points and not (shows.rgb or shows.infrared) for shows in labels.values())
        if hidden:
            notes.append(
                f"{folder_name(folder)}: the defects of {hidden} parts show in the point cloud alone, which is not "
                "read; their images count as anomalous, without a mask."
            )
        records += own
    return records, notes


def _is_category(folder: Path) -> bool:
    senses = [find_subfolder(folder, {sense}) for sense in _SENSES]
    return all(sense is not None and find_subfolder(sense, {"train"}) is not None for sense in senses)


def _read_labels(folder: Path) -> dict[tuple[str, str], _Shows]:
    """By kind of defect and number of the part."""
    truth = folder / "RGB" / "GT"
    labels: dict[tuple[str, str], _Shows] = {}
    for inside in subfolders(truth) if truth.is_dir() else []:
        path = inside / _LABELS
        if is_normal_folder(inside) or not path.is_file():
            continue
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                rows = [[cell.strip() for cell in row] for row in csv.reader(file) if any(row)]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{path} must be a CSV file, got: {error}. Restore it from the release.") from None
        for row in rows[1:]:
            if len(row) != 4 or any(cell not in {"0", "1"} for cell in row[1:]):
                raise DataError(
                    f"each row of {path} must have the part and 0 or 1 for colour, infrared and point cloud, got "
                    f"{','.join(row)!r}. Restore it from the release."
                )
            labels[inside.name, _number(row[0])] = _Shows(*(cell == "1" for cell in row[1:]))
    return labels


def _read_sense(folder: Path, sense: str, labels: dict[tuple[str, str], _Shows], notes: list[str]) -> list[Record]:
    category, root = folder_name(folder), find_subfolder(folder, {sense})
    train, test, truth = (None if root is None else find_subfolder(root, {name}) for name in ("train", "test", "gt"))
    good = list_images(train, notes) if train else []
    records = [
        Record(path=path, category=category, split="train", is_anomalous=False, object_id=part, view=sense)
        for path, part in ((path, _part(path, train)) for path in good)
    ]
    for inside in subfolders(test) if test else []:
        images, is_normal = list_images(inside, notes), is_normal_folder(inside)
        masks = find_subfolder(truth, {inside.name.lower()}) if truth and not is_normal else None
        pairs = pair_masks(images, inside, list_images(masks, []), masks) if masks else {}
        unlabelled = [] if is_normal else [path for path in images if (inside.name, _number(path.stem)) not in labels]
        if unlabelled:
            raise DataError(
                f"{folder}/RGB/GT/{inside.name}/{_LABELS} must say where the defect of each part shows, got nothing of "
                f"{name_some([path.name for path in unlabelled])}. Restore it from the release."
            )
        for path in images:
            shows = None if is_normal else labels[inside.name, _number(path.stem)]
            here = shows is not None and bool(getattr(shows, sense))
            is_anomalous = here or (shows is not None and shows == _Shows(rgb=False, infrared=False, points=True))
            records.append(
                Record(
                    path=path,
                    category=category,
                    split="test",
                    is_anomalous=is_anomalous,
                    defect_type=inside.name if is_anomalous else None,
                    mask_path=pairs.get(path) if here else None,
                    object_id=_part(path, test),
                    view=sense,
                )
            )
    return records


def _part(path: Path, split: Path | None) -> str:
    """What both images of a part are called, below the folder of their sense."""
    return path.relative_to(split.parent if split else path.parent).with_suffix("").as_posix()


def _number(name: str) -> str:
    """Numbers without leading zeros and endings, so that `007.png` is `7`."""
    return name.removesuffix(".png").lstrip("0") or "0"
