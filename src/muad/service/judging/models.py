"""The models of a station: which judges, which judges along, and how one takes the other's place.

    station/models/<id>.muad     the station's own copies; limits are changed there
    station/models/*.muad        whatever else is put there can be loaded by its name

A job keeps the model it was accepted with, so a swap halves nothing: what waits is judged by the former, what comes is
judged by the new one. Which model is active is in the history; processes that share one look there every other second.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import threading
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from muad.bundles.bundle import is_bundle, read_manifest_of
from muad.calibration.calibrate import weights_digest
from muad.errors import CheckpointError, ConfigError, MuadError
from muad.runs.folder import read_run
from muad.runtime.looking import Photograph
from muad.runtime.predictor import Predictor
from muad.service.history import History, Model, NotRecordedError, now
from muad.service.judging.settings import JudgingSettings

FOLDER, SUFFIX = "models", ".muad"
REFRESH_S = 2.0
"""How often a process looks whether another one has changed the models."""
_ID_DIGITS = 16
_PIECE = 2**20
_log = logging.getLogger("muad.station")


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A model that can judge.

    Attributes:
        facts: As the history has it.
        path: The file or run folder that it is computed from.
        predictor: It, at work.
    """

    facts: Model
    path: Path
    predictor: Predictor

    @property
    def id(self) -> str:
        """Its name in the history."""
        return self.facts.id


