"""Writing `limits.toml` and `calibration.json` of a run; what they held before is kept in `RUN/limits`, by its date.

A former file is never overwritten, so that limits which were in force on some day can be read, and put back by copying
`limits/2026-01-31T12-00-00.toml` over `limits.toml`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from muad.decisions.limits import CALIBRATION_FILE, LIMITS_FILE, Calibration
from muad.errors import CheckpointError
from muad.runs.folder import write_text

HISTORY_FOLDER = "limits"


def text_digest(content: bytes) -> str:
    """SHA-256, shortened to 32 digits."""
    return hashlib.sha256(content).hexdigest()[:32]


def is_edited(run: Path, calibration: Calibration | None) -> bool:
    """Whether `limits.toml` is there and not as calibration wrote it."""
    content = _read(run / LIMITS_FILE)
    return content is not None and (calibration is None or text_digest(content) != calibration.limits_digest)


def write_limits(run: Path, calibration: Calibration, text: str | None, note: Callable[[str], None]) -> None:
    """Put limits and the scores behind them in force; what was there before and is now different is kept.

    Args:
        run: Run folder.
        calibration: The scores, with the digest of `limits.toml` as calibration wrote it last.
        text: The new `limits.toml`; None to leave the one that is there.
        note: Told where the former limits are.

    Raises:
        CheckpointError: The folder cannot be written, or a former file not be read.
    """
    limits, scores = run / LIMITS_FILE, run / CALIBRATION_FILE
    edited = is_edited(run, calibration)
    if text is not None:
        calibration = replace(calibration, limits_digest=text_digest(text.encode()))
    stored = json.dumps(calibration.to_json(), indent=1) + "\n"
    kept = _keep(run, {limits: text, scores: stored})
    if limits in kept:
        by_hand = f"{LIMITS_FILE} had been edited by hand" if edited else "the limits were others before"
        place = kept[limits].relative_to(run)
        note(f"{by_hand}: the former file is kept in the run as {place}, and new limits are in force")
    write_text(scores, stored)
    if text is not None:
        write_text(limits, text)


def replace_text(run: Path, text: str, note: Callable[[str], None]) -> None:
    """Put another `limits.toml` in force, set by hand; the former one is kept.

    Raises:
        CheckpointError: The folder cannot be written, or the former file not be read.
    """
    kept = _keep(run, {run / LIMITS_FILE: text})
    for place in kept.values():
        note(f"the former file is kept as {place}")
    write_text(run / LIMITS_FILE, text)


def _keep(run: Path, coming: dict[Path, str | None]) -> dict[Path, Path]:
    """Copy files that will change into the history, under one name; returns where each of them went."""
    former = {path: content for path in coming if (content := _read(path)) is not None}
    changing = {
        path: content for path, content in former.items() if (text := coming[path]) and text.encode() != content
    }
    if not changing:
        return {}
    folder = run / HISTORY_FOLDER
    newest = max(path.stat().st_mtime for path in changing)
    for stem in _stems(datetime.fromtimestamp(newest, UTC)):
        places = {path: folder / f"{stem}{path.suffix}" for path in changing}
        known = {path: _read(place) for path, place in places.items()}
        if all(known[path] in (None, changing[path]) for path in changing):
            for path, place in places.items():
                if known[path] is None:
                    _write(place, changing[path])
            return places
    raise AssertionError("stems never end")


def _stems(date: datetime) -> Iterator[str]:
    stem = date.strftime("%Y-%m-%dT%H-%M-%S")
    yield stem
    for number in count(2):
        yield f"{stem}-{number}"


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CheckpointError(f"file must be readable before it is replaced, got {path} ({error}).") from None


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing, under its name."""
    draft = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(exist_ok=True)
        draft.write_bytes(content)
        draft.replace(path)
    except OSError as error:
        raise CheckpointError(f"former limits must be kept, got {path}, not writable ({error}). Free space.") from None
