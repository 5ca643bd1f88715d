"""Every page answers in every language, holds nothing the policy refuses, and shows texts as texts."""

import re
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from tests.service.pages.conftest import Pages

from muad.service.access.roles import Role
from muad.service.app import create_app
from muad.service.history import DriftSignal, new_id, now
from muad.service.station import Station

PATHS = ("/live", "/live/now", "/history", "/review", "/limits/bolt", "/limits/bolt/preview", "/trends", "/models")
HOSTILE = "<img src=x onerror=alert(1)>\"'{{7*7}}"


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("path", PATHS)
def test_every_page_is_whole_and_holds_no_inline_script_or_style(pages: Pages, path: str, language: str) -> None:
    with pages.client(Role.ENGINEER, **{"accept-language": language}) as client:
        answer = client.get(path)
    assert answer.status_code == 200, answer.text
    assert not re.search(r"\sstyle=|\son\w+=|<style|javascript:", answer.text)
    assert all("src=" in script for script in re.findall(r"<script[^>]*>", answer.text))
    assert not re.search(r"""(?:src|href|action)="(?:https?:)?//""", answer.text)
    assert "unsafe" not in answer.headers["content-security-policy"]
    if path not in ("/live/now", "/limits/bolt/preview"):
        assert f'<html lang="{language}">' in answer.text


def test_texts_that_somebody_sent_are_shown_as_texts(pages: Pages) -> None:
    part = pages.post(50, serial=HOSTILE, lot=HOSTILE)
    with pages.client(Role.OPERATOR) as client:
        said = client.post(f"/history/{part.id}/word", data={"word": "bad", "defect_type": HOSTILE, "note": HOSTILE})
        assert said.status_code == 303
        for path in ("/live", "/history", f"/history/{part.id}"):
            text = client.get(path).text
            assert "<img src=x" not in text
            assert "&lt;img src=x onerror=alert(1)&gt;" in text
            assert "{{7*7}}" in text


def test_filters_find_what_they_say_and_say_what_they_cannot_understand(pages: Pages) -> None:
    with pages.client(Role.ENGINEER) as client:
        everything = client.get("/history").text
        some = client.get("/history", params={"verdict": "reject", "product": "bolt", "serial": "B-1"}).text
        none = client.get("/history", params={"serial": "'; drop table inspections; --"}).text
        wrong = client.get("/history", params={"from": "yesterday", "score_from": "much", "verdict": "maybe"}).text
        export = re.search(r'href="(/v1/inspections\.csv[^"]*)"', client.get("/history?serial=B-1&score_from=0.1").text)
    assert len(re.findall(r'<a class="part"', some)) < len(re.findall(r'<a class="part"', everything))
    assert "No part fits these filters." in none
    assert "This is no date and time: yesterday" in wrong
    assert "This is no number: much" in wrong
    assert "verdict must be one of" in wrong
    assert export is not None
    assert export[1] == "/v1/inspections.csv?serial=B-1&amp;score_from=0.1"


def test_pictures_are_kept_by_the_browser_and_run_nothing(pages: Pages) -> None:
    part = pages.station.history.since(None, 1)[-1]
    with pages.client(Role.OPERATOR) as client:
        photo, heat = client.get(f"/pictures/{part.id}/photo?width=160"), client.get(f"/pictures/{part.id}/heat")
        other = client.get(f"/pictures/{part.id}/photo?width=161")
    assert (photo.headers["content-type"], heat.headers["content-type"]) == ("image/jpeg", "image/png")
    for answer in (photo, heat):
        assert "max-age" in answer.headers["cache-control"]
        assert "sandbox" in answer.headers["content-security-policy"]
    assert other.status_code == 404


def test_what_is_not_there_and_what_is_not_allowed_are_pages_too(pages: Pages) -> None:
    with pages.client(Role.OPERATOR, **{"accept-language": "de"}) as client:
        missing, forbidden = client.get(f"/history/{'0' * 32}"), client.get("/models")
        foreign = client.get("/limits/nothing")
    assert (missing.status_code, forbidden.status_code, foreign.status_code) == (404, 403, 404)
    assert "So ein Teil, Produkt oder Modell gibt es nicht." in missing.text
    assert "Nicht für diese Rolle" in forbidden.text
    with pages.client(None) as client:
        away = client.get("/history?serial=B-1")
    assert away.status_code == 303
    assert away.headers["location"].endswith("/login?next=%2Fhistory%3Fserial%3DB-1")


@pytest.mark.parametrize("wanted", ["https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere.example"])
def test_a_login_leads_to_the_station_only(pages: Pages, wanted: str) -> None:
    with pages.client(None) as client:
        answer = client.post("/login", data={"token": pages.tokens[Role.OPERATOR], "back": wanted})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/live"


def test_a_word_of_no_meaning_is_refused_beside_the_form(pages: Pages) -> None:
    part = pages.station.history.since(None, 1)[-1]
    with pages.client(Role.OPERATOR) as client:
        answer = client.post(f"/history/{part.id}/word", data={"word": "perhaps"})
    assert answer.status_code == 422
    assert "word must be one of good, bad" in answer.text
    assert pages.station.history.get(part.id).word == part.word


def test_limits_that_contradict_each_other_are_not_set(pages: Pages) -> None:
    before = pages.station.history.changes("limit")
    with pages.client(Role.ENGINEER) as client:
        crossed = client.post("/limits/bolt", data={"review": "0.9", "reject": "0.1", "reason": "a try"})
        words = client.post("/limits/bolt", data={"review": "high", "reject": "", "reason": "a try"})
        shown = client.get("/limits/bolt/preview", params={"review": "0.9", "reject": "0.1"})
    assert (crossed.status_code, words.status_code) == (422, 422)
    assert "This is no number" in words.text
    assert "The review limit must be at most the reject limit." in shown.text
    assert pages.station.history.changes("limit") == before


def test_a_drift_is_shown_with_the_parts_that_show_it_and_accepted_with_a_reason(pages: Pages) -> None:
    part = pages.post(60)
    at = now()
    signal = DriftSignal(
        id=new_id(at), station="Line 2", judged_as="bolt", quantity="brightness", direction="lower", began_at=part.at,
        raised_at=at, inspections=40, statistic=150.0, threshold=140.0, parts=(part.id, "0" * 32),
    )  # fmt: skip
    pages.station.history.add_signal(signal)
    pages.station.feed.changed()
    with pages.client(Role.ENGINEER) as client:
        text = client.get("/trends?product=bolt").text
        assert "Brightness of the photographs lower, since" in text
        assert f"/history/{part.id}" in text
        assert "1 drift signal stands" in text
        answer = client.post(f"/trends/signals/{signal.id}/accept", data={"reason": "new lamp", "back": "bolt"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/trends?product=bolt")
        text = client.get("/trends?product=bolt").text
    assert "Over since" in text
    assert "new lamp" in text
    assert "drift signal stands" not in text


def test_behind_a_proxy_every_address_begins_with_its_path(make_station: Callable[..., Station]) -> None:
    station = make_station(service={"root_path": "/inspection"})
    with TestClient(create_app(station), base_url="http://127.0.0.1:8420") as client:
        for path in ("/live", "/history", "/limits/bolt", "/login"):
            text = client.get(path).text
            found = re.findall(r'(?:href|src|action|hx-get|hx-post|data-events|data-root)="([^"#]+)"', text)
            assert found
            assert [address for address in found if not address.startswith("/inspection/")] == []
        answer = client.post("/language", data={"language": "de", "back": "/history?lot=L1"}, follow_redirects=False)
    assert answer.headers["location"] == "/inspection/history?lot=L1"
