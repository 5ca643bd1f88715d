"""Photographs in, verdicts out, over HTTP."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from tests.service.conftest import photograph

from muad import Photograph, Predictor
from muad.images.reading import ImageBytes
from muad.service.app import create_app
from muad.service.history import InspectionFilter
from muad.service.station import Station


def test_an_answer_says_what_the_predictor_says_and_what_it_was_judged_by(
    client: TestClient, station: Station, patch_bundle: Path
) -> None:
    content = photograph(3, defect=True)
    facts = {
        "category": "bolt",
        "serial": "S 1",
        "lot": "L1",
        "station": "line 2",
        "extras": '{"shift": "night", "n": 2}',
    }
    answer = client.post("/v1/inspections", files={"image": ("x.png", content, "image/png")}, data=facts)
    assert answer.status_code == 201, answer.text
    found = answer.json()
    (expected,) = Predictor(patch_bundle).predict(Photograph(ImageBytes(content, "sent"), "bolt"))
    assert found["score"] == pytest.approx(expected.score, rel=1e-5)
    assert found["verdict"] == expected.verdict
    assert found["limits"] == {"review_above": 0.5, "reject_above": 0.9, "map_limit": 0.8}
    assert found["regions"] == json.loads(json.dumps([region.to_json() for region in expected.regions]))
    assert (found["width"], found["height"]) == (64, 60)
    assert found["model"] == station.models.active.id
    assert (found["serial"], found["lot"], found["station"]) == ("S 1", "L1", "line 2")
    assert found["extras"] == {"shift": "night", "n": "2"}
    assert set(found["times"]) == {"receive", "read", "wait", "judge", "regions", "pictures", "record", "total"}
    again = client.get(answer.headers["location"]).json()
    assert {**again, "times": 0} == {**found, "times": 0}
    kept = station.history.get(found["id"]).kept
    assert station.pictures.photo(kept) == content
    assert found["photo_sha256"] == hashlib.sha256(content).hexdigest()


def test_a_raw_body_with_its_facts_in_the_query_is_the_same_as_a_form(client: TestClient) -> None:
    content = photograph(1, kind="JPEG")
    raw = client.post(
        "/v1/inspections", params={"category": "cloth", "serial": "7"}, content=content,
        headers={"content-type": "image/jpeg"},
    )  # fmt: skip
    form = client.post(
        "/v1/inspections", files={"image": ("a.jpg", content)}, data={"category": "cloth", "serial": "7"}
    )
    assert (raw.status_code, form.status_code) == (201, 201)
    assert raw.json()["score"] == form.json()["score"]
    assert raw.json()["serial"] == "7"
    assert raw.json()["verdict"] == "no verdict"  # cloth has no limits


def test_a_batch_is_answered_in_order_each_with_its_own_category(client: TestClient) -> None:
    contents = [photograph(seed) for seed in range(5)]
    names = ["bolt", "cloth", "bolt", "cloth", "bolt"]
    items = [{"category": name, "serial": str(place), "extras": {"n": place}} for place, name in enumerate(names)]
    files = [("images", (f"{place}.png", content)) for place, content in enumerate(contents)]
    answer = client.post("/v1/inspections/batch", files=files, data={"items": json.dumps(items), "lot": "L"})
    assert answer.status_code == 201, answer.text
    found = answer.json()["inspections"]
    assert [one["judged_as"] for one in found] == names
    assert [one["serial"] for one in found] == list("01234")
    assert {one["lot"] for one in found} == {"L"}
    for one, content, name in zip(found, contents, names, strict=True):
        alone = client.post("/v1/inspections", params={"category": name}, content=content).json()
        assert alone["score"] == pytest.approx(one["score"], rel=1e-5)


def test_without_waiting_the_answer_is_the_id_under_which_it_is_found_later(
    client: TestClient, station: Station
) -> None:
    answer = client.post("/v1/inspections", params={"wait": "false", "category": "bolt"}, content=photograph())
    assert answer.status_code == 202
    job = station.judge.accepted(answer.json()["id"])
    if job is not None:
        job.done.result(10)
    found = client.get(answer.headers["location"])
    assert found.status_code == 200
    assert found.json()["id"] == answer.json()["id"]


def test_concurrent_requests_with_one_key_are_one_inspection(client: TestClient, station: Station) -> None:
    content = photograph()

    def post(_: int) -> tuple[int, str]:
        answer = client.post("/v1/inspections", content=content, headers={"idempotency-key": "part 7"})
        return answer.status_code, answer.json()["id"]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(post, range(16)))
    assert len({one for _, one in found}) == 1
    assert [status for status, _ in found].count(201) == 1
    assert len(list(station.history.stream(InspectionFilter()))) == 1
    other = client.post("/v1/inspections", content=photograph(9), headers={"idempotency-key": "part 7"})
    assert other.status_code == 409


def test_what_cannot_be_read_whole_does_not_pass_and_is_on_record(client: TestClient, station: Station) -> None:
    content = photograph(size=(200, 200))[:-3000]
    answer = client.post("/v1/inspections", params={"category": "bolt"}, content=content)
    assert answer.status_code == 201
    assert answer.json()["verdict"] == "error"
    assert "image that was sent must be a whole image" in answer.json()["error"]
    assert station.pictures.photo(station.history.get(answer.json()["id"]).kept) == content


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"params": {"category": "screw"}}, 422, "category must be one of bolt, cloth, got 'screw'."),
        ({"content": b""}, 422, "photograph must not be empty"),
        ({"content": b"<svg/>"}, 415, "photograph must be JPEG"),
        ({"params": {"extras": "[1]"}}, 422, "extras must be a JSON object"),
        ({"params": {"extras": '{"a": {}}'}}, 422, "extras.a must be text or a number, got dict."),
        ({"params": {"serial": "x" * 201}}, 422, "serial must have at most 200 characters, got 201."),
        ({"params": {"wait": "perhaps"}}, 422, "wait must be as described"),
        ({"files": {"picture": ("a.png", photograph())}, "content": None}, 422, "form must have the photograph"),
        (
            {"files": {"image": ("a.png", photograph())}, "data": {"colour": "red"}, "content": None},
            422,
            "form must have",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(client: TestClient, change: dict, status: int, said: str) -> None:
    answer = client.post("/v1/inspections", **{"content": photograph(), **change})
    assert answer.status_code == status, answer.text
    assert answer.json()["error"].startswith(said)


def test_more_than_may_come_in_is_refused_before_it_is_read(make_station) -> None:
    station = make_station(uploads={"mb": 0.05})
    with TestClient(create_app(station), base_url="http://127.0.0.1:8420") as client:
        for how in ({"content": b"\xff" * 200_000}, {"files": {"image": ("a.png", b"\xff" * 2_000_000)}}):
            answer = client.post("/v1/inspections", **how)
            assert answer.status_code == 413
            assert "0.05 MB" in answer.json()["error"]
