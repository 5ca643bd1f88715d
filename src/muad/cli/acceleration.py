"""The options that say how a trained detector is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from muad.bundles.manifest import Precision
    from muad.runtime.computing import Acceleration, BackendName


def acceleration_of(backend: str, precision: str, compile_network: bool) -> Acceleration | None:
    """What the options ask for; None where all are at their defaults.

    That means: a run as it was trained, a bundle by what is fastest here.

    Raises:
        ConfigError: Options that do not go together.
    """
    from muad.runtime.computing import Acceleration

    if (backend, precision, compile_network) == ("auto", "auto", False):
        return None
    chosen = cast("Precision", precision)
    return Acceleration(backend=cast("BackendName", backend), precision=chosen, compile=compile_network)
