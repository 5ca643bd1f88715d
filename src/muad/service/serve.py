"""Serves a station until it is told to end: first what was accepted is finished and recorded, then it ends.

The first SIGTERM or Ctrl-C asks for that, a second one ends at once.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from muad.errors import ConfigError
from muad.service.access.exposure import check_certificate, check_exposure
from muad.service.app import create_app
from muad.service.gateways.opening import check_gateways
from muad.service.settings import StationSettings
from muad.service.station import Station, open_station

_KEEP_ALIVE_S = 75
_WAITING = 2048  # connections that are not yet taken up
_log = logging.getLogger("muad.station")


def serve(
    folder: Path,
    model: Path | None,
    *,
    overrides: dict[str, dict[str, Any]],
    note: Callable[[str], None],
    ready: Callable[[Station, str], None],
) -> None:
    """Serve a station until it is told to end.

    Args:
        folder: Its folder.
        model: A bundle or run folder, for one that has none, or is to have another one.
        overrides: Settings by section and key that go before those of station.toml.
        note: Called with sentences for whoever starts it.
        ready: Called with the station and its address once that is bound.

    Raises:
        ConfigError: A setting cannot be, or the address is taken.
        MuadError: The station cannot be opened.
    """
    station = open_station(folder, model, overrides=overrides, note=note)
    settings = station.settings
    for sentence in check_settings(settings, folder):
        note(sentence)
    config = server_config(station)
    sock = _bound(settings)
    server = _Server(config, station)
    ready(station, _address(settings, sock))
    server.run(sockets=[sock])


def check_settings(settings: StationSettings, folder: Path) -> list[str]:
    """What can be checked of settings before anything is opened; sentences on what a person should know.

    Args:
        settings: As station.toml says.
        folder: The station's, from which paths in it are seen.

    Raises:
        ConfigError: They do not go together.
    """
    service = settings.service
    encrypted = service.tls_certificate is not None
    told = check_exposure(settings.access, host=service.host, encrypted=encrypted, root_path=service.root_path)
    if service.tls_certificate is not None and service.tls_key is not None:
        told += check_certificate(service.tls_certificate, service.tls_key)
    return told + check_gateways(settings, folder)


def server_config(station: Station) -> uvicorn.Config:
    """How uvicorn serves a station."""
    service, proxies = station.settings.service, list(station.settings.access.trusted_proxies)
    return uvicorn.Config(
        create_app(station),
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
        ssl_certfile=service.tls_certificate,
        ssl_keyfile=service.tls_key,
        timeout_keep_alive=_KEEP_ALIVE_S,
        ws="none",
    )


class _Server(uvicorn.Server):
    """Tells the station that it is about to end, so that streams of events end, too."""

    def __init__(self, config: uvicorn.Config, station: Station) -> None:
        super().__init__(config)
        self._station = station

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End what was accepted; at the second time, end at once: nothing answered is lost by that."""
        if self._station.stopping.is_set():
            os._exit(128 + sig)
        self._station.stopping.set()
        super().handle_exit(sig, frame)


def _bound(settings: StationSettings) -> socket.socket:
    """The socket, bound before anybody is told the address."""
    service = settings.service
    family = socket.AF_INET6 if ":" in service.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((service.host, service.port))
        sock.listen(_WAITING)  # whoever reads the address may connect at once
    except OSError as error:
        sock.close()
        raise ConfigError(
            f"service.host and service.port must be free to listen on, got {service.host} and {service.port}: "
            f"{error.strerror or error}. Name another with --port."
        ) from None
    sock.set_inheritable(True)
    return sock


def _address(settings: StationSettings, sock: socket.socket) -> str:
    service = settings.service
    host = f"[{service.host}]" if ":" in service.host else service.host
    scheme = "http" if service.tls_certificate is None else "https"
    return f"{scheme}://{host}:{sock.getsockname()[1]}{service.root_path}"
