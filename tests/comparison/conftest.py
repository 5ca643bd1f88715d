"""A small real comparison: interrupted while the second detector trains, then finished by the same call."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from muad.comparison import Comparison, compare

SMALL = ("dinomaly:schedule.total_steps=4", "dinomaly:training.save_every_steps=4", "training.batch_size=4")


@dataclass
class Told:
    """What a call said of itself."""

    notes: list[str] = field(default_factory=list)
    progress: list[tuple[str, int, int]] = field(default_factory=list)

    def works(self, name: str) -> list[tuple[str, int, int]]:
        """Progress of that kind."""
        return [news for news in self.progress if news[0].startswith(name)]


@pytest.fixture(scope="session")
def compare_tiny(tiny_data: Path) -> Callable[..., tuple[Comparison, Told]]:
    """`compare` on small photographs with a small random encoder; returns what it found and what it told."""

    def run(out: Path, *settings: str, interrupt: tuple[str, int] | None = None, **how: Any) -> tuple[Comparison, Told]:
        told = Told()

        def progress(what: str, done: int, total: int, _loss: float | None) -> None:
            told.progress.append((what, done, total))
            if interrupt is not None and what.startswith(interrupt[0]) and done == interrupt[1]:
                signal.raise_signal(signal.SIGINT)

        usual: dict[str, Any] = {
            "detectors": "dinomaly,patchcore",
            "encoders": "random-vit-tiny",
            "seeds": 1,
            "image_px": 56,
            "device": "cpu",
        }
        found = compare(
            how.pop("data", tiny_data), out, overrides=(*SMALL, *settings), progress=progress, note=told.notes.append,
            **{**usual, **how},
        )  # fmt: skip
        return found, told

    return run


@pytest.fixture(scope="session")
def finished(
    compare_tiny: Callable[..., tuple[Comparison, Told]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Comparison, Told]:
    """Both detectors, one seed each; not to be changed."""
    out = tmp_path_factory.mktemp("comparison") / "out"
    with pytest.raises(KeyboardInterrupt):
        compare_tiny(out, interrupt=("train", 1))
    assert "patchcore" in (out / "compare.html").read_text(encoding="utf-8")
    return compare_tiny(out)
