"""The door from the line to the bench: what needs torch is imported when it is asked for, by its name, and only here.

The line judges photographs and never imports torch; the bench learns and does. Where the line is given a run folder,
whose detector only torch can compute, it asks through this door, and where the bench is not installed it says so.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from muad.errors import ConfigError


class BenchMissingError(ConfigError):
    """What only the bench computes was asked for where it is not installed."""


PACKAGES = ("torch", "torchvision", "timm", "lightning_fabric")
"""What `muad[train]` adds to the line."""
_OF_THE_STATION = (
    "alembic", "fastapi", "httpx", "multipart", "prometheus_client", "python_multipart", "sqlalchemy", "starlette",
    "uvicorn",
)  # fmt: skip
_SCALE = ("ray", "fsspec")


def bench(module: str) -> ModuleType:
    """A module of the bench.

    Args:
        module: Its name below `muad`, for instance `checkpoints.scorers`.

    Raises:
        BenchMissingError: The bench is not installed.
    """
    try:
        return import_module(f"muad.{module}")
    except ModuleNotFoundError as error:
        if (sentence := not_installed(error)) is None:
            raise
        raise BenchMissingError(sentence) from None


def not_installed(error: ModuleNotFoundError) -> str | None:
    """What to install, where the bench, the station or Ray is missing; None where the error is about something else."""
    package = (error.name or "").partition(".")[0]
    if package in _OF_THE_STATION:
        return f"{package} must be installed for a station, got none. Run: pip install 'muad[service]'"
    if package in _SCALE:
        return f"{package} must be installed to predict by Ray, got none. Run: pip install 'muad[scale]'"
    if package not in PACKAGES:
        return None
    return (
        f"{package} must be installed to train, or to compute from a run folder, got none. "
        "Run: pip install 'muad[train]'"
    )
