"""From where the station can be reached, and whether that fits what it asks of those who reach it."""

from __future__ import annotations

import ssl
from ipaddress import ip_address
from pathlib import Path

from muad.errors import ConfigError
from muad.service.access.settings import AccessSettings

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""What a browser on the same machine calls the station."""


def is_loopback(host: str) -> bool:
    """Whether only the same machine reaches a service that listens on this address or name."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_exposure(settings: AccessSettings, *, host: str, encrypted: bool, root_path: str) -> list[str]:
    """Refuse a station that anybody could use from elsewhere, and say what a person should know of one that is well.

    Args:
        settings: Who is let in.
        host: Where it listens.
        encrypted: Whether it has a certificate of its own.
        root_path: Where a proxy shows it; empty without one.

    Raises:
        ConfigError: It asks for no tokens, though it can be reached from other machines.
    """
    if settings.open and not is_loopback(host):
        raise ConfigError(
            f"service.host must be a loopback address such as 127.0.0.1 where access.open is true, got {host}. "
            "Set access.open to false, and give tokens with `muad station token add`."
        )
    if settings.open and (settings.trusted_proxies or root_path):
        raise ConfigError(
            "access.open must be false behind a proxy, got true: whoever reaches the proxy could do anything. "
            "Give tokens with `muad station token add`."
        )
    if settings.open:
        return ["access.open: no tokens are asked for, so only this machine can reach the station"]
    if not (encrypted or settings.trusted_proxies or is_loopback(host)):
        return [
            f"{host} is reached without encryption: tokens can be read on the way, and pages let nobody log in. Give "
            "service.tls_certificate and service.tls_key, or put a proxy in front and name it in access.trusted_proxies"
        ]
    return []


def check_certificate(certificate: Path, key: Path) -> list[str]:
    """Refuse files that TLS could not start with; a note where others can read the key.

    Raises:
        ConfigError: One is missing or cannot be read, or the key is not the certificate's.
    """
    for name, file in (("tls_certificate", certificate), ("tls_key", key)):
        try:
            file.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"service.{name} must be a file that can be read, got {file}: {error.strerror}."
            ) from None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise ConfigError(
            f"service.tls_certificate and service.tls_key must be a certificate and its key in PEM, the key without a "
            f"password, got {certificate} and {key}: {reason}."
        ) from None
    if key.stat().st_mode & 0o007:
        return [f"service.tls_key can be read by everybody on this machine: chmod o= {key}"]
    return []


def _no_password() -> str:
    raise ValueError("the key has a password")
