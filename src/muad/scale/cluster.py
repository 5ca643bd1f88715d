"""Ray as a job uses it: started here or reached, quiet, and left as it was found."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from muad.errors import ConfigError
from muad.scale.job import line_of
from muad.threads import usable_cores

_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
    "OMP_WAIT_POLICY": "passive",
    "KMP_BLOCKTIME": "0",
}
_REACHED_S = 5.0


@contextmanager
def ray_cluster(address: str | None) -> Iterator[None]:
    """Ray, with judges of one thread each.

    Args:
        address: Of a cluster, `host:port`, or `auto`; None for one of this machine's own, which ends with the job, is
            closed to whoever lacks its random token, and reports nothing to Ray's makers.

    Raises:
        ConfigError: It cannot be reached.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its core writes to the terminal by itself
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:  # Ray listens on every interface, and asks for a token: otherwise one in the user's home
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    else:
        _require_answer(address)
    import ray

    if ray.is_initialized():
        yield
        return
    with tempfile.TemporaryDirectory(prefix="muad-ray-", ignore_cleanup_errors=True) as folder:
        how: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL, "address": address or "local"}
        own = _ONE_THREAD
        if address is None:
            how |= {"num_cpus": max(1, usable_cores().threads), "include_dashboard": False}
            how["_node_ip_address"] = "127.0.0.1"
            own = own | {"TMPDIR": folder}
        try:
            with _silent():
                ray.init(runtime_env={"env_vars": own}, **how)
        except (ConnectionError, OSError, ValueError, RuntimeError) as error:
            raise _not_reached(address, error) from None
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _silent() -> Iterator[None]:
    """While Ray starts, its core says at the terminal itself that it was asked to be quiet."""
    stderr, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nothing)


def _require_answer(address: str) -> None:
    """Ray waits for minutes where nobody listens.

    Raises:
        ConfigError: Nobody does, or it is no address.
    """
    if address == "auto":
        return
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    try:
        if not (host and colon and port.isdecimal()):
            raise ValueError("not host:port")
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACHED_S).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _not_reached(address, error) from None


def _not_reached(address: str | None, error: Exception) -> ConfigError:
    if address is None:
        return ConfigError(f"Ray must start on this machine, got {line_of(error)[:200]}.")
    return ConfigError(
        f"address must be that of a Ray cluster that can be reached, got {address} ({line_of(error)[:200]}). "
        "Leave it out to use this machine."
    )
