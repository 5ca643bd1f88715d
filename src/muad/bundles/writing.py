"""Writing a bundle: the same content gives the same bytes, and what was there stays until the new file is whole."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import uuid
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from muad.bundles.archive import LARGEST_MANIFEST, is_member_name
from muad.bundles.manifest import MANIFEST_FILE, RUN, Manifest, Member
from muad.errors import CheckpointError
from muad.runs.folder import DRAFT

RUN_FILES = (
    *("run.json", "config.toml", "images.json", "limits.toml", "calibration.json", "capture.toml"),
    *("products.toml", "products.safetensors", "evaluation.json", "evaluation.csv", "naming.json"),
)
"""What of a run folder goes into a bundle, where it is there; also `roi/*.png` and former limits in `limits/*`."""
_CATEGORY_FILES = ("run.json", "config.toml")
_WHEN = (1980, 1, 1, 0, 0, 0)
_CHUNK = 2**20
_MODE = 0o644


def run_members(run: Path) -> dict[str, Path]:
    """The small files of a run folder that go into a bundle, by the name they have there."""
    files = [run / name for name in RUN_FILES]
    files += [*sorted((run / "roi").glob("*.png")), *sorted((run / "limits").glob("*.*"))]
    files += [folder / name for folder in sorted((run / "categories").glob("*")) for name in _CATEGORY_FILES]
    return {RUN + file.relative_to(run).as_posix(): file for file in files if file.is_file()}


def write_bundle(path: Path, manifest: Manifest, contents: Mapping[str, bytes | Path]) -> Manifest:
    """Write a bundle, atomically: what was there before stays until all of it is on the disk.

    Args:
        path: The file; what is there is replaced.
        manifest: What is in it; its `members` are filled in.
        contents: By name, the bytes of each member or the file that holds them.

    Returns:
        The manifest as it was written.

    Raises:
        CheckpointError: The disk is full, the folder not writable, or a member may not be in a bundle.
    """
    foreign = next((name for name in contents if not is_member_name(name)), None)
    if foreign is not None:
        raise CheckpointError(
            f"member must have a name of its own in the bundle, got {foreign!r}. Rename the category."
        )
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{DRAFT}")
    try:
        members = {name: _member(contents[name]) for name in sorted(contents)}
        whole = dataclasses.replace(manifest, members=members)
        text = (json.dumps(whole.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
        if len(text) > LARGEST_MANIFEST:
            raise CheckpointError(f"manifest must be at most {LARGEST_MANIFEST} bytes, got {len(text)}.")
        with draft.open("wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, strict_timestamps=True) as archive:
                for name, content in sorted({**contents, MANIFEST_FILE: text}.items()):
                    _add(archive, name, content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise CheckpointError(
            f"bundle must be writable, got {path} ({error}). Free disk space or name another place."
        ) from None
    finally:
        draft.unlink(missing_ok=True)
    return whole


def _member(content: bytes | Path) -> Member:
    if isinstance(content, bytes):
        return Member(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
    with content.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Member(sha256=digest, bytes=content.stat().st_size)


def _add(archive: zipfile.ZipFile, name: str, content: bytes | Path) -> None:
    entry = zipfile.ZipInfo(name, _WHEN)
    entry.create_system = 3  # the same on every system
    entry.external_attr = _MODE << 16
    entry.file_size = len(content) if isinstance(content, bytes) else content.stat().st_size
    with archive.open(entry, "w") as target:
        if isinstance(content, bytes):
            target.write(content)
        else:
            with content.open("rb") as source:
                _copy(source, target)


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    shutil.copyfileobj(source, target, _CHUNK)
