"""Who asks, and how, is what the connection says, unless a proxy that is named says otherwise."""

import ssl
import subprocess
from pathlib import Path

import httpx
import pytest
from tests.service.security.conftest import serving

from muad.service.access.roles import Role

FORGED = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https", "accept": "text/html"}


def test_a_certificate_of_its_own_makes_logins_that_never_leave_it_unencrypted(
    patch_bundle: Path, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "tls.pem", tmp_path / "tls.key"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("needs openssl to make a certificate")
    service = {"tls_certificate": certificate, "tls_key": key}
    with serving(tmp_path / "station", patch_bundle, service=service) as served:
        trusting = ssl.create_default_context(cafile=str(certificate))
        with httpx.Client(base_url=served.address, verify=trusting, trust_env=False) as client:
            token = served.headers[Role.OPERATOR]["authorization"].removeprefix("Bearer ")
            answer = client.post("/login", data={"token": token, "back": "/history"})
            assert (answer.status_code, answer.headers["location"]) == (303, "/history")
            cookie = answer.headers["set-cookie"]
            assert cookie.startswith("__Host-muad-login=")
            assert "Secure" in cookie
            assert "HttpOnly" in cookie
            assert answer.headers["strict-transport-security"]
            assert client.get("/history").status_code == 200
            away = client.post("/login", data={"token": token, "back": "//evil.test/"})
            assert away.headers["location"] == "/live"
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(served.address.replace("https", "http"), trust_env=False)


def test_what_nobody_trusted_says_of_the_client_is_not_believed(patch_bundle: Path, tmp_path: Path) -> None:
    slow = {"failures_per_minute": 1}
    with serving(tmp_path / "station", patch_bundle, access=slow) as served, served.client(None) as client:
        answer = client.get("/live", headers=FORGED)
        assert answer.headers["location"] == "/login?next=%2Flive"
        assert "strict-transport-security" not in answer.headers
        wrong = {"authorization": "Bearer muad_wrong"}
        tried = [
            client.get("/v1/me", headers={**wrong, "x-forwarded-for": f"203.0.113.{number}"}).status_code
            for number in range(3)
        ]
        assert tried == [401, 429, 429]  # another forged address does not start anew


def test_behind_a_named_proxy_the_station_knows_its_path_and_who_asks(patch_bundle: Path, tmp_path: Path) -> None:
    access = {"trusted_proxies": ["127.0.0.1"], "failures_per_minute": 1}
    service = {"root_path": "/inspection"}
    with (
        serving(tmp_path / "station", patch_bundle, access=access, service=service) as served,
        served.client(None) as client,
    ):
        answer = client.get("/live", headers=FORGED)
        assert answer.headers["location"] == "/inspection/login?next=%2Flive"
        assert answer.headers["strict-transport-security"]
        whole = client.get("/inspection/live", headers=FORGED)  # a proxy that leaves the path on
        assert whole.headers["location"] == answer.headers["location"]
        page = client.get("/login", headers=FORGED).text
        assert 'href="/static' not in page
        assert "/inspection/static/" in page
        token = served.headers[Role.OPERATOR]["authorization"].removeprefix("Bearer ")
        made = client.post("/login", data={"token": token, "back": "/history"}, headers=FORGED)
        assert made.headers["location"] == "/inspection/history"
        assert made.headers["set-cookie"].startswith("__Host-muad-login=")
        wrong = {"authorization": "Bearer muad_wrong"}
        tried = [
            client.get("/v1/me", headers={**wrong, "x-forwarded-for": f"203.0.113.{number}"}).status_code
            for number in range(3)
        ]
        assert tried == [401, 401, 401]
