"""The pictures beside the history: photographs as they came, small anomaly maps, masks that people drew.

    pictures/2026-01-31/14/<id>.jpg         the uploaded bytes
    pictures/2026-01-31/14/<id>.map.png     16 bits: 0 where nothing was inspected, else from map_low to map_high
    pictures/2026-01-31/14/<word>.mask.png  what a person drew

A file is written under another name, flushed and renamed: under its own name it is whole, or it is not there.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from muad.errors import ConfigError
from muad.service.history.disk import DISK_ERRNOS, Disk
from muad.service.history.faults import DiskFullError, HistoryError, NotRecordedError
from muad.service.history.ids import ID_PATTERN
from muad.service.history.record import Kept

if TYPE_CHECKING:
    from jaxtyping import Float32

ROOT = "pictures"
LARGEST_MAP_PX = 512
"""Longer side of a map that is kept."""
_LEVELS = 65_534  # of 16 bits; level 0 is for what was not inspected
_DRAFT = ".draft"
_SUFFIX = re.compile(r"\.[a-z0-9]{1,5}", re.ASCII)
_PATH = re.compile(rf"{ROOT}/\d{{4}}-\d\d-\d\d/\d\d/[0-9a-f]{{32}}(\.[a-z0-9]{{1,5}}){{1,2}}", re.ASCII)


class Pictures:
    """Pictures below a station's folder.

    Args:
        folder: The station's.
        disk: Where room is kept free; None where nobody watches.

    Raises:
        HistoryError: The folder cannot be written.
    """

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        self.folder = folder
        self.disk = disk
        try:
            (folder / ROOT).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HistoryError(f"pictures must have a folder that can be written, got {error}.") from error

    def keep(
        self,
        inspection_id: str,
        at: datetime,
        photo: bytes,
        suffix: str,
        anomaly_map: Float32[np.ndarray, "H W"] | None = None,
    ) -> Kept:
        """Keep the pictures of one inspection; when this returns they are on the disk.

        Args:
            inspection_id: Its name.
            at: Its time, which says the folder.
            photo: The uploaded bytes, which stay as they are.
            suffix: Of the photograph's format, such as `.jpg`.
            anomaly_map: In the photograph's pixels, NaN where nothing was inspected; None without one.

        Raises:
            DiskFullError: No room; nothing of it is left.
        """
        if not _SUFFIX.fullmatch(suffix):
            raise ConfigError(f"suffix must be a dot and up to five letters, got {suffix[:20]!r}.")
        files = {self._place(inspection_id, at, suffix): photo}
        low = high = None
        drawn = None
        if anomaly_map is not None:
            drawn, low, high = _encoded(anomaly_map)
            files[self._place(inspection_id, at, ".map.png")] = drawn
        self._write(files)
        places = list(files)
        return Kept(
            photo=places[0],
            photo_sha256=hashlib.sha256(photo).hexdigest(),
            photo_bytes=len(photo),
            map=None if drawn is None else places[1],
            map_sha256=None if drawn is None else hashlib.sha256(drawn).hexdigest(),
            map_bytes=None if drawn is None else len(drawn),
            map_low=low,
            map_high=high,
        )

    def keep_mask(self, word_id: str, at: datetime, mask: bytes) -> str:
        """Keep a mask that a person drew, as PNG; where it lies."""
        place = self._place(word_id, at, ".mask.png")
        self._write({place: mask})
        return place

    def drop(self, kept: Kept) -> None:
        """Remove pictures whose inspection was not recorded."""
        for place in (kept.photo, kept.map):
            if place is not None:
                self.path(place).unlink(missing_ok=True)

    def path(self, place: str) -> Path:
        """Where a picture lies, from what the history says of it.

        Raises:
            NotRecordedError: It is no place of a picture.
        """
        if not _PATH.fullmatch(place):
            raise NotRecordedError(f"picture must lie below {ROOT}, got {place[:80]!r}.")
        return self.folder / place

    def photo(self, kept: Kept) -> bytes:
        """The uploaded bytes.

        Raises:
            NotRecordedError: They are not there any more.
        """
        return self._read(kept.photo)

    def map(self, kept: Kept, size: tuple[int, int] | None = None) -> Float32[np.ndarray, "H W"]:
        """The anomaly map, to a 65,534th of its range; NaN where nothing was inspected.

        Args:
            kept: Its pictures.
            size: Width and height to enlarge it to, those of the photograph; None as it was kept.

        Raises:
            NotRecordedError: There is none, or not any more.
        """
        levels: np.ndarray | None = cv2.imdecode(np.frombuffer(self._read(kept.map), np.uint8), cv2.IMREAD_UNCHANGED)
        if levels is None or levels.dtype != np.uint16 or kept.map_low is None or kept.map_high is None:
            raise HistoryError(f"map must be a 16-bit picture, got something else: {kept.map}. Restore a backup.")
        values = kept.map_low + (levels.astype(np.float64) - 1) / _LEVELS * (kept.map_high - kept.map_low)
        small: np.ndarray = values.astype(np.float32)
        hidden = levels == 0
        if size is None or size == (levels.shape[1], levels.shape[0]):
            small[hidden] = np.nan
            return small
        small[hidden] = kept.map_low
        large: np.ndarray = cv2.resize(small, size, interpolation=cv2.INTER_LINEAR)
        large[cv2.resize(hidden.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0] = np.nan
        return large

    def map_file(self, kept: Kept) -> bytes:
        """The file that the small map is kept as.

        Raises:
            NotRecordedError: There is none, or not any more.
        """
        return self._read(kept.map)

    def folders(self, before: datetime) -> list[Path]:
        """The folders of hours that began before a moment, the oldest first."""
        last = f"{before.astimezone(UTC):%Y-%m-%d/%H}"
        found = (self.folder / ROOT).glob("[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]/[0-9][0-9]")
        return sorted(folder for folder in found if f"{folder.parent.name}/{folder.name}" < last)

    def sweep(self) -> int:
        """Remove what a process that was killed left half-written; how many files that were.

        Only when no other process writes below this folder.
        """
        left = list((self.folder / ROOT).glob(f"*/*/*{_DRAFT}"))
        for file in left:
            file.unlink(missing_ok=True)
        return len(left)

    def _place(self, name: str, at: datetime, suffix: str) -> str:
        if not ID_PATTERN.fullmatch(name):
            raise ConfigError(f"id must be 32 hexadecimal digits, got {name[:40]!r}.")
        at = at.astimezone(UTC)
        return f"{ROOT}/{at:%Y-%m-%d}/{at:%H}/{name}{suffix}"

    def _read(self, place: str | None) -> bytes:
        if place is None:
            raise NotRecordedError("picture must have been kept, got none.")
        try:
            return self.path(place).read_bytes()
        except FileNotFoundError:
            raise NotRecordedError(
                f"picture must be there, got none: {place}. Retention may have removed it."
            ) from None

    def _write(self, files: dict[str, bytes]) -> None:
        """Files of one folder, each whole or not there."""
        if self.disk is not None:
            self.disk.require()
        paths = [self.path(place) for place in files]
        drafts = [path.with_name(f"{path.name}.{os.getpid()}{_DRAFT}") for path in paths]
        try:
            _make_folder(paths[0].parent, self.folder)
            for draft, content in zip(drafts, files.values(), strict=True):
                with draft.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            for draft, path in zip(drafts, paths, strict=True):
                draft.replace(path)
            _flush_folder(paths[0].parent)
        except OSError as error:
            _forget((*drafts, *paths))
            if error.errno not in DISK_ERRNOS:
                raise HistoryError(f"pictures must be writable, got {error}.") from error
            raise DiskFullError(
                f"pictures must have room on their disk, got none: {self.folder}. Free some; recording goes on by "
                "itself."
            ) from error


def _encoded(anomaly_map: Float32[np.ndarray, "H W"]) -> tuple[bytes, float, float]:
    """A map as a small picture, and the values of its first and last level."""
    hidden = ~np.isfinite(anomaly_map)
    values = np.where(hidden, 0, anomaly_map).astype(np.float32)
    height, width = values.shape
    factor = LARGEST_MAP_PX / max(height, width)
    if factor < 1:
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        seen = cv2.resize((~hidden).astype(np.float32), size, interpolation=cv2.INTER_AREA)
        mean = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
        hidden = seen < 0.5
        values = mean / np.maximum(seen, 0.5)
    inside = values[~hidden]
    low, high = (float(inside.min()), float(inside.max())) if inside.size else (0.0, 0.0)
    span = high - low
    levels = np.rint((values.astype(np.float64) - low) / span * _LEVELS) + 1 if span > 0 else np.ones_like(values)
    picture = np.where(hidden, 0, np.clip(levels, 1, _LEVELS + 1)).astype(np.uint16)
    made, content = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not made:
        raise HistoryError(f"map must have height and width, got {height} by {width}.")
    return content.tobytes(), low, high


def _make_folder(folder: Path, root: Path) -> None:
    """A folder that is there after a power cut, too."""
    if folder.is_dir():
        return
    _make_folder(folder.parent, root)
    folder.mkdir(exist_ok=True)
    _flush_folder(folder.parent)


def _flush_folder(folder: Path) -> None:
    """Put the names in a folder on the disk; Windows does so by itself and cannot be asked."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _forget(paths: Sequence[Path]) -> None:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError:  # the disk is broken, not full: the sweep of the next start finds it
            continue
