"""Features of frozen encoders that trainings keep on disk for later ones: where they lie, which there are. No torch."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedSet:
    """One file of features on disk, as `muad cache list` shows it."""

    folder: Path
    bytes: int
    images: int
    used: float


def cache_root() -> Path:
    """Folder of cached features: MUAD_CACHE, or the user's cache folder."""
    if "MUAD_CACHE" in os.environ:
        return Path(os.environ["MUAD_CACHE"]) / "features"
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    return Path(base) / "muad" / "features"


def cached_sets() -> list[CachedSet]:
    """Complete feature files, the least recently used first."""
    found = []
    for description in cache_root().glob("*/features.json"):
        file = description.with_name("features.bin")
        facts = json.loads(description.read_text(encoding="utf-8"))
        size, used = file.stat().st_size, description.stat().st_mtime
        found.append(CachedSet(folder=description.parent, bytes=size, images=facts["images"], used=used))
    return sorted(found, key=lambda entry: entry.used)


def clear_cache() -> int:
    """Delete every feature file, finished or not; returns the bytes freed."""
    root = cache_root()
    freed = sum(file.stat().st_size for file in root.rglob("*") if file.is_file()) if root.is_dir() else 0
    shutil.rmtree(root, ignore_errors=True)
    return freed
