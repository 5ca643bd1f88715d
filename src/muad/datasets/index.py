"""From a folder or manifest to a catalog of all its images: recognises the layout and says what it recognised.

Each layout has a module of its own beside this one or in `released`; a new one needs a reader there and an entry in
LAYOUTS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from muad.datasets.dagm import is_dagm, read_dagm
from muad.datasets.folder import is_folder, read_folder
from muad.datasets.manifest import is_manifest, read_manifest
from muad.datasets.mvtec_ad import is_mvtec_ad, read_mvtec_ad
from muad.datasets.real_iad import is_real_iad, read_real_iad
from muad.datasets.released.eyecandies import is_eyecandies, read_eyecandies
from muad.datasets.released.kolektor_sdd2 import is_kolektor_sdd2, read_kolektor_sdd2
from muad.datasets.released.mulsen_ad import is_mulsen_ad, read_mulsen_ad
from muad.datasets.released.mvtec_3d import is_mvtec_3d, read_mvtec_3d
from muad.datasets.released.mvtec_ad_2 import is_mvtec_ad_2, read_mvtec_ad_2
from muad.datasets.released.mvtec_loco import is_mvtec_loco, read_mvtec_loco
from muad.datasets.tree import entries, name_some, subfolders
from muad.datasets.visa import is_visa, read_visa
from muad.errors import ConfigError, DataError
from muad.types import Catalog, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One way a data set can lie on disk.

    Attributes:
        name: Name it goes by in a catalog.
        read: Gives records and notes.
        fits: Whether a folder, or a file where `takes_file`, looks like it.
        looks_for: What is looked for, as the user is told.
        takes_file: Whether it is read from one file instead of a folder.
    """

    name: str
    read: Callable[[Path], tuple[list[Record], list[str]]]
    fits: Callable[[Path], bool]
    looks_for: str
    takes_file: bool = False


_MVTEC = Layout(
    name="mvtec",
    read=read_mvtec_ad,
    fits=is_mvtec_ad,
    looks_for="<category>/train/good/ and <category>/test/<good or defect>/",
)

LAYOUTS: dict[str, Layout] = {
    "visa": Layout(
        name="visa",
        read=read_visa,
        fits=is_visa,
        looks_for="split_csv/1cls.csv",
    ),
    "real_iad": Layout(
        name="real_iad",
        read=read_real_iad,
        fits=is_real_iad,
        looks_for="realiad_jsons/<category>.json",
    ),
    "dagm": Layout(
        name="dagm",
        read=read_dagm,
        fits=is_dagm,
        looks_for="<category>/Train/Label/",
    ),
    "mvtec_loco": Layout(
        name="mvtec_loco",
        read=read_mvtec_loco,
        fits=is_mvtec_loco,
        looks_for="<category>/defects_config.json beside test/",
    ),
    "eyecandies": Layout(
        name="eyecandies",
        read=read_eyecandies,
        fits=is_eyecandies,
        looks_for="<category>/train/data/<number>_image_5.png",
    ),
    "mvtec_ad_2": Layout(
        name="mvtec_ad_2",
        read=read_mvtec_ad_2,
        fits=is_mvtec_ad_2,
        looks_for="<category>/test_public/",
    ),
    "mvtec_3d": Layout(
        name="mvtec_3d",
        read=read_mvtec_3d,
        fits=is_mvtec_3d,
        looks_for="rgb/ beside xyz/, z/ or depth/ in <category>/train/good",
    ),
    "mulsen_ad": Layout(
        name="mulsen_ad",
        read=read_mulsen_ad,
        fits=is_mulsen_ad,
        looks_for="<category>/RGB/train/ and <category>/Infrared/train/",
    ),
    "kolektor_sdd2": Layout(
        name="kolektor_sdd2",
        read=read_kolektor_sdd2,
        fits=is_kolektor_sdd2,
        looks_for="train/<name>_GT.png beside train/<name>.png",
    ),
    "mvtec": _MVTEC,
    "mpdd": _MVTEC,
    "btad": _MVTEC,
    "folder": Layout(
        name="folder",
        read=read_folder,
        fits=is_folder,
        looks_for="<category>/good/ or images directly in the folder",
    ),
    "manifest": Layout(
        name="manifest",
        read=read_manifest,
        fits=is_manifest,
        looks_for="a .csv or .jsonl file",
        takes_file=True,
    ),
}
"""Layouts by name, in the order in which they are tried. MPDD and BTAD have the layout of MVTec AD."""


