"""Every route asks who it is: by role, by cookie and its secret, how often, and from where."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from muad.service.access.headers import PAGE_POLICY
from muad.service.access.rate_limit import MOST_KEYS, RateLimit, address_key
from muad.service.access.roles import Role
from muad.service.access.tokens import Tokens

Header = Callable[[Role], dict[str, str]]


def test_a_role_opens_its_own_routes_and_those_below(client: TestClient, token_of: Header) -> None:
    for role in Role:
        header = token_of(role)
        opened = [asked for asked in Role if client.get(f"/v1/{asked}", headers=header).status_code == 200]
        assert opened == [asked for asked in Role if role.may(asked)]
        refused = client.get("/v1/admin", headers=header)
        if role is not Role.ADMIN:
            assert refused.status_code == 403
            assert refused.json() == {
                "error": f"role must be admin or above for this, got {role}. Ask for another token."
            }


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"authorization": "Bearer muad_wrong"},
        {"authorization": "Bearer"},
        {"authorization": "Basic bXVhZDptdWFk"},
        {"authorization": "muad_without_scheme"},
        {"cookie": "__Host-muad-login=wrong"},
        {"cookie": "muad-login=wrong"},
    ],
)
def test_nobody_is_told_apart_from_somebody_with_a_wrong_token(client: TestClient, header: dict[str, str]) -> None:
    answer = client.get("/v1/line", headers=header)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="muad"'
    assert "muad_wrong" not in answer.text


def test_a_revoked_token_is_refused_by_the_process_that_revoked_it_at_once(
    secured: Callable[..., FastAPI], tokens: Tokens
) -> None:
    app = secured()
    made = tokens.make("press", Role.LINE, who="admin")
    header = {"authorization": f"Bearer {made.text}"}
    with TestClient(app) as client:
        assert client.get("/v1/line", headers=header).status_code == 200
        client.portal.call(partial(app.state.access.revoke, "press", who="admin"))
        assert client.get("/v1/line", headers=header).status_code == 401


def test_a_login_reads_pages_and_posts_only_with_the_secret_of_the_page(client: TestClient, tokens: Tokens) -> None:
    made = tokens.make("desk", Role.OPERATOR, who="admin")
    assert client.post("/login", data={"token": "muad_wrong"}).status_code == 401
    answer = client.post("/login", data={"token": made.text})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-muad-login=")
    assert all(part in cookie for part in ("HttpOnly", "Secure", "SameSite=strict", "Path=/", "Max-Age=43"))
    csrf = answer.json()
    assert client.get("/live").json() == csrf
    assert client.post("/v1/operator").status_code == 403
    assert client.post("/v1/operator", headers={"x-csrf-token": "wrong"}).status_code == 403
    assert client.post("/v1/operator", headers={"x-csrf-token": csrf}).status_code == 200
    assert client.post("/v1/saying", data={"word": "good", "csrf": csrf}).json() == "desk: good"
    assert client.post("/v1/saying", data={"word": "good", "csrf": "wrong"}).status_code == 403
    assert client.post("/v1/engineer", headers={"x-csrf-token": csrf}).status_code == 403
    kept = dict(client.cookies)
    assert client.post("/logout", headers={"x-csrf-token": csrf}).status_code == 200
    client.cookies.update(kept)
    assert client.get("/live").status_code == 401


def test_a_browser_without_a_login_is_led_to_it_and_back_within_the_station(client: TestClient) -> None:
    answer = client.get("/live?x=//evil.test", headers={"accept": "text/html"}, follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=%2Flive%3Fx%3D%2F%2Fevil.test"
    assert client.get("/v1/line", headers={"accept": "text/html"}, follow_redirects=False).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.test"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site", "origin": "https://station.test"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_another_sites_page_can_neither_post_with_a_login_nor_log_in(
    client: TestClient, tokens: Tokens, headers: dict[str, str]
) -> None:
    made = tokens.make("desk", Role.OPERATOR, who="admin")
    csrf = client.post("/login", data={"token": made.text}, headers={"origin": "https://station.test"}).json()
    assert client.post("/v1/operator", headers={"x-csrf-token": csrf, **headers}).status_code == 403
    assert client.post("/login", data={"token": made.text}, headers=headers).status_code == 403
    # A token in the header is sent by nobody unasked, so where it is sent from says nothing.
    assert client.post("/v1/operator", headers={"authorization": f"Bearer {made.text}", **headers}).status_code == 200


def test_every_answer_carries_the_headers_refusals_and_faults_too(client: TestClient) -> None:
    for path, status in (("/healthz", 200), ("/v1/line", 401), ("/nowhere", 404)):
        answer = client.get(path)
        assert answer.status_code == status
        assert answer.headers["content-security-policy"] == PAGE_POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert "unsafe" not in PAGE_POLICY


def test_an_open_station_answers_only_who_is_on_its_machine_and_asks_it_by_its_name(
    secured: Callable[..., FastAPI],
) -> None:
    local = TestClient(secured(open=True), base_url="http://127.0.0.1:8420")
    assert local.get("/v1/admin").json() == {"name": "anyone on this machine", "role": "admin"}
    assert local.get("/v1/admin", headers={"authorization": "Bearer muad_of_another_station"}).status_code == 200
    assert local.post("/v1/admin", headers={"origin": "http://evil.test"}).status_code == 403
    assert local.post("/v1/admin", headers={"origin": "http://127.0.0.1:8420"}).status_code == 200
    assert local.get("/v1/admin", headers={"host": "rebound.evil.test"}).status_code == 421
    for proxied in ("x-forwarded-for", "forwarded", "via"):
        assert local.get("/v1/admin", headers={proxied: "192.0.2.7"}).status_code == 421
    assert "content-security-policy" in local.get("/v1/admin", headers={"host": "evil.test"}).headers


def test_a_station_with_names_answers_to_those_and_to_its_own_machine(
    secured: Callable[..., FastAPI], token_of: Header
) -> None:
    client = TestClient(secured(hosts=["Station.Plant.Example"]), base_url="https://station.plant.example:8443")
    header = token_of(Role.LINE)
    assert client.get("/v1/line", headers=header).status_code == 200
    assert client.get("/v1/line", headers={**header, "host": "[::1]:8420"}).status_code == 200
    assert client.get("/v1/line", headers={**header, "host": "evil.test"}).status_code == 421


def test_who_asks_too_often_is_told_when_to_come_back_and_others_are_not(
    secured: Callable[..., FastAPI], tokens: Tokens
) -> None:
    client = TestClient(secured(requests_per_s=0.01, burst=2, failures_per_minute=1), base_url="https://station.test")
    first, second = (
        {"authorization": f"Bearer {tokens.make(name, Role.LINE, who='x').text}"} for name in ("first", "second")
    )
    statuses = [client.get("/v1/line", headers=first) for _ in range(3)]
    assert [answer.status_code for answer in statuses] == [200, 200, 429]
    assert 90 <= int(statuses[-1].headers["retry-after"]) <= 100
    assert client.get("/v1/line", headers=second).status_code == 200
    wrong = {"authorization": "Bearer muad_wrong"}
    assert [client.get("/v1/line", headers=wrong).status_code for _ in range(2)] == [401, 429]
    assert client.get("/v1/line", headers=second).status_code == 200  # who has a token does not suffer from it


def test_a_bucket_refills_steadily_and_their_number_is_bounded() -> None:
    now = 0.0
    limit = RateLimit(2, 3, clock=lambda: now)
    assert [limit.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    now = 0.5
    assert [limit.take("a"), limit.take("a")] == [0, 0.5]
    now = 100
    assert [limit.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    for number in range(MOST_KEYS + 50):
        limit.take(str(number))
    assert len(limit._buckets) == MOST_KEYS


def test_an_address_of_six_counts_as_its_network() -> None:
    assert address_key("2001:db8:1:2:3:4:5:6") == address_key("2001:db8:1:2::9%eth0") == "2001:0db8:0001:0002"
    assert address_key("::ffff:192.0.2.7") == address_key("192.0.2.7") == "192.0.2.7"
    assert address_key(None) == "unknown"
    assert address_key("testclient") == "testclient"
