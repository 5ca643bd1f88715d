"""Where the pixel metrics get their maps and masks from: arrays in memory, or a collection that keeps little of each.

A blurred map of 256 x 256 is 256 KiB; the patch grid it was made from is 3 KiB. A mask compresses to less than 1 KiB.
So ten thousand images are evaluated in the memory of one thousand, and the maps are made again where they are needed.
"""

from __future__ import annotations

import tempfile
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from io import BufferedIOBase
from types import TracebackType
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from muad.errors import DataError
from muad.metrics.inputs import MetricInputError

Expand = Callable[[Float[np.ndarray, "m h w"]], Float[np.ndarray, "m H W"]]


class LabelledMaps(Protocol):
    """Anomaly maps and masks of a category, looked at a few at a time and by several threads."""

    @property
    def anomalous_pixels(self) -> Int[np.ndarray, " n"]:
        """How many anomalous pixels each image has."""

    @property
    def inspected_pixels(self) -> Int[np.ndarray, " n"]:
        """How many pixels of each image count."""

    @property
    def partial(self) -> bool:
        """Whether NaN in a map means that a pixel was not inspected and counts for nothing; else it is a fault."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the maps."""

    def extremes(self) -> tuple[float, float]:
        """Lowest and highest value of all maps; NaN if one is in them."""

    def maps(self, images: Int[np.ndarray, " m"]) -> Shaped[np.ndarray, "m H W"]:
        """The maps of some images, as an array that the caller may change."""

    def masks(self, images: Int[np.ndarray, " m"]) -> Bool[np.ndarray, "m H W"]:
        """Their masks, true at anomalous pixels."""


class ArrayMaps:
    """Maps and masks that lie in memory, or in a memory-mapped array.

    Args:
        maps: Anomaly maps.
        masks: True at anomalous pixels.
    """

    def __init__(self, maps: Shaped[np.ndarray, "n H W"], masks: Bool[np.ndarray, "n H W"]) -> None:
        self._maps, self._masks = maps, masks
        self.anomalous_pixels: np.ndarray = np.count_nonzero(masks.reshape(len(masks), -1), axis=1)
        self.size: tuple[int, int] = (maps.shape[1], maps.shape[2])
        self.inspected_pixels: np.ndarray = np.full(len(maps), maps.shape[1] * maps.shape[2])
        self.partial = False

    def extremes(self) -> tuple[float, float]:
        """Lowest and highest value of all maps."""
        return float(self._maps.min()), float(self._maps.max())

    def maps(self, images: Int[np.ndarray, " m"]) -> Shaped[np.ndarray, "m H W"]:
        """The maps of some images."""
        chosen: np.ndarray = self._maps[images]
        return chosen

    def masks(self, images: Int[np.ndarray, " m"]) -> Bool[np.ndarray, "m H W"]:
        """Their masks."""
        chosen: np.ndarray = self._masks[images]
        return chosen


