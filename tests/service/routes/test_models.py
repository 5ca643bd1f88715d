"""Models over HTTP, and a swap under load that nobody notices but by its name."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from tests.conftest import patch_network
from tests.service.conftest import OPEN, photograph

from muad import Photograph, Predictor
from muad.images.reading import ImageBytes
from muad.service.station import Station, open_station


@pytest.fixture(scope="module")
def other_bundle(write_patch_bundle: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose scores and limits are others."""
    path = tmp_path_factory.mktemp("other") / "other.muad"
    run = {"limits.toml": b"[categories.bolt]\nreview = 0.2\nreject = 0.3\nmap = 0.4\n"}
    return write_patch_bundle(path, network=patch_network(7)[0], limits=False, run=run)


def _load(client: TestClient, bundle: Path) -> str:
    answer = client.post("/v1/models", params={"name": "../../other.muad"}, content=bundle.read_bytes())
    assert answer.status_code == 201, answer.text
    assert answer.json()["name"] == "other.muad"
    return answer.json()["id"]


def test_a_shadow_judges_along_answers_nothing_and_is_compared(
    client: TestClient, station: Station, other_bundle: Path
) -> None:
    shadow = _load(client, other_bundle)
    active = station.models.active.id
    assert client.post(f"/v1/models/{shadow}/shadow", json={}).json()["state"] == "shadow"
    contents = [photograph(seed) for seed in range(6)]
    answers = [client.post("/v1/inspections", params={"category": "bolt"}, content=one).json() for one in contents]
    assert {answer["model"] for answer in answers} == {active}
    found = _until(lambda: client.get(f"/v1/models/{shadow}/comparison").json(), lambda one: one["parts"] == 6)
    assert sum(one["parts"] for one in found["verdicts"]) == 6
    expected = Predictor(other_bundle).predict([Photograph(ImageBytes(one, "sent"), "bolt") for one in contents])
    said = station.history.shadows([answer["id"] for answer in answers])
    for answer, judged in zip(answers, expected, strict=True):
        (own,) = said[answer["id"]]
        assert own.score == pytest.approx(judged.score, rel=1e-5)
        assert own.verdict == judged.verdict
    assert all(one["verdict"] != one["inspection"]["verdict"] for one in found["differing"])


def test_promoting_and_rolling_back_lose_no_request_and_no_answer_mixes_models(
    client: TestClient, station: Station, other_bundle: Path, patch_bundle: Path
) -> None:
    first, second = station.models.active.id, _load(client, other_bundle)
    contents = [photograph(seed) for seed in range(8)]
    scores = {
        name: [one.score for one in Predictor(path).predict([Photograph(ImageBytes(c, "s"), "bolt") for c in contents])]
        for name, path in ((first, patch_bundle), (second, other_bundle))
    }
    limits = {first: 0.9, second: 0.3}
    stop, answers = threading.Event(), []

    def post(worker: int) -> None:
        place = worker
        while not stop.is_set():
            place = (place + 1) % len(contents)
            answer = client.post("/v1/inspections", params={"category": "bolt"}, content=contents[place])
            answers.append((place, answer.status_code, answer.json()))

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(post, worker) for worker in range(4)]
        for path, who in ((f"{second}/promote", second), ("rollback", first), (f"{second}/promote", second)):
            time.sleep(0.3)
            assert client.post(f"/v1/models/{path}", json={"reason": "trial"}).json()["state"] == "active"
            after = client.post("/v1/inspections", params={"category": "bolt"}, content=contents[0]).json()
            assert after["model"] == who
        stop.set()
        for one in running:
            one.result()
    assert {status for _, status, _ in answers} == {201}
    assert {answer["model"] for *_, answer in answers} == {first, second}
    for place, _, answer in answers:
        assert answer["score"] == pytest.approx(scores[answer["model"]][place], rel=1e-5)
        assert answer["limits"]["reject_above"] == limits[answer["model"]]
    recorded = station.history.counts(_all(), by="model_id")
    assert sum(recorded.values()) == len(answers) + 3
    changes = client.get("/v1/models/changes").json()["changes"]
    assert [one["subject"] for one in changes if one["new"] == "active"][:3] == [second, first, second]


def test_what_is_no_model_or_may_not_be_swapped_is_refused(
    client: TestClient, station: Station, other_bundle: Path, tmp_path: Path
) -> None:
    active = station.models.active.id
    wrong = client.post("/v1/models", params={"name": "x.muad"}, content=b"PK" + b"\0" * 100)
    assert wrong.status_code == 409
    assert "bundle must" in wrong.json()["error"]
    assert list(station.models.folder.glob("*.draft")) == []
    for name in ("../history.sqlite", "nothing.muad", "/etc/passwd"):
        assert client.post("/v1/models/load", json={"name": name}).status_code == 422
    assert client.post(f"/v1/models/{active}/retire", json={}).status_code == 422
    assert client.post(f"/v1/models/{active}/shadow", json={}).status_code == 422
    assert client.post("/v1/models/0123/promote", json={}).status_code == 404
    assert client.post("/v1/models/rollback", json={}).status_code == 422
    (station.models.folder / "put.muad").write_bytes(other_bundle.read_bytes())
    assert client.get("/v1/models").json()["available"] == ["put.muad"]
    loaded = client.post("/v1/models/load", json={"name": "put.muad"}).json()
    assert client.post(f"/v1/models/{loaded['id']}/retire", json={}).json()["state"] == "retired"


def test_a_restart_goes_on_with_the_model_that_was_promoted_and_another_process_takes_it_over(
    make_station: Callable[..., Station], patch_bundle: Path, other_bundle: Path
) -> None:
    one = make_station()
    two = open_station(one.folder, None, overrides=OPEN)
    second = one.models.load(other_bundle, who="me")
    one.models.promote(second.id, who="me")
    two.models.refresh()
    assert two.models.active.id == second.id
    for station in (one, two):
        station.start()
    two.stop()
    notes: list[str] = []
    again = open_station(one.folder, patch_bundle, overrides=OPEN, note=notes.append)
    assert again.models.active.id == second.id
    assert any("judges, as was decided at this station" in note for note in notes)
    again.start()
    again.stop()


def _until(ask: Callable[[], dict], holds: Callable[[dict], bool]) -> dict:
    ends = time.monotonic() + 10
    while not holds(found := ask()) and time.monotonic() < ends:
        time.sleep(0.05)
    assert holds(found), found
    return found


def _all():
    from muad.service.history import InspectionFilter

    return InspectionFilter()
