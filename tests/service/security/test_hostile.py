"""Texts, names and files that somebody sends to do harm: kept as text, found as text, shown as text, and never more."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from tests.service.conftest import photograph
from tests.service.security.conftest import Served

from muad.service.access.headers import PICTURE_POLICY
from muad.service.access.roles import Role

SCRIPTS = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "</textarea></title></style></script><svg onload=alert(1)>",
    "javascript:alert(1)",
    "{{7*7}}{% import os %}${7*7}#{7*7}",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
]
STATEMENTS = [
    "' OR '1'='1",
    "'; DROP TABLE inspections; --",
    '" UNION SELECT digest FROM tokens --',
    "%' OR 1=1 --",
    "1) OR (SELECT 1",
    "%",
    "_",
    "\\",
]
PATHS = [
    "../../../../etc/passwd",
    "..\\..\\station.toml",
    "/etc/passwd",
    "C:\\Windows\\win.ini",
    "....//....//first-token.txt",
    "photo.png/../../history.sqlite",
    "CON",
    "a" * 150,
]
LETTERS = [
    "=cmd|' /C calc'!A0",
    "+1+1",
    "@SUM(1)",
    "\u202egnp.exe",
    "\ufeffa",
    "\U0001d54f\U0001f4a5",
    "a\r\nset-cookie: x=1",
    "\x1b[31m",
]
TEXTS = [*SCRIPTS, *STATEMENTS, *PATHS, *LETTERS]
FILTERS = (
    "station",
    "judged_as",
    "verdict",
    "serial",
    "lot",
    "model",
    "word",
    "source",
    "cursor",
    "since",
    "score_from",
)


class Page(HTMLParser):
    """What a browser would run of a page, or take from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.shown = ""

    def handle_data(self, data: str) -> None:
        self.shown += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "script" and "/static/" not in values.get("src", "") and values.get("type") != "application/json":
            self.faults.append(f"a script of its own: {values}")
        if tag in ("iframe", "object", "embed", "base", "style"):
            self.faults.append(f"<{tag}>")
        for name, value in values.items():
            if name.startswith("on") or name == "style" or name == "srcdoc":
                self.faults.append(f"<{tag} {name}={value[:40]!r}>")
            if name in ("href", "src", "action", "formaction") and re.match(r"\s*(javascript|data|https?|//)", value):
                self.faults.append(f"<{tag} {name}={value[:40]!r}>")


@pytest.fixture(scope="module")
def marked(served: Served) -> list[tuple[str, str]]:
    """Photographs whose every fact is hostile, each with a word that is: (text, id)."""
    made = []
    with served.client(Role.OPERATOR) as client:
        for number, text in enumerate(TEXTS):
            facts = {"serial": text, "lot": text, "station": text, "extras": json.dumps({text: text})}
            facts["idempotency_key"] = f"{number} {text}"
            file = {"image": (text, photograph(number, defect=number % 2 == 0), "image/png")}
            answer = client.post("/v1/inspections", data=facts, files=file)
            assert answer.status_code == 201, f"{text!r}: {answer.text}"
            said = answer.json()
            assert (said["serial"], said["lot"], said["station"], said["extras"]) == (text, text, text, {text: text})
            word = {"word": "bad", "defect_type": text, "note": text}
            assert client.post(f"/v1/inspections/{said['id']}/word", json=word).status_code == 201
            made.append((text, said["id"]))
    return made


def test_a_text_comes_back_as_it_was_and_finds_its_own_part_alone(
    served: Served, marked: list[tuple[str, str]]
) -> None:
    with served.client(Role.OPERATOR) as client:
        for text, inspection in marked:
            assert client.get(f"/v1/inspections/{inspection}").json()["serial"] == text
            [word] = client.get(f"/v1/inspections/{inspection}/words").json()["words"]
            assert (word["note"], word["defect_type"], word["who"]) == (text, text, "the operator")
            for name in ("serial", "lot", "station"):
                found = client.get("/v1/inspections", params={name: text}).json()["inspections"]
                assert [one["id"] for one in found] == [inspection]