class Models:
    """All models of a station.

    Args:
        folder: The station's.
        history: Where they are written down.
        settings: How they are computed.
        note: Called with sentences for whoever runs the station.
    """

    def __init__(
        self,
        folder: Path,
        history: History,
        settings: JudgingSettings,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.folder = folder / FOLDER
        self.folder.mkdir(parents=True, exist_ok=True)
        self._station, self._history, self._settings, self._note = folder, history, settings, note
        self._changing = threading.RLock()
        self._active: LoadedModel | None = None
        self._shadow: LoadedModel | None = None
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="muad-models", daemon=True)

    @property
    def active(self) -> LoadedModel:
        """What judges now.

        Raises:
            CheckpointError: Nothing does.
        """
        if self._active is None:
            raise CheckpointError("station must have an active model, got none. Load one: muad serve BUNDLE --data DIR")
        return self._active

    @property
    def shadow(self) -> LoadedModel | None:
        """What judges along, and answers nothing."""
        return self._shadow

    def start(self, given: Path | None) -> None:
        """Open what judged when the station last ran, or what is given, if the station has never had it.

        Raises:
            CheckpointError: Neither is there, or it cannot be used.
        """
        known = {model.id: model for model in self._history.models()}
        before = next((model for model in known.values() if model.state == "active"), None)
        if given is not None:
            own = identity_of(given)
            if own not in known:
                loaded = self.load(given, who="command line")
                self.promote(loaded.id, who="command line", reason=f"given as {given}")
            elif before is None:
                self.promote(own, who="command line", reason=f"given as {given}")
            elif before.id != own:
                self._note(
                    f"{before.name} ({before.id}) judges, as was decided at this station; {given} is loaded beside it"
                )
        self.refresh()
        if self._active is None:
            raise CheckpointError(
                f"station must have a model, got none in {self._station}. Name a bundle or run folder: "
                f"muad serve BUNDLE --data {self._station}"
            )
        self._watcher.start()

    def stop(self) -> None:
        """Look no more for what other processes do."""
        self._ended.set()
        if self._watcher.is_alive():
            self._watcher.join()

    def all(self) -> list[Model]:
        """Every model there ever was, the newest first."""
        return self._history.models()

    def get(self, model_id: str) -> Model:
        """One of them.

        Raises:
            NotRecordedError: There is none of this id.
        """
        for model in self._history.models():
            if model.id == model_id:
                return model
        raise NotRecordedError(f"model must be one of the station's, got {model_id[:40]!r}.")

    def available(self) -> list[str]:
        """Names of files in the models folder that can be loaded."""
        loaded = {Path(model.path).name for model in self._history.models()}
        return sorted(file.name for file in self.folder.glob(f"*{SUFFIX}") if file.name not in loaded)

    def named(self, name: str) -> Path:
        """A file of the models folder by its name.

        Raises:
            ConfigError: It is none of them.
        """
        if name not in self.available():
            raise ConfigError(f"name must be a file in {self.folder} that ends with {SUFFIX}, got {name[:80]!r}.")
        return self.folder / name

    def load(self, source: Path, *, who: str, name: str | None = None, reason: str | None = None) -> Model:
        """Take a model in: checked whole, copied, written down; it judges nothing yet.

        Args:
            source: A bundle, or a run folder, which is left where it is.
            who: Whoever loads it.
            name: What to call it; None for the name of the file.
            reason: In their words.

        Raises:
            CheckpointError: It is neither, or cannot be used.
        """
        own = identity_of(source)
        facts = _facts(source)
        with self._changing:
            place = source.resolve()
            if is_bundle(source):
                place = self.folder / f"{own}{SUFFIX}"
                if not place.exists():
                    _copy(source, place)
            else:
                read_run(source)
            model = Model(
                id=own,
                name=(name or source.name)[:200],
                path=place.relative_to(self._station).as_posix() if is_bundle(source) else str(place),
                loaded_at=now(),
                loaded_by=who,
                state="loaded",
                **facts,
            )
            return self._history.add_model(model, reason=reason)

    def promote(self, model_id: str, *, who: str, reason: str | None = None) -> Model:
        """Let a model judge from the next photograph on; the former one ends what it has begun.

        Raises:
            NotRecordedError: There is none of this id.
            CheckpointError: It cannot be used; the former one goes on.
        """
        with self._changing:
            model = self.get(model_id)
            loaded = self._opened(model)
            model = self._history.set_model_state(model_id, "active", who=who, reason=reason)
            self._active = LoadedModel(model, loaded.path, loaded.predictor)
            if self._shadow is not None and self._shadow.id == model_id:
                self._shadow = None
            return model

    def put_in_shadow(self, model_id: str, *, who: str, reason: str | None = None) -> Model:
        """Let a model judge along; the former shadow judges along no more.

        Raises:
            NotRecordedError: There is none of this id.
            ConfigError: It is the active one.
            CheckpointError: It cannot be used.
        """
        with self._changing:
            model = self.get(model_id)
            if model.state == "active":
                raise ConfigError(f"shadow must be another model than the active one, got {model_id}.")
            loaded = self._opened(model)
            self._end_shadow(who, reason)
            model = self._history.set_model_state(model_id, "shadow", who=who, reason=reason)
            self._shadow = LoadedModel(model, loaded.path, loaded.predictor)
            return model

    def rest(self, model_id: str, *, who: str, reason: str | None = None, retire: bool = False) -> Model:
        """Let a shadow judge along no more, or say that a model is of no use any more.

        Raises:
            NotRecordedError: There is none of this id.
            ConfigError: It is the active one.
        """
        with self._changing:
            if self.get(model_id).state == "active":
                raise ConfigError(f"model must not be the active one, got {model_id}. Promote another one first.")
            if self._shadow is not None and self._shadow.id == model_id:
                self._shadow = None
            return self._history.set_model_state(model_id, "retired" if retire else "loaded", who=who, reason=reason)

    def roll_back(self, *, who: str, reason: str | None = None) -> Model:
        """Let the model that judged before this one judge again.

        Raises:
            ConfigError: There was none.
        """
        with self._changing:
            current = self.active.id
            before = next((model_id for model_id in self._former() if model_id != current), None)
            if before is None:
                raise ConfigError("there must be a model that judged before this one, got none.")
            return self.promote(before, who=who, reason=reason or "rolled back")

    def refresh(self) -> None:
        """Take over what another process decided; a model that cannot be opened here leaves things as they are."""
        with self._changing:
            states = {model.state: model for model in self._history.models() if model.state in ("active", "shadow")}
            active, shadow = states.get("active"), states.get("shadow")
            if active is not None and (self._active is None or self._active.id != active.id):
                self._active = self._opened(active)
            if shadow is None:
                self._shadow = None
            elif self._shadow is None or self._shadow.id != shadow.id:
                self._shadow = self._opened(shadow)

    def place(self, model: Model) -> Path:
        """Where the file or folder of a model lies."""
        return self._station / model.path  # of a run folder the path is absolute, and stays

    def place_of(self, model_id: str) -> Path | None:
        """Where the file or folder of a model lies, by its id; None for one the station does not know."""
        return next((self.place(model) for model in self._history.models() if model.id == model_id), None)

    @contextmanager
    def upload(self, name: str) -> Iterator[Path]:
        """A file in the models folder to write an upload to; gone at the end, whatever became of it."""
        digest = hashlib.sha256(f"{name} {now().isoformat()}".encode()).hexdigest()[:_ID_DIGITS]
        draft = self.folder / f"{digest}.draft"
        try:
            yield draft
        finally:
            draft.unlink(missing_ok=True)

    def _former(self) -> Iterable[str]:
        """Models that became active, the latest first."""
        for change in self._history.changes(kind="model", limit=500):
            if change.new == "active":
                yield change.subject

    def _end_shadow(self, who: str, reason: str | None) -> None:
        for model in self._history.models():
            if model.state == "shadow":
                self._history.set_model_state(model.id, "loaded", who=who, reason=reason)
        self._shadow = None

    def _opened(self, model: Model) -> LoadedModel:
        """A model ready to judge: opened, and computed once, so that the first part does not wait for that."""
        for there in (self._active, self._shadow):
            if there is not None and there.id == model.id:
                return LoadedModel(model, there.path, there.predictor)
        path, told = self.place(model), self._note
        predictor = Predictor(path, device=self._settings.device, acceleration=self._settings.acceleration, note=told)
        first = Photograph(np.zeros((64, 64, 3), np.uint8), next(iter(predictor.categories), None))
        list(predictor.judge([predictor.look(first)]))
        return LoadedModel(model, path, predictor)

    def _watch(self) -> None:
        while not self._ended.wait(REFRESH_S):
            try:
                self.refresh()
            except MuadError as error:
                _log.warning("models stay as they are: %s", error)


def identity_of(source: Path) -> str:
    """What tells a model from all others: of a bundle its bytes, of a run folder its weights.

    Raises:
        CheckpointError: Neither is there.
    """
    if not is_bundle(source):
        read_run(source)
        return weights_digest(source)[:_ID_DIGITS]
    digest = hashlib.sha256()
    with source.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()[:_ID_DIGITS]


def _facts(source: Path) -> dict[str, Any]:
    """Detector, categories and release of a bundle or run folder."""
    if is_bundle(source):
        manifest = read_manifest_of(source)
        return {"detector": manifest.detector.name, "categories": tuple(manifest.categories), "muad": manifest.muad}
    facts = read_run(source)
    try:
        settings = tomllib.loads((source / "config.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        settings = {}
    return {
        "detector": str(settings.get("detector", {}).get("name", "unknown")),
        "categories": tuple(facts.get("categories", ())),
        "muad": str(facts.get("muad", "")),
    }


def _copy(source: Path, place: Path) -> None:
    """The station's own copy, whole or not there."""
    draft = place.with_suffix(".partial")
    try:
        shutil.copyfile(source, draft)
        draft.replace(place)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise CheckpointError(f"model must be copied to {place}, got {error.strerror or error}. Free space.") from None
