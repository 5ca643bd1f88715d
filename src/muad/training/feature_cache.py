"""Encode every training image once: the encoder is frozen and nothing is augmented, so its features never change.

Features lie in the device's memory, in the machine's, or in a memory-mapped file that later runs on the same images,
encoder and precision find again by its key. Under bf16 they are stored in bf16, otherwise in float32, so that a
float32 run computes what it would have computed without the cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from muad.detectors.torch_scorer import normalised
from muad.device import free_memory_bytes
from muad.encoders.kept_features import cache_root
from muad.errors import CheckpointError, DataError
from muad.images.loading import read_ahead
from muad.wording import counted

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8
    from lightning_fabric import Fabric
    from torch import Tensor

    from muad.detectors.base import Detector
    from muad.detectors.types import Features
    from muad.images.senses import Senses
    from muad.types import Record

CacheMode = Literal["auto", "off", "memory", "disk"]
Reader = Callable[[int], np.ndarray]
Progress = Callable[[int, int], None]
Notice = Callable[[str], None]
_MEMORY_SHARE = 0.4  # of what is free, so that the run itself still fits
_DISK_SHARE = 0.5
_FORMAT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureCache:
    """Features of all views of the training images, in the order of the records.

    Attributes:
        features: Wherever they lie; what a detector encodes as several tensors lies end to end in one row.
        place: `memory` or `disk`.
        shapes: Of these several tensors, without the batch; None for one tensor.
    """

    features: Float[Tensor, count * shape]
    place: Literal["memory", "disk"]
    shapes: tuple[torch.Size, ...] | None = None

    def take(self, indices: Sequence[int], device: torch.device) -> Features:
        """Features of some views on the device, as the detector encoded them."""
        # Nobody waits for the device here: a copy that blocks would, once for every step.
        rows = torch.tensor(indices).to(self.features.device, non_blocking=True)
        taken = self.features.index_select(0, rows).to(device)
        if self.shapes is None:
            return taken
        parts = torch.split(taken, [shape.numel() for shape in self.shapes], dim=1)
        return tuple(part.reshape(-1, *shape) for part, shape in zip(parts, self.shapes, strict=True))


def prepare_features(
    detector: Detector,
    records: Sequence[Record],
    read: Reader,
    fabric: Fabric,
    *,
    mode: CacheMode,
    batch_size: int,
    looks: int,
    progress: Progress,
    note: Notice,
) -> FeatureCache | None:
    """Features of all records, encoded now or found on disk; None where they do not fit or would not pay.

    Args:
        detector: On its device; without a frozen part there is nothing to keep.
        records: Training images.
        read: Gives the views of the image at an index.
        fabric: Launched engine.
        mode: `auto` takes memory if they fit there, else disk, else none.
        batch_size: Images per forward pass.
        looks: How many views the run will draw; fewer than there are is not worth encoding all.
        progress: Called with images encoded and in all.
        note: Called with sentences the user should see.
    """
    count = len(records) * detector.preprocessing.count
    if mode == "off" or (mode == "auto" and looks <= count):
        return None
    encoded = _encode(detector, fabric, read(0)[:1])
    if encoded is None:
        return None
    shapes = tuple(one.shape[1:] for one in encoded) if isinstance(encoded, tuple) else None
    first = _in_rows(encoded)
    size = first[0].numel() * first.element_size() * count
    place = _choose_place(mode, size, fabric, note)
    if place is None:
        return None

    def fill(store: Tensor, indices: Sequence[int]) -> None:
        _fill(store, detector, fabric, read, indices, batch_size, progress)

    if place == "memory":
        note(f"features of {counted(len(records), 'image')}: {size / 2**20:.0f} MiB in memory, encoded once")
        store = torch.empty(count, *first.shape[1:], dtype=first.dtype, device=fabric.device)
        fill(store, range(len(records)))
        return FeatureCache(features=store, place="memory", shapes=shapes)
    folder = cache_root() / _key(detector, records, first.dtype)
    state = "found" if (folder / "features.json").is_file() else "encoded once"
    note(f"features of {counted(len(records), 'image')}: {size / 2**20:.0f} MiB in {folder}, {state}")
    try:
        stored = _find_or_write(folder, first, len(records), count, fabric, fill)
        return FeatureCache(features=stored, place="disk", shapes=shapes)
    except OSError as error:
        raise CheckpointError(
            f"features must be written to {folder}, got {error}. Free space, set MUAD_CACHE to another folder, or "
            "use training.cache = 'off'."
        ) from None


def _in_rows(features: Features) -> Float[Tensor, b * shape]:
    """One tensor as it is; several end to end in one row for each image."""
    return torch.cat([one.flatten(1) for one in features], dim=1) if isinstance(features, tuple) else features


def _encode(detector: Detector, fabric: Fabric, views: UInt8[np.ndarray, "b H W 3"]) -> Features | None:
    """Features of a few views in the type they are stored in, on the device."""
    with torch.no_grad(), fabric.autocast():
        encoded = detector.encode(normalised(detector.preprocessing, views, fabric.device))
    if encoded is None:
        return None
    with fabric.autocast():
        lowered = torch.is_autocast_enabled(fabric.device.type)
    kind = torch.bfloat16 if lowered else torch.float32
    return tuple(one.to(kind) for one in encoded) if isinstance(encoded, tuple) else encoded.to(kind)


def _fill(
    store: Float[Tensor, count * shape],
    detector: Detector,
    fabric: Fabric,
    read: Reader,
    indices: Sequence[int],
    batch_size: int,
    progress: Progress,
) -> None:
    """Encode the images of some indices into the rows of their views, decoding ahead."""
    each = detector.preprocessing.count
    at_once = max(1, batch_size // each)
    images = read_ahead(read, indices, ahead=2 * at_once)
    for begin in range(0, len(indices), at_once):
        taken = indices[begin : begin + at_once]
        rows = [index * each + tile for index in taken for tile in range(each)]
        views = np.concatenate([next(images) for _ in taken])
        for start in range(0, len(rows), batch_size):
            encoded = _encode(detector, fabric, views[start : start + batch_size])
            if encoded is not None:
                store[rows[start : start + batch_size]] = _in_rows(encoded).to(store.device)
        progress(begin + len(taken), len(indices))


def _choose_place(mode: CacheMode, size: int, fabric: Fabric, note: Notice) -> Literal["memory", "disk"] | None:
    """Where features of that many bytes go."""
    root = cache_root()
    try:
        root.mkdir(parents=True, exist_ok=True)
        disk = shutil.disk_usage(root).free * _DISK_SHARE
    except OSError:
        disk = 0.0
    memory = free_memory_bytes(fabric.device) * _MEMORY_SHARE
    # Processes of one machine share a file; in memory each would hold, and make, its own copy of everything.
    if mode == "memory" or (mode == "auto" and fabric.world_size == 1 and size <= memory):
        return "memory"
    if mode == "disk" or size <= disk:
        return "disk"
    note(
        f"features not kept: {size / 2**30:.1f} GiB would not fit ({memory / 2**30:.1f} GiB of memory and "
        f"{disk / 2**30:.1f} GiB of {root} may be used); every step encodes its images anew"
    )
    return None


def _find_or_write(
    folder: Path,
    first: Float[Tensor, 1 * shape],
    images: int,
    count: int,
    fabric: Fabric,
    fill: Callable[[Tensor, Sequence[int]], None],
) -> Float[Tensor, count * shape]:
    """The memory-mapped features in a folder, written now by the processes of this machine if they are not there.

    The file is filled under another name and renamed when it is whole, so that an interrupted or concurrent run can
    never leave or see half of it.
    """
    description = folder / "features.json"
    found = fabric.broadcast(description.is_file()) if fabric.world_size > 1 else description.is_file()
    if not found:
        # Every process must agree on the name before the first of a machine makes the file.
        # Machines may share the folder, too, and each fills a file of its own.
        draft = folder.with_name(f"{folder.name}.{fabric.broadcast(os.getpid())}.{fabric.node_rank}.partial")
        machine = fabric.world_size // getattr(fabric._strategy, "num_nodes", 1)
        try:
            if fabric.local_rank == 0:
                draft.mkdir(parents=True, exist_ok=True)
                _map(draft / "features.bin", count, first, shared=True)
            fabric.barrier()
            fill(_map(draft / "features.bin", count, first, shared=True), range(fabric.local_rank, images, machine))
            fabric.barrier()
            if fabric.local_rank == 0:
                facts = {"format": _FORMAT, "images": images, "shape": first.shape[1:], "dtype": str(first.dtype)}
                (draft / "features.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")
                with contextlib.suppress(OSError):  # another run was quicker
                    draft.rename(folder)
            fabric.barrier()
        finally:
            if fabric.local_rank == 0:
                shutil.rmtree(draft, ignore_errors=True)
    os.utime(description)
    return _map(folder / "features.bin", count, first, shared=False)


def _map(path: Path, count: int, first: Float[Tensor, 1 * shape], *, shared: bool) -> Float[Tensor, count * shape]:
    """A tensor whose memory is the file, which `shared` makes as large as it must be."""
    numel = count * first.numel()
    return torch.from_file(str(path), shared=shared, size=numel, dtype=first.dtype).view(count, *first.shape[1:])


def _key(detector: Detector, records: Sequence[Record], dtype: torch.dtype) -> str:
    """Name of the features: a digest of encoder, what is kept of it, preprocessing, type, every category and file."""
    digest = hashlib.sha256()
    digest.update(repr((_FORMAT, detector.fingerprint, detector.preprocessing, str(dtype))).encode())
    digest.update(detector.encoding.encode())
    senses = detector.preprocessing.senses
    for record, content in zip(records, read_ahead(lambda record: _content(record.path, senses), records), strict=True):
        digest.update(record.category.encode() + content)
    return digest.hexdigest()[:32]


def _content(path: Path, senses: Senses) -> bytes:
    """Digests of all that is read of a part."""
    found = b""
    try:
        for each in senses.files(path):
            with each.open("rb") as file:
                found += hashlib.file_digest(file, "sha256").digest()
    except (OSError, DataError):
        return b"unreadable"
    return found
