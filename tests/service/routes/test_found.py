"""What is found again, its pictures, and what people say of it."""

import base64
import csv
import io

import cv2
import numpy as np
import pyarrow.parquet
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from tests.service.conftest import photograph

from muad.service.station import Station


@pytest.fixture
def posted(client: TestClient) -> list[dict]:
    """Six parts, every second one of each product, with serial numbers."""
    return [
        client.post(
            "/v1/inspections", content=photograph(number, defect=number == 4),
            params={"category": ("bolt", "cloth")[number % 2], "serial": f"S{number}", "lot": "A"},
        ).json()
        for number in range(6)
    ]  # fmt: skip


def test_pages_filters_and_their_cursor(client: TestClient, posted: list[dict]) -> None:
    first = client.get("/v1/inspections", params={"limit": 4}).json()
    rest = client.get("/v1/inspections", params={"limit": 4, "cursor": first["cursor"]}).json()
    assert [one["serial"] for one in first["inspections"] + rest["inspections"]] == ["S5", "S4", "S3", "S2", "S1", "S0"]
    assert rest["cursor"] is None
    of_cloth = client.get("/v1/inspections", params={"judged_as": "cloth", "oldest_first": True}).json()["inspections"]
    assert [one["serial"] for one in of_cloth] == ["S1", "S3", "S5"]
    both = client.get("/v1/inspections", params=[("verdict", "no verdict"), ("verdict", "pass"), ("serial", "S1")])
    assert [one["serial"] for one in both.json()["inspections"]] == ["S1"]


@pytest.mark.parametrize(
    "asked", [{"verdict": "perhaps"}, {"cursor": "x"}, {"limit": 0}, {"since": "2026-01-01T00:00:00"}, {"word": "so"}]
)
def test_what_nobody_can_ask_for_is_refused(client: TestClient, asked: dict) -> None:
    answer = client.get("/v1/inspections", params=asked)
    assert answer.status_code == 422
    assert answer.json()["error"]


def test_the_photograph_is_what_was_sent_and_overlays_are_drawn_from_what_is_on_record(
    client: TestClient, posted: list[dict], station: Station
) -> None:
    where = f"/v1/inspections/{posted[4]['id']}"
    sent = client.get(f"{where}/photo")
    assert sent.content == photograph(4, defect=True)
    assert sent.headers["content-type"] == "image/png"
    assert "sandbox" in sent.headers["content-security-policy"]
    small = Image.open(io.BytesIO(client.get(f"{where}/photo", params={"longest": 32}).content))
    assert small.size == (32, 30)
    drawn = client.get(f"{where}/overlay")
    picture = np.asarray(Image.open(io.BytesIO(drawn.content)), np.int16)
    assert picture.shape == (60, 64, 3)
    assert np.abs(picture - np.asarray(Image.open(io.BytesIO(sent.content)), np.int16)).max() > 40
    found = client.get(f"{where}/map")
    levels = cv2.imdecode(np.frombuffer(found.content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert levels.dtype == np.uint16
    high = float(found.headers["map-high"])
    assert high == pytest.approx(posted[4]["highest"]["peak"], rel=1e-4)
    assert levels.max() == 65_535


def test_words_stand_beside_each_other_with_who_and_when(client: TestClient, posted: list[dict]) -> None:
    where = f"/v1/inspections/{posted[0]['id']}"
    file = io.BytesIO()
    Image.fromarray(np.zeros((60, 64), np.uint8)).save(file, "PNG")
    mask = base64.b64encode(file.getvalue()).decode()
    said = client.post(f"{where}/word", json={"word": "bad", "defect_type": "scratch", "note": "<b>", "mask": mask})
    assert said.status_code == 201, said.text
    client.post(f"{where}/word", json={"word": "good"})
    words = client.get(f"{where}/words").json()["words"]
    assert [(one["word"], one["defect_type"], one["note"]) for one in words] == [
        ("bad", "scratch", "<b>"), ("good", None, None),
    ]  # fmt: skip
    assert client.get(where).json()["word"] == "good"
    wrong = client.post(
        f"{where}/word", json={"word": "bad", "mask": base64.b64encode(photograph(size=(20, 20))).decode()}
    )
    assert wrong.json()["error"].startswith("mask must have the photograph's size, 64 by 60, got 20 by 20")
    assert client.post(f"{where}/word", json={"word": "fine"}).status_code == 422
    assert client.post("/v1/inspections/none/word", json={"word": "good"}).status_code == 404
    assert client.get("/v1/inspections/none/photo").status_code == 404


def test_the_history_is_exported_as_it_is_filtered(client: TestClient, posted: list[dict]) -> None:
    found = client.get("/v1/inspections.csv", params={"judged_as": "cloth"})
    rows = list(csv.DictReader(io.StringIO(found.content.decode("utf-8-sig"))))
    assert [row["serial"] for row in rows] == ["S1", "S3", "S5"]
    assert float(rows[0]["score"]) == posted[1]["score"]
    table = pyarrow.parquet.read_table(io.BytesIO(client.get("/v1/inspections.parquet").content))
    assert table["id"].to_pylist() == [one["id"] for one in posted]
    assert client.get("/v1/inspections.csv", params={"verdict": "perhaps"}).status_code == 422
