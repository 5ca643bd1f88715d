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
from dataclasses import dataclass
from pathlib import Path

from muad.bundles.archive import LARGEST_MANIFEST, copy_member, is_member_name
from muad.bundles.manifest import MANIFEST_FILE, RUN, Manifest, Member
from muad.errors import CheckpointError
from muad.runs.folder import DRAFT

RUN_FILES = (
    *("run.json", "config.toml", "images.json", "limits.toml", "calibration.json", "capture.toml"),
    *("products.toml", "products.safetensors", "naming.json"),
    *("evaluation.json", "evaluation.csv", "evaluation_objects.csv"),
)
"""What of a run folder goes into a bundle, where it is there; also `roi/*.png` and former limits in `limits/*`."""
_CATEGORY_FILES = ("run.json", "config.toml")
_WHEN = (1980, 1, 1, 0, 0, 0)
_CHUNK = 2**20
_MODE = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A member of another bundle, taken over as it is.

    Attributes:
        bundle: The file it is in.
        name: Under which name.
        member: What it is.
    """

    bundle: Path
    name: str
    member: Member


Content = bytes | Path | Stored
"""The bytes of a member, or where they are."""


def run_members(run: Path) -> dict[str, Path]:
    """The small files of a run folder that go into a bundle, by the name they have there."""
    files = [run / name for name in RUN_FILES]
    files += [*sorted((run / "roi").glob("*.png")), *sorted((run / "limits").glob("*.*"))]
    files += [folder / name for folder in sorted((run / "categories").glob("*")) for name in _CATEGORY_FILES]
    return {RUN + file.relative_to(run).as_posix(): file for file in files if file.is_file()}


def write_bundle(path: Path, manifest: Manifest, contents: Mapping[str, Content]) -> Manifest:
    """Write a bundle, atomically: what was there before stays until all of it is on the disk.

    Args:
        path: The file; what is there is replaced.
        manifest: What is in it; its `members` are filled in.
        contents: By name, the bytes of each member or where they are.

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
    path = path.resolve()  # a link stays one
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{DRAFT}")
    try:
        members = {name: _member(contents[name]) for name in sorted(contents)}
        whole = dataclasses.replace(manifest, members=members)
        text = (json.dumps(whole.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
        if len(text) > LARGEST_MANIFEST:
            raise CheckpointError(f"manifest must be at most {LARGEST_MANIFEST} bytes, got {len(text)}.")
        with draft.open("wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, strict_timestamps=True) as archive:
                for name in sorted([*contents, MANIFEST_FILE]):
                    _add(archive, name, contents.get(name, text), members.get(name))
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, draft)
        draft.replace(path)
    except OSError as error:
        raise CheckpointError(
            f"bundle must be writable, got {path} ({error}). Free disk space or name another place."
        ) from None
    finally:
        draft.unlink(missing_ok=True)
    return whole


def _member(content: Content) -> Member:
    if isinstance(content, Stored):
        return content.member
    if isinstance(content, bytes):
        return Member(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
    with content.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Member(sha256=digest, bytes=content.stat().st_size)


def _add(archive: zipfile.ZipFile, name: str, content: Content, member: Member | None) -> None:
    entry = zipfile.ZipInfo(name, _WHEN)
    entry.create_system = 3  # the same on every system
    entry.external_attr = _MODE << 16
    entry.file_size = len(content) if isinstance(content, bytes) else 0 if member is None else member.bytes
    with archive.open(entry, "w") as target:
        if isinstance(content, bytes):
            target.write(content)
        elif isinstance(content, Stored):
            copy_member(content.bundle, content.name, content.member, target)
        else:
            with content.open("rb") as source:
                shutil.copyfileobj(source, target, _CHUNK)