def test_no_filter_takes_a_statement_for_more_than_a_text(served: Served, marked: list[tuple[str, str]]) -> None:
    with served.client(Role.OPERATOR) as client:
        for name in FILTERS:
            for text in [*STATEMENTS[:6], SCRIPTS[0], "\0", "9" * 400, "nan", "-inf", "0001-01-01T00:00:00+14:00"]:
                answer = client.get("/v1/inspections", params={name: text})
                assert answer.status_code in (200, 422), f"{name}={text!r}: {answer.status_code} {answer.text}"
                if answer.status_code == 200 and name not in ("serial", "lot", "station"):
                    assert answer.json()["inspections"] == [], f"{name}={text!r}"
                assert answer.headers["content-type"] == "application/json"


def test_every_page_shows_them_as_text(served: Served, marked: list[tuple[str, str]]) -> None:
    with served.client(Role.ADMIN) as client:
        pages = [
            "/live",
            "/live/now",
            "/history",
            "/review",
            "/limits",
            "/trends",
            "/models",
            "/login?next=javascript:alert(1)",
        ]
        pages += [f"/history/{inspection}" for _, inspection in marked]
        pages += [
            str(httpx.URL("/history", params={"serial": text, "lot": text, "station": text})) for text in TEXTS[::3]
        ]
        pages += [str(httpx.URL("/trends", params={"product": text})) for text in SCRIPTS]
        for place in pages:
            answer = client.get(place, follow_redirects=True)
            assert answer.status_code in (200, 404, 422), f"{place}: {answer.status_code}"
            page = Page()
            page.feed(answer.text)
            assert page.faults == [], place
            assert "<script>alert" not in answer.text
            if (text := next((text for text, one in marked if place == f"/history/{one}"), "")) in SCRIPTS:
                assert text in page.shown, place
            assert "unsafe" not in answer.headers["content-security-policy"]
            assert answer.headers.get_list("set-cookie") == []


def test_a_photograph_is_sent_back_as_a_picture_that_runs_nothing(
    served: Served, marked: list[tuple[str, str]]
) -> None:
    _, inspection = marked[0]
    with served.client(Role.LINE) as client:
        for kind in ("photo", "overlay", "map"):
            answer = client.get(f"/v1/inspections/{inspection}/{kind}")
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("image/")
            assert answer.headers["content-security-policy"] == PICTURE_POLICY
            assert answer.headers["x-content-type-options"] == "nosniff"


def test_no_name_becomes_a_path(served: Served, marked: list[tuple[str, str]], tmp_path: Path) -> None:
    folder = served.station.folder
    before = {file.name for file in folder.parent.iterdir()}
    named = [str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()]
    strange = [name for name in named if not re.fullmatch(r"[\w./-]+", name) or "passwd" in name or "CON" in name]
    assert strange == []
    secret = (folder.parent / "secret.txt").resolve()
    secret.write_text("secret")
    try:
        with served.client(Role.ADMIN) as client:
            for trick in (
                "../secret.txt",
                "..%2f..%2fsecret.txt",
                "%2e%2e/secret.txt",
                "..%5csecret.txt",
                f"/{secret}",
                "%00",
            ):
                for place in (
                    "/static/",
                    "/v1/inspections/",
                    "/pictures/",
                    "/history/",
                    "/limits/",
                    "/v1/limits/",
                    "/v1/models/",
                ):
                    raw = httpx.URL(served.address).copy_with(raw_path=f"{place}{trick}".encode())
                    answer = client.get(raw)
                    assert answer.status_code < 500, f"{place}{trick}"
                    assert "secret" not in answer.text.replace("secret.txt", ""), f"{place}{trick}"
            for trick in PATHS:
                assert client.post("/v1/models/load", json={"name": trick}).status_code in (404, 409, 422)
                refused = client.post("/v1/models", params={"name": trick}, content=b"PK\3\4 no bundle")
                assert refused.status_code in (409, 422)
                assert client.post("/v1/tokens", json={"name": trick, "role": "line", "days": 1}).status_code in (
                    201,
                    422,
                )
    finally:
        secret.unlink()
    assert {file.name for file in folder.parent.iterdir()} == before


@pytest.mark.parametrize("length", [201, 5000, 500_000, 2_000_000])
def test_texts_without_end_are_refused(served: Served, length: int) -> None:
    text = "x" * length
    with served.client(Role.OPERATOR) as client:
        file = {"image": ("a.png", photograph(1), "image/png")}
        answer = client.post("/v1/inspections", data={"serial": text}, files=file)
        assert answer.status_code in (413, 422), answer.text
        assert len(answer.text) < 1000
        nested = client.post("/v1/inspections", data={"extras": "[" * length}, files=file)
        assert nested.status_code in (413, 422)
        assert len(nested.text) < 1000
