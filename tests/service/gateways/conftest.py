"""Inspections as the history gives them, and a short wait."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from muad.decisions.regions import Region
from muad.service.gateways.message import inspection_message
from muad.service.history.ids import new_id
from muad.service.history.record import Inspection

_BEGUN = datetime(2026, 3, 2, 6, 30, tzinfo=UTC)


def _inspection(number: int, **facts: Any) -> Inspection:
    at = facts.pop("at", _BEGUN + timedelta(seconds=number))
    region = Region(polygon=((3, 4), (9, 4), (9, 8)), area_px=20, peak=2.5, peak_at=(5, 6), mean=1.5)
    known: dict[str, Any] = {
        "id": new_id(at),
        "station": "line 1",
        "source": "http",
        "verdict": "reject",
        "judged_as": "bolt",
        "score": 1.25,
        "p_value": 0.01,
        "review_above": 0.8,
        "reject_above": 1.0,
        "map_limit": 2.0,
        "regions": (region,),
        "highest": region,
        "width": 64,
        "height": 60,
        "serial": f"A{number}",
        "model_id": "0123456789abcdef",
    }
    return Inspection(number=number, at=at, **(known | facts))


@pytest.fixture
def inspection() -> Callable[..., Inspection]:
    """`inspection(number, field=value, ...)`: a rejected bolt, unless said otherwise."""
    return _inspection


@pytest.fixture
def message() -> Callable[..., dict[str, Any]]:
    """`message(number, field=value, ...)`: what the station tells of it."""
    return lambda number, **facts: inspection_message(_inspection(number, **facts))


@pytest.fixture
def wait_for() -> Callable[..., None]:
    """`wait_for(condition)`: until it holds, or the test fails."""

    def wait(condition: Callable[[], object], within_s: float = 15.0) -> None:
        end = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.01)

    return wait


@pytest.fixture
def free_port() -> Callable[[], int]:
    """`free_port()`: one of the loopback's that nobody listens on."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ca.pem`; for localhost, with keys, `server` and `client`, signed by it, and `stranger`, signed by itself."""
    folder = tmp_path_factory.mktemp("certificates")
    ca_key, ca = _certificate("a test authority", None)
    (folder / "ca.pem").write_bytes(ca.public_bytes(Encoding.PEM))
    for name, signer in (("server", (ca_key, ca)), ("client", (ca_key, ca)), ("stranger", None)):
        key, certificate = _certificate(name, signer)
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"{name}-key.pem").write_bytes(plain)
    return folder


def _certificate(
    name: str, signer: tuple[rsa.RSAPrivateKey, x509.Certificate] | None
) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    names: list[x509.GeneralName] = [
        x509.DNSName("localhost"),
        x509.IPAddress(ip_address("127.0.0.1")),
        x509.UniformResourceIdentifier("urn:muad:station" if name == "server" else f"urn:test:{name}"),
    ]
    uses = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=signer is None,
        crl_sign=signer is None,
        encipher_only=False,
        decipher_only=False,
    )
    public = key.public_key()
    issuer_key, issuer = (key, subject) if signer is None else (signer[0], signer[1].subject)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(uses, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if signer is not None:
        both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = builder.add_extension(both, critical=False)
    return key, builder.sign(issuer_key, hashes.SHA256())