def open_catalog(path: Path, layout: str = "auto", *, for_training: bool = True) -> Catalog:
    """All images of a data set, without reading a pixel.

    Args:
        path: Folder of the data set, or a manifest file.
        layout: Name in LAYOUTS, or `auto` to recognise it.
        for_training: Whether every category must have normal training images.

    Raises:
        ConfigError: If there is no layout of that name.
        DataError: If the path is missing or empty, no layout fits, or the data set is at fault.
    """
    path = Path(path)
    if layout != "auto" and layout not in LAYOUTS:
        raise ConfigError(_unknown_layout(layout))
    if not path.exists():
        msg = f"data path {path} must exist, got no such file or folder. Check the path."
        raise DataError(msg)
    if path.is_dir() and not entries(path):
        msg = f"data folder {path} must hold images, got an empty folder. Fill it or name another."
        raise DataError(msg)
    chosen = _recognise(path) if layout == "auto" else LAYOUTS[layout]
    if chosen.takes_file == path.is_dir():
        msg = f"layout {chosen.name} must be read from a {'file' if chosen.takes_file else 'folder'}, got {path}. "
        msg += f"It looks for {chosen.looks_for}."
        raise DataError(msg)
    records, notes = chosen.read(path)
    _check(path, chosen, records, for_training=for_training)
    records.sort(key=lambda record: (record.category, record.split != "train", record.path.as_posix()))
    found = f"{'Recognised' if layout == 'auto' else 'Read'} {path} as layout {chosen.name} ({chosen.looks_for})."
    return Catalog(root=path, layout=chosen.name, records=tuple(records), notes=(found, *notes))


def _recognise(path: Path) -> Layout:
    fitting = _fitting(path)
    if fitting is not None:
        return fitting
    looked_for = "; ".join(f"{layout.name}: {layout.looks_for}" for layout in dict.fromkeys(LAYOUTS.values()))
    deeper = [
        f"{inside} looks like {layout.name}"
        for inside in (subfolders(path) if path.is_dir() else [])
        if (layout := _fitting(inside)) is not None
    ]
    remedy = (
        f"Perhaps name the folder inside: {name_some(deeper, 1)}" if deeper else "Rearrange it, or write a manifest"
    )
    msg = f"data path {path} must have a known layout, got none of these: {looked_for}. {remedy}."
    raise DataError(msg)


def _fitting(path: Path) -> Layout | None:
    candidates = (layout for layout in LAYOUTS.values() if layout.takes_file != path.is_dir())
    return next((layout for layout in candidates if layout.fits(path)), None)


def _check(path: Path, layout: Layout, records: list[Record], *, for_training: bool) -> None:
    if not records:
        msg = f"{path} must hold images in the layout {layout.name}, got none. It looks for {layout.looks_for}."
        raise DataError(msg)
    trained = {record.category for record in records if record.split == "train"}
    lacking = sorted({record.category for record in records} - trained)
    if for_training and lacking:
        msg = (
            f"every category of {path} must have normal training images, got none for {name_some(lacking)}. Add them "
            f"where layout {layout.name} looks for them ({layout.looks_for}), or remove the category."
        )
        raise DataError(msg)


def _unknown_layout(layout: str) -> str:
    names = ["auto", *sorted(LAYOUTS)]
    close = get_close_matches(layout.lower(), names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else " Leave it at 'auto' to have it recognised."
    return f"layout must be one of {', '.join(names)}, got {layout!r}.{hint}"
