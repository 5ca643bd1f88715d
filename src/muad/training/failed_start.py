"""A run that fails before anything was computed leaves nothing behind: no folder that looks like a run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from muad.errors import MuadError

_WRITTEN = (
    *("run.json", "config.toml", "images.json", "roi", "checkpoints", "categories"),
    *("tensorboard", "mlflow.json", "wandb.json", "wandb"),
)


@contextmanager
def nothing_left_of_a_failed_start(run_dir: Path, *, active: bool) -> Iterator[None]:
    """Remove what a run wrote into its folder if a user's fault ends it before its first logged step or checkpoint.

    What was in the folder before stays, and so does the folder itself if it was there. An interrupted run keeps its
    settings, for `--resume`.

    Args:
        run_dir: Run folder.
        active: Whether this is the process that writes.
    """
    before = {entry.name for entry in run_dir.iterdir()} if run_dir.is_dir() else None
    try:
        yield
    except MuadError:
        if active and not _has_begun(run_dir):
            _remove(run_dir, before)
        raise


def _has_begun(run_dir: Path) -> bool:
    patterns = ("metrics.jsonl", "checkpoints/*/state.json")
    return any(any(run_dir.glob(where + pattern)) for pattern in patterns for where in ("", "categories/*/"))


def _remove(run_dir: Path, before: set[str] | None) -> None:
    for name in _WRITTEN:
        path = run_dir / name
        if name in (before or ()):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink(missing_ok=True)
    if before is None:
        with suppress(OSError):
            run_dir.rmdir()
