"""From a request to what is to be judged: a raw image with its facts in the query, or a form with one or several."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.types import Message

from muad.errors import ConfigError
from muad.service.access.roles import Person
from muad.service.history.record import LONGEST_TEXT, MOST_EXTRAS, Source, require_text
from muad.service.judging.job import Asked
from muad.service.judging.uploads import Upload, UploadError, UploadSettings, check_upload, too_large
from muad.service.station import Station

FACTS = ("category", "serial", "lot", "station", "extras", "idempotency_key")
"""What may be said of a photograph, as fields of a form or in the query."""
IMAGE_FIELD, IMAGES_FIELD, ITEMS_FIELD, CSRF_FIELD = "image", "images", "items", "csrf"
_FORM_ROOM = 2**20  # for everything in a form that is no photograph


class _Limited:
    """A request's body, refused as soon as it is longer than it may be."""

    def __init__(self, request: Request, most: int, settings: UploadSettings) -> None:
        self._receive, self._most, self._settings = request.receive, most, settings
        self._seen = 0
        said = request.headers.get("content-length", "")
        if said.isdecimal() and int(said) > most:
            raise too_large(int(said), settings)

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._seen += len(message.get("body", b""))
            if self._seen > self._most:
                raise too_large(None, self._settings)
        return message


async def read_one(request: Request, station: Station, person: Person) -> Asked:
    """The photograph of a request with what is said of it.

    Raises:
        UploadError: It is no photograph that is taken.
        ConfigError: What is said of it cannot be.
    """
    began = time.perf_counter()
    settings = station.settings.uploads
    if _is_form(request):
        async with _form(request, settings, files=1) as form:
            (file,) = _files(form, IMAGE_FIELD, 1)
            facts = _facts(request, _fields(form, (*FACTS, CSRF_FIELD)))
            content, declared = await file.read(), file.content_type
    else:
        body = Request(request.scope, _Limited(request, settings.file_bytes, settings))
        content, declared = await body.body(), request.headers.get("content-type")
        facts = _facts(request, {})
    upload = await run_in_threadpool(check_upload, content, declared, settings)
    return _asked(upload, facts, station, person, "http", began)


async def read_several(request: Request, station: Station, person: Person) -> list[Asked]:
    """The photographs of a form, in order, each with what is said of it or of all.

    Raises:
        UploadError: One is no photograph that is taken, or there are too many.
        ConfigError: What is said of one cannot be.
    """
    began = time.perf_counter()
    settings, most = station.settings.uploads, station.judge.waiting.most
    if not _is_form(request):
        raise UploadError(
            415, "content type must be multipart/form-data with a field for each photograph, got another."
        )
    async with _form(request, settings, files=most) as form:
        files = _files(form, IMAGES_FIELD, most)
        common = _fields(form, (*FACTS[:-1], ITEMS_FIELD, CSRF_FIELD))
        own = _items(common.pop(ITEMS_FIELD, None), len(files))
        found = []
        for file, item in zip(files, own, strict=True):
            upload = await run_in_threadpool(check_upload, await file.read(), file.content_type, settings)
            found.append(_asked(upload, _facts(request, {**common, **item}), station, person, "batch", began))
    return found


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


@asynccontextmanager
async def _form(request: Request, settings: UploadSettings, files: int) -> AsyncIterator[FormData]:
    body = Request(request.scope, _Limited(request, files * settings.file_bytes + _FORM_ROOM, settings))
    try:
        form = await body.form(max_files=files, max_fields=len(FACTS) + 2, max_part_size=_FORM_ROOM)
    except HTTPException as error:  # Starlette's own words for a form that is none
        raise UploadError(422, f"form must be multipart/form-data, got: {error.detail}") from None
    try:
        yield form
    finally:
        await form.close()


