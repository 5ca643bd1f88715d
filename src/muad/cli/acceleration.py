"""The options that say how a trained detector is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from muad.acceleration import Acceleration
    from muad.acceleration.accelerated import BackendName
    from muad.acceleration.backends import Precision


def acceleration_of(backend: str, precision: str, compile_network: bool) -> Acceleration | None:
    """What the options ask for; None where all are at their defaults, which means: as the run was trained.

    Raises:
        ConfigError: Options that do not go together.
    """
    from muad.acceleration import Acceleration

    if (backend, precision, compile_network) == ("torch", "auto", False):
        return None
    chosen = cast("Precision", precision)
    return Acceleration(backend=cast("BackendName", backend), precision=chosen, compile=compile_network)
