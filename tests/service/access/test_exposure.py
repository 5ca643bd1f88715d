"""A station that could be used by anybody from elsewhere does not start."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from pydantic import ValidationError

from muad.errors import ConfigError
from muad.service.access.exposure import check_certificate, check_exposure, is_loopback
from muad.service.access.settings import AccessSettings

OPEN, CLOSED = AccessSettings(open=True), AccessSettings()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("[::1]", True), ("localhost", True), ("0.0.0.0", False),
     ("::", False), ("192.168.0.4", False), ("station", False), ("localhost.evil.test", False)],
)  # fmt: skip
def test_loopback_is_what_only_the_same_machine_reaches(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
    if loopback:
        said = check_exposure(OPEN, host=host, encrypted=False, root_path="")
        assert said == ["access.open: no tokens are asked for, so only this machine can reach the station"]
    else:
        with pytest.raises(ConfigError, match=r"service.host must be a loopback address .* got "):
            check_exposure(OPEN, host=host, encrypted=True, root_path="")


@pytest.mark.parametrize(("proxies", "root"), [(("10.0.0.1",), ""), ((), "/inspection")])
def test_an_open_station_does_not_start_behind_a_proxy(proxies: tuple[str, ...], root: str) -> None:
    settings = AccessSettings(open=True, trusted_proxies=proxies)
    with pytest.raises(ConfigError, match="must be false behind a proxy"):
        check_exposure(settings, host="127.0.0.1", encrypted=False, root_path=root)


def test_tokens_without_encryption_are_said_to_be_readable() -> None:
    [said] = check_exposure(CLOSED, host="0.0.0.0", encrypted=False, root_path="")
    assert "tokens can be read on the way" in said
    assert check_exposure(CLOSED, host="0.0.0.0", encrypted=True, root_path="") == []
    assert check_exposure(CLOSED, host="127.0.0.1", encrypted=False, root_path="") == []
    behind = AccessSettings(trusted_proxies=("10.0.0.0/24",))
    assert check_exposure(behind, host="0.0.0.0", encrypted=False, root_path="/muad") == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"trusted_proxies": ["0.0.0.0/0"]}, "everybody's"),
        ({"trusted_proxies": ["*"]}, "addresses or networks"),
        ({"hosts": ["https://station"]}, "without scheme"),
        ({"hosts": ["station:8420"]}, "without scheme"),
        ({"burst": 0}, "greater than or equal to 1"),
        ({"opened": True}, "Extra inputs"),
    ],
)
def test_settings_that_would_trust_everybody_or_mean_nothing_are_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        AccessSettings(**wrong)


def test_a_certificate_and_its_key_are_tried_before_the_service_starts(tmp_path: Path) -> None:
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x",
         "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"], capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("needs openssl to make a certificate")
    (tmp_path / "key.pem").chmod(0o600)
    assert check_certificate(tmp_path / "cert.pem", tmp_path / "key.pem") == []
    (tmp_path / "key.pem").chmod(0o644)
    assert "can be read by everybody" in check_certificate(tmp_path / "cert.pem", tmp_path / "key.pem")[0]
    with pytest.raises(ConfigError, match=r"tls_key must be a file that can be read, got .*none.pem: No such file"):
        check_certificate(tmp_path / "cert.pem", tmp_path / "none.pem")
    with pytest.raises(ConfigError, match="a certificate and its key in PEM"):
        check_certificate(tmp_path / "key.pem", tmp_path / "cert.pem")
