"""Which mask belongs to which image: decided by name, never by position."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from muad.datasets.tree import NORMAL_NAMES, find_subfolder, folder_name, list_images, name_some
from muad.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from muad.types import Record

MASK_ENDINGS = ("_mask", "_label", "_gt")
"""What a mask's name may have behind the image's name; it may also have nothing."""


def pair_masks(images: Iterable[Path], image_root: Path, masks: Iterable[Path], mask_root: Path) -> dict[Path, Path]:
    """The mask of each image that has one.

    A mask fits if its path below `mask_root` is the image's path below `image_root`, plus one of MASK_ENDINGS or
    nothing; the file ending and the case of letters do not count.

    Raises:
        DataError: If two masks fit one image, or one mask fits two images.
    """
    masks_by_key: dict[str, list[Path]] = defaultdict(list)
    for mask in masks:
        masks_by_key[_key(mask, mask_root)].append(mask)
    pairs: dict[Path, Path] = {}
    for image in images:
        key = _key(image, image_root)
        found = [mask for ending in ("", *MASK_ENDINGS) for mask in masks_by_key.get(key + ending, [])]
        if len(found) > 1:
            msg = f"image {image} must have one mask, got {found[0]} and {found[1]}. Remove one of them."
            raise DataError(msg)
        if found:
            pairs[image] = found[0]
    check_unshared(pairs)
    return pairs


def pair_defects(
    category: Path, defect_folders: list[tuple[Path, list[Path]]], masks_folder: Path, notes: list[str]
) -> dict[Path, Path]:
    """The mask of each anomalous image of one category that has one.

    Args:
        category: Folder of the category, for the notes.
        defect_folders: Each folder of anomalous images and the images in it.
        masks_folder: Folder with a folder of masks per kind of defect, or with the masks themselves.
        notes: Gets a sentence where masks are left over.
    """
    pairs: dict[Path, Path] = {}
    for folder, images in defect_folders:
        mask_root = find_subfolder(masks_folder, {folder.name.lower()})
        masks = list_images(mask_root or masks_folder, [], recursive=mask_root is not None)
        pairs |= pair_masks(images, folder, masks, mask_root or masks_folder)
    check_unshared(pairs)
    used = set(pairs.values())
    others = [mask.relative_to(masks_folder) for mask in list_images(masks_folder, notes) if mask not in used]
    # Some data sets have blank masks for their normal images; those are not at fault.
    if left := [mask for mask in others if mask.parts[0].lower() not in NORMAL_NAMES]:
        notes.append(f"{folder_name(category)}: {len(left)} masks belong to no image: {name_some(left)}.")
    return pairs


def note_missing_masks(category: str, records: Sequence[Record], notes: list[str]) -> None:
    """Say how many anomalous test images of a category have no mask."""
    anomalous = [record for record in records if record.is_anomalous]
    missing = [record.path.name for record in anomalous if record.mask_path is None]
    if missing:
        notes.append(
            f"{category}: {len(missing)} of {len(anomalous)} anomalous test images have no mask and count at image "
            f"level only: {name_some(missing)}."
        )


def check_unshared(pairs: dict[Path, Path]) -> None:
    """Raise a DataError if one mask was given to two images."""
    owners: dict[Path, Path] = {}
    for image, mask in pairs.items():
        other = owners.setdefault(mask, image)
        if other != image:
            msg = f"mask {mask} must belong to one image, got {other} and {image}. Rename one image and its mask."
            raise DataError(msg)


def separate_masks(files: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Images, and the masks that lie among them: files named like another file plus one of MASK_ENDINGS."""
    keys = {_key(path, path.parent.parent) for path in files}
    masks = [path for path in files if _is_mask_of_another(_key(path, path.parent.parent), keys)]
    return [path for path in files if path not in set(masks)], masks


def _is_mask_of_another(key: str, keys: set[str]) -> bool:
    return any(key.endswith(ending) and key.removesuffix(ending) in keys for ending in MASK_ENDINGS)


def _key(path: Path, root: Path) -> str:
    return path.relative_to(root).with_suffix("").as_posix().casefold()