class MapCollection:
    """Maps and masks that are added batch by batch and kept small; a context manager, which forgets them at its end.

    Of maps that come with the patch grids they were made from, only these are kept. Of others, the values lie in a
    temporary file (TMPDIR says where), which takes as much disk as they are large, and no memory.

    Args:
        expand: Makes the maps again from patch grids, to the last few bits; called by several threads.
        partial: Whether maps are NaN where nothing was inspected; such pixels count for nothing.
    """

    def __init__(self, expand: Expand, *, partial: bool = False) -> None:
        self._expand = expand
        self.partial = partial
        self._inspected: list[int] = []
        self._grids: list[Float[np.ndarray, "h w"]] = []
        self._packed: list[bytes] = []  # compressed bits; empty for masks without an anomalous pixel
        self._counts: list[int] = []
        self._file: BufferedIOBase | None = None
        self._reading = threading.Lock()
        self._extremes: tuple[float, float] | None = None
        self._size = (0, 0)

    def __enter__(self) -> MapCollection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            with suppress(OSError):  # what could not be written before cannot be now
                self._file.close()

    def __len__(self) -> int:
        return len(self._counts)

    @property
    def anomalous_pixels(self) -> Int[np.ndarray, " n"]:
        """How many anomalous pixels each image has."""
        return np.array(self._counts, dtype=np.int64)

    @property
    def inspected_pixels(self) -> Int[np.ndarray, " n"]:
        """How many pixels of each image count."""
        return np.array(self._inspected, dtype=np.int64)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the maps; zeros before the first."""
        return self._size

    def extremes(self) -> tuple[float, float]:
        """Lowest and highest value of all maps, of which there must be one."""
        if self._extremes is None:
            raise MetricInputError("maps must be added before they are looked at, got none.")
        return self._extremes

    def add(
        self,
        maps: Float[np.ndarray, "b H W"],
        masks: Bool[np.ndarray, "b H W"],
        grids: Float[np.ndarray, "b h w"] | None = None,
    ) -> None:
        """Keep some images more.

        Args:
            maps: Anomaly maps in float32, of one size for all images.
            masks: True at anomalous pixels; those that were not inspected are left out.
            grids: What `expand` makes these maps from, or None where there is no such thing; alike for all images.

        Raises:
            DataError: The temporary file cannot be written.
        """
        if not len(maps):
            return
        self._size = (maps.shape[1], maps.shape[2])
        inspected = ~np.isnan(maps) if self.partial else np.ones_like(masks)
        self._inspected.extend(np.count_nonzero(inspected, axis=(1, 2)).tolist())
        masks = masks & inspected
        values = maps[inspected] if self.partial else maps
        if values.size:
            ends = [values.min(), values.max(), *(self._extremes or ())]
            self._extremes = float(np.min(ends)), float(np.max(ends))
        for mask in masks:
            count = int(np.count_nonzero(mask))
            self._counts.append(count)
            self._packed.append(zlib.compress(np.packbits(mask).tobytes(), level=1) if count else b"")
        if grids is not None:
            self._grids.extend(grids.astype(np.float32))  # a copy, so that no batch is kept alive
            return
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="muad-maps-")  # noqa: SIM115  closed with the collection
            self._file.seek(0, 2)
            self._file.write(np.ascontiguousarray(maps, dtype=np.float32).data)
        except OSError as error:
            raise DataError(
                f"temporary folder must hold the maps of a category ({len(self)} so far), got {error}. "
                "Free space, or set TMPDIR to another folder."
            ) from None

    def maps(self, images: Int[np.ndarray, " m"]) -> Float[np.ndarray, "m H W"]:
        """The maps of some images, made again or read back."""
        if self._file is None:
            return self._expand(np.stack([self._grids[image] for image in images]))
        found = np.empty((len(images), *self._size), np.float32)
        with self._reading:
            for row, image in zip(found, images, strict=True):
                self._file.seek(int(image) * row.nbytes)
                _read_into(self._file, row)
        return found

    def masks(self, images: Int[np.ndarray, " m"]) -> Bool[np.ndarray, "m H W"]:
        """Their masks."""
        found = np.zeros((len(images), *self._size), bool)
        for row, image in zip(found, images, strict=True):
            if self._packed[image]:
                bits = np.frombuffer(zlib.decompress(self._packed[image]), np.uint8)
                row.reshape(-1)[:] = np.unpackbits(bits, count=row.size)
        return found


class ChosenMaps:
    """Some of the maps of another collection, as a collection of their own.

    Args:
        whole: Where they are.
        chosen: Which ones, at least one.
    """

    def __init__(self, whole: LabelledMaps, chosen: Int[np.ndarray, " m"]) -> None:
        self._whole, self._chosen = whole, chosen
        self.anomalous_pixels: np.ndarray = whole.anomalous_pixels[chosen]
        self.inspected_pixels: np.ndarray = whole.inspected_pixels[chosen]
        self.partial = whole.partial
        self.size = whole.size

    def extremes(self) -> tuple[float, float]:
        """Lowest and highest value of these maps; NaN where nothing was inspected is left out."""
        ends = []
        for image in self._chosen:
            values = self._whole.maps(np.array([image]))
            values = values[~np.isnan(values)] if self.partial else values
            ends += [float(values.min()), float(values.max())] if values.size else []
        return float(np.min(ends)), float(np.max(ends))

    def maps(self, images: Int[np.ndarray, " m"]) -> Shaped[np.ndarray, "m H W"]:
        """Some of them."""
        return self._whole.maps(self._chosen[images])

    def masks(self, images: Int[np.ndarray, " m"]) -> Bool[np.ndarray, "m H W"]:
        """Their masks."""
        return self._whole.masks(self._chosen[images])


def _read_into(file: BufferedIOBase, row: Float[np.ndarray, "H W"]) -> None:
    """Fill an array from where the file stands."""
    if file.readinto(row.data.cast("B")) != row.nbytes:
        raise DataError("temporary file of maps must be whole, got a shorter one. Leave TMPDIR alone, and try again.")
