"""A history with parts in it, and a bundle with a calibration."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from muad.decisions.regions import Region
from muad.service.history import History, Inspection, NewInspection, new_id

MONDAY = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
SCORES = tuple(np.linspace(0.1, 0.5, 41).round(4).tolist())  # of good parts
Recorder = Callable[..., Inspection]


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    opened = History(f"sqlite:///{tmp_path / 'history.sqlite'}")
    yield opened
    opened.close()


@pytest.fixture
def recorder(history: History) -> Callable[..., list[Inspection]]:
    """`recorder([{...}, ...], said=[...])`: parts a minute apart from Monday on, with what people said of them."""

    def record(parts: list[dict[str, Any]], *, begin: datetime = MONDAY, every_s: float = 60) -> list[Inspection]:
        said, new = [], []
        for place, values in enumerate(parts):
            at = begin + timedelta(seconds=every_s * place)
            usual = {"station": "line 1", "source": "http", "verdict": "pass", "judged_as": "bolt", "model_id": "m"}
            word = values.get("word")
            own = {name: value for name, value in values.items() if name != "word"}
            if own.get("score") is not None and "highest" not in own:
                own["highest"] = Region(polygon=((1, 1),), area_px=1, peak=2 * own["score"], peak_at=(1, 1), mean=0.1)
            new.append(NewInspection(**{"id": new_id(at), "at": at, **usual, **own}))
            said.append(word)
        recorded = history.record(new)
        for one, word in zip(recorded, said, strict=True):
            for each in word if isinstance(word, list) else [word] if word else []:
                history.add_word(one.id, **({"who": "ann", "word": each} if isinstance(each, str) else each))
        return [history.get(one.id) for one in recorded]

    return record


@pytest.fixture
def calibrated_bundle(write_patch_bundle: Callable[..., Path], tmp_path: Path) -> Path:
    """A bundle of two products, of which one was calibrated with 41 good images."""
    scored = {
        "count": len(SCORES),
        "scores": SCORES,
        "map_peaks": [2 * score for score in SCORES],
        "images": len(SCORES),
        "data_hash": "sha256:0",
        "source": "elsewhere",
        "created": "2026-01-01T00:00:00+00:00",
    }
    stored = {
        "format_version": 1,
        "muad": "0.0",
        "weights": "0" * 32,
        "limits_digest": "0" * 32,
        "false_alarm_rate": 0.005,
        "review_rate": 0.05,
        "confidence": 0.95,
        "sure": False,
        "good": {"bolt": scored},
    }
    limits = b"[categories.bolt]\nreview = 0.48\nreview_rate = 0.05\nreject = 0.5\nreject_rate = 0.024\nmap = 1.0\n"
    capture = b"capture_rate = 0.005\n[categories.bolt]\nbrightness = {at_least = 90.0, at_most = 110.0}\n"
    files = {"calibration.json": json.dumps(stored).encode(), "limits.toml": limits, "capture.toml": capture}
    return write_patch_bundle(tmp_path / "model.muad", limits=False, run=files)
