"""`station.toml`: everything about a station that may be set, a section for each subject, checked before it starts.

Each section is described beside its subject. What is left out is as its section says; without the file, everything is.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from muad.errors import ConfigError
from muad.runs.faults import closest, constraint_of
from muad.service.access.settings import AccessSettings
from muad.service.followup.audit import AuditSettings
from muad.service.followup.drift import DriftSettings
from muad.service.gateways.opening import GatewaySections
from muad.service.history.settings import HistorySettings
from muad.service.judging.settings import JudgingSettings
from muad.service.judging.uploads import UploadSettings

SETTINGS_FILE = "station.toml"


class ServiceSettings(BaseModel):
    """`[service]`: where it is reached, and what it is called.

    Attributes:
        name: The station, where a photograph does not say which it comes from.
        host: The address it listens on; anything but this machine's own asks for tokens.
        port: 0 for any that is free.
        root_path: Below which a proxy shows it, such as `/inspection`; the proxy may take it off or leave it on.
        tls_certificate: A PEM file; with `tls_key`, it speaks HTTPS.
        tls_key: The PEM file of its key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(default="station", min_length=1, max_length=200)
    host: str = "127.0.0.1"
    port: int = Field(default=8420, ge=0, le=65535)
    root_path: str = Field(default="", pattern=r"^(/[\w.~-]+)*$")
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    @model_validator(mode="after")
    def _whole(self) -> ServiceSettings:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ConfigError("tls_certificate and tls_key must be given together, got one. Name both PEM files.")
        return self


class PagesSettings(BaseModel):
    """`[pages]`: what the pages say when, and how parts are reviewed.

    Attributes:
        silent_s: Seconds without a part after which the live page says that the line is silent.
        four_eyes: Whether a part stays in the review queue until two people have said the same of it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    silent_s: float = Field(default=60, gt=0)
    four_eyes: bool = False


class StationSettings(GatewaySections):
    """All sections."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    service: ServiceSettings = ServiceSettings()
    access: AccessSettings = AccessSettings()
    history: HistorySettings = HistorySettings()
    judging: JudgingSettings = JudgingSettings()
    uploads: UploadSettings = UploadSettings()
    pages: PagesSettings = PagesSettings()
    audit: AuditSettings = AuditSettings()
    drift: DriftSettings = DriftSettings()


def read_settings(folder: Path, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> StationSettings:
    """The settings of a station.

    Args:
        folder: The station's; it need not exist.
        overrides: Values by section and key that go before those of the file.

    Raises:
        ConfigError: The file is no TOML, or a key or value in it is none.
    """
    path = folder / SETTINGS_FILE
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        values = {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{SETTINGS_FILE} must be valid TOML, got {path}: {error}. Correct it.") from None
    for section, table in (overrides or {}).items():
        there = values.setdefault(section, {})
        if not isinstance(there, dict):
            raise ConfigError(f"{path}: {section} must be there once for an option to change it, got it several times.")
        there.update(table)
    try:
        return StationSettings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_explained(error)}") from None


def known_keys() -> list[str]:
    """Every key as `section.key`."""
    return list(_keys(StationSettings, ""))


def _keys(kind: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in kind.model_fields.items():
        # A section may be absent, `X | None`, or stand several times, `tuple[X, ...]`.
        choices = (field.annotation, *get_args(field.annotation))
        nested = [kind for kind in choices if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if nested:
            yield from _keys(nested[0], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _explained(error: ValidationError) -> str:
    """The first fault in one line; an unknown key goes first, because it is often why another one is missing."""
    faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    fault = faults[0]
    path = _path(fault["loc"])
    if fault["type"] == "extra_forbidden":
        keys = known_keys()
        sections = list(dict.fromkeys(key.partition(".")[0] for key in keys))
        return f"key must be a known one, got {path!r}.{closest(path, [*keys, *sections])}"
    if isinstance(cause := fault.get("ctx", {}).get("error"), ValueError):
        return f"{path}: {cause}"
    got = json.dumps(fault["input"], ensure_ascii=False, default=str)
    return f"{path} must be {_constraint(fault)}, got {got}."


def _constraint(fault: Any) -> str:  # noqa: ANN401  pydantic's ErrorDetails
    kind, context = fault["type"], fault.get("ctx", {})
    if kind == "less_than_equal":
        return f"at most {context['le']:g}"
    if kind == "string_pattern_mismatch":
        return f"like {context['pattern']}"
    if kind == "model_type":
        return "a table of keys"
    return constraint_of(fault)


def _path(loc: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in loc)
