"""How to encrypt to a far end: its certificate is always checked."""

from __future__ import annotations

import ssl
from pathlib import Path

from muad.errors import ConfigError
from muad.service.gateways.base import require_file


def client_tls(
    section: str, folder: Path, ca: Path | None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """How to encrypt to a far end whose certificate is checked.

    Args:
        section: Whose settings these are.
        folder: The station's.
        ca: Certificates that the far end's may be signed by, or None for the system's.
        certificate: Our own, or None.
        key: Of that.

    Raises:
        ConfigError: Certificates or key cannot be read.
    """
    ca, certificate, key = (
        require_file(f"{section}.{name}", folder, path)
        for name, path in (("ca", ca), ("certificate", certificate), ("key", key))
    )
    if key is not None and certificate is None:
        raise ConfigError(f"{section}.certificate must be given with {section}.key, got none.")
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigError(f"{section}.ca must hold certificates in PEM form, got {ca} ({error}).") from None
    if certificate is not None:
        try:
            context.load_cert_chain(certificate, key, password=lambda: b"")
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{section}.certificate and {section}.key must be a pair in PEM form, the key without a password, "
                f"got {certificate} and {key} ({error})."
            ) from None
    return context
