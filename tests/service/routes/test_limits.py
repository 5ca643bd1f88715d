"""Limits over HTTP: what is in force, what another would have done, and setting one."""

import pytest
from fastapi.testclient import TestClient
from tests.service.conftest import photograph

from muad.bundles.bundle import read_manifest_of
from muad.service.station import Station


def test_a_limit_that_is_set_judges_from_the_next_part_on_and_is_on_record_with_its_reason(
    client: TestClient, station: Station
) -> None:
    def judged(seed: int) -> dict:
        return client.post("/v1/inspections", params={"category": "bolt"}, content=photograph(seed)).json()

    parts = [judged(seed) for seed in range(5)]
    scores = sorted(part["score"] for part in parts)
    between = (scores[2] + scores[3]) / 2
    tried = client.post("/v1/limits/bolt/try", json={"review": scores[0] - 0.1, "reject": between}).json()
    assert tried["after"] == {"pass": 0, "review": 3, "reject": 2}
    assert tried["parts"] == 5
    assert tried["changes"] == len(tried["changed"]) > 0
    assert client.get("/v1/limits").json()["categories"]["bolt"]["reject"]["value"] == 0.9

    wanted = {"review": None, "reject": between, "reason": "too many false alarms"}
    made = client.post("/v1/limits/bolt", json=wanted)
    assert made.status_code == 200, made.text
    assert [(one["subject"], one["old"], one["new"]) for one in made.json()["changes"]] == [
        ("bolt.review", "0.5", None), ("bolt.reject", "0.9", repr(between)),
    ]  # fmt: skip
    after = [judged(seed) for seed in range(5)]
    assert [one["limits"]["reject_above"] for one in after] == [between] * 5
    assert sorted(one["verdict"] for one in after) == ["pass"] * 3 + ["reject"] * 2
    found = client.get("/v1/limits").json()["categories"]["bolt"]
    assert (found["review"]["value"], found["reject"]["value"], found["map"]) == (None, between, 0.8)
    assert found["reject"]["by_hand"]
    change = client.get("/v1/limits/changes").json()["changes"][0]
    assert change["who"] == "anyone on this machine"
    assert change["reason"] == "too many false alarms"
    noted = read_manifest_of(station.models.active.path).history
    assert {one.by for one in noted} == {"station: anyone on this machine"}


@pytest.mark.parametrize(
    ("category", "wanted", "said"),
    [
        ("screw", {"reject": 1, "reason": "x"}, "category must be one of bolt, cloth, got 'screw'."),
        ("bolt", {"reject": 1, "reason": " "}, "reason must be given, got none."),
        ("bolt", {"reason": "x"}, "limit must be review, reject or map, got none."),
        ("bolt", {"review": 2, "reject": 1, "reason": "x"}, "limits.toml: categories.bolt.review must be at most"),
        ("bolt", {"colour": 2, "reason": "x"}, "colour must be as described"),
    ],
)
def test_what_cannot_be_a_limit_changes_nothing(client: TestClient, category: str, wanted: dict, said: str) -> None:
    before = client.get("/v1/limits").json()
    answer = client.post(f"/v1/limits/{category}", json=wanted)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(said)
    assert client.get("/v1/limits").json() == before
    assert client.get("/v1/limits/changes").json()["changes"] == []
