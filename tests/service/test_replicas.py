"""A station of replicas. `benchmarks/replicas.py` runs one; here is what is refused, and that the rest is built."""

from pathlib import Path

import pytest
import yaml

from muad.errors import ConfigError
from muad.service.app import create_app
from muad.service.station import open_station

pytest.importorskip("ray.serve", reason="needs Ray Serve: pip install 'muad[replicas]'")
from muad.service.replicas import StationReplica, application

HISTORY = '[history]\nurl = "postgresql://station@db.plant.example/history"\n'
DEPLOY = Path(__file__).parents[2] / "deploy" / "ray-serve.yaml"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "history.url must be a PostgreSQL URL in"),
        (f"{HISTORY}[access]\nopen = true\n", "access.open must be false in"),
        (f'{HISTORY}[service]\nroot_path = "/inspection"\n', "service.root_path must be left out in"),
        (f'{HISTORY}[camera]\nsource = "0"\n', "section camera must be left out in"),
        (f'{HISTORY}[service]\ntls_certificate = "a"\ntls_key = "b"\n', "service.tls_certificate must be left out in"),
    ],
)
def test_what_several_processes_cannot_share_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "station.toml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        application({"folder": str(tmp_path)})


@pytest.mark.parametrize("args", [{}, {"folder": "a", "bundle": "b"}])
def test_wrong_arguments_are_named(args: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"args of the station must be folder and model, got (folder|bundle)"):
        application(args)


def test_the_application_takes_settings_that_can_be_shared(tmp_path: Path) -> None:
    (tmp_path / "station.toml").write_text(HISTORY)
    assert application({"folder": str(tmp_path)}) is not None


def test_the_example_names_what_there_is() -> None:
    (one,) = yaml.safe_load(DEPLOY.read_text(encoding="utf-8"))["applications"]
    assert one["import_path"] == f"{application.__module__}:{application.__name__}"
    assert set(one["args"]) == {"folder"}
    assert [deployment["name"] for deployment in one["deployments"]] == [StationReplica.name]


def test_two_stations_on_one_folder_share_history_and_model(patch_bundle: Path, tmp_path: Path) -> None:
    """What replicas are: the second one finds the model that the first one was given."""
    first = open_station(tmp_path / "station", patch_bundle)
    second = open_station(tmp_path / "station", None)
    try:
        assert create_app(second) is not None
        assert second.models.active.id == first.models.active.id
    finally:
        for station in (first, second):
            station.models.stop()
            station.close()