def _files(form: FormData, field: str, most: int) -> list[UploadFile]:
    files = [value for name, value in form.multi_items() if name == field]
    if not files or len(files) > most or not all(isinstance(file, UploadFile) for file in files):
        raise UploadError(
            422, f"form must have the photograph as a file named {field}, got {len(files)}. Send it with a file name."
        )
    return [file for file in files if isinstance(file, UploadFile)]


def _fields(form: FormData, known: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name not in (IMAGE_FIELD, IMAGES_FIELD):
                raise ConfigError(f"form must have files named {IMAGE_FIELD} or {IMAGES_FIELD}, got {name[:40]!r}.")
            continue
        if name not in known or name in found:
            raise ConfigError(f"form must have each of {', '.join(known)} at most once, got {name[:40]!r}.")
        found[name] = value
    found.pop(CSRF_FIELD, None)
    return found


def _items(text: str | None, count: int) -> list[dict[str, str]]:
    """What a form says of each photograph, as JSON: a list of objects, as many as there are photographs."""
    if text is None:
        return [{} for _ in range(count)]
    values = _json(ITEMS_FIELD, text)
    if not isinstance(values, list) or len(values) != count or not all(isinstance(value, dict) for value in values):
        raise ConfigError(f"{ITEMS_FIELD} must be a list of {count} objects, one for each photograph, got another.")
    items = []
    for value in values:
        foreign = next((name for name in value if name not in FACTS), None)
        if foreign is not None:
            raise ConfigError(f"{ITEMS_FIELD} must have only {', '.join(FACTS)}, got {foreign[:40]!r}.")
        items.append({name: json.dumps(own) if name == "extras" else _text(name, own) for name, own in value.items()})
    return items


def _facts(request: Request, fields: Mapping[str, str]) -> dict[str, str]:
    """What is said of a photograph: in the form, else in the query; empty text says nothing."""
    said = {name: value for name in FACTS if (value := fields.get(name, request.query_params.get(name)))}
    key = request.headers.get("idempotency-key")
    if key and "idempotency_key" not in said:
        said["idempotency_key"] = key
    return said


def _asked(
    upload: Upload, facts: Mapping[str, str], station: Station, person: Person, source: Source, began: float
) -> Asked:
    for name in FACTS:
        if name != "extras":
            require_text(name, facts.get(name))
    key = facts.get("idempotency_key")
    return Asked(
        upload=upload,
        station=facts.get("station", station.settings.service.name),
        source=source,
        category=facts.get("category"),
        serial=facts.get("serial"),
        lot=facts.get("lot"),
        extras=read_extras(facts.get("extras")),
        key=None if key is None else _own_key(person, key),
        received_ms=1000 * (time.perf_counter() - began),
    )


def _own_key(person: Person, key: str) -> str:
    """The key with its owner in front, so that two clients never meet in one."""
    whole = f"{person.token_id or 'open'}:{key}"
    require_text("idempotency_key", whole)
    return whole


def read_extras(text: str | None) -> dict[str, str]:
    """Extras, as they come in a query or a form.

    Raises:
        ConfigError: They are no object of texts and numbers, or too many.
    """
    if text is None:
        return {}
    values = _json("extras", text)
    if not isinstance(values, dict):
        raise ConfigError('extras must be a JSON object such as {"shift": "night"}, got another value.')
    if len(values) > MOST_EXTRAS:
        raise ConfigError(f"extras must be at most {MOST_EXTRAS} pairs, got {len(values)}.")
    found = {name: _text(f"extras.{name}"[:60], value) for name, value in values.items()}
    for name, value in found.items():
        require_text("extras", name)
        require_text("extras", value, LONGEST_TEXT)
    return found


def _json(name: str, text: str) -> Any:  # noqa: ANN401  whatever it holds
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{name} must be JSON, got {error}.") from None


def _text(name: str, value: Any) -> str:  # noqa: ANN401
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ConfigError(f"{name} must be text or a number, got {type(value).__name__}.")
    return str(value)
