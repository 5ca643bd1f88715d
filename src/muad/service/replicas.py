"""A station of several replicas behind one address, by Ray Serve: each judges, one history remembers.

    serve run muad.service.replicas:application folder=/srv/station model=/srv/bolts.muad

Replicas are the application of `muad serve`, opened on one folder and one history, as several processes may. Ray Serve
starts and ends them as the load asks, replaces one that died, and sends each request to one that has room. A bundle is
changed as at any station: what is promoted at one replica judges at all of them within two seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError
from ray import serve

from muad.errors import ConfigError
from muad.service.app import create_app
from muad.service.serve import check_settings
from muad.service.settings import SETTINGS_FILE, StationSettings, read_settings
from muad.service.station import open_station

if TYPE_CHECKING:
    from fastapi import FastAPI
    from ray.serve import Application

_ONE_PROCESS = ("mqtt", "opcua", "webhook", "shift_csv", "watch", "camera")


class ApplicationArguments(BaseModel):
    """What a Serve config file says under `args`.

    Attributes:
        folder: The station's, absolute; reached from every machine of the cluster under this name.
        model: A bundle, for a station that has none, or is to have another one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path
    model: Path | None = None


@serve.deployment(max_ongoing_requests=64, graceful_shutdown_timeout_s=60)
@serve.ingress()
class StationReplica:
    """One process of a station.

    Args:
        folder: The station's.
        model: A bundle, for one that has none.
    """

    def __init__(self, folder: str, model: str | None) -> None:
        self._station = open_station(Path(folder), None if model is None else Path(model))
        self._station.access.first_token(self._station.folder)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The application, which begins and ends the station's work with the replica."""
        return create_app(self._station)

    def check_health(self) -> None:
        """Raise where the replica cannot judge for a reason of its own, so that another one takes its place."""
        if not self._station.judge.is_working:
            raise RuntimeError("the judge has stopped because of a fault inside; the log says more")


def application(args: dict[str, Any]) -> Application:
    """The Serve application of a station.

    Args:
        args: As of `ApplicationArguments`; Serve hands them over as they stand in the config file.

    Raises:
        ConfigError: An argument is wrong, or the station's settings are not for several processes.
    """
    try:
        arguments = ApplicationArguments.model_validate(args)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise ConfigError(
            f"args of the station must be folder and model, got {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}."
        ) from None
    folder, model = arguments.folder.absolute(), arguments.model
    settings = read_settings(folder)
    check_replicable(settings, folder)
    check_settings(settings, folder)
    replica: Any = StationReplica  # a deployment, which decorators do not say
    made: Application = replica.bind(str(folder), None if model is None else str(model.absolute()))
    return made


def check_replicable(settings: StationSettings, folder: Path) -> None:
    """Hold settings against what several processes, perhaps on several machines, can share.

    Args:
        settings: As station.toml says.
        folder: The station's.

    Raises:
        ConfigError: They cannot.
    """
    if not settings.history.url_in(folder).startswith("postgresql"):
        raise _refusal(folder, "history.url must be a PostgreSQL URL", "SQLite, which is a file of one machine")
    if settings.access.open:
        raise _refusal(folder, "access.open must be false", "true: Ray Serve, not the station, says who reaches it")
    if settings.service.root_path:
        raise _refusal(folder, "service.root_path must be left out", "one: the station is at the root of its address")
    if settings.service.tls_certificate is not None:
        raise _refusal(folder, "service.tls_certificate must be left out", "one: a proxy in front of Ray Serve has it")
    for name in _ONE_PROCESS:
        if getattr(settings, name):
            raise _refusal(folder, f"section {name} must be left out", "one: every replica would open it")


def _refusal(folder: Path, rule: str, got: str) -> ConfigError:
    return ConfigError(
        f"{rule} in {folder / SETTINGS_FILE} for a station of replicas, got {got}. "
        "Change that, or serve it by one process: muad serve."
    )
