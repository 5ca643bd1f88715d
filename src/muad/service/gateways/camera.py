"""Photographs from a camera: one that is plugged in, or one with an address; when asked, or every so often.

A thread takes every picture the camera sends and throws it away, so that the one that is judged was taken after it was
asked for, not some time before: cameras and streams keep a queue of old pictures. A camera that goes away is opened
again until it is back. Its address may hold a password and is never printed whole.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal
from urllib.parse import quote, urlsplit, urlunsplit

import cv2
import numpy as np
from pydantic import BeforeValidator, Field, SecretStr

from muad.errors import ConfigError
from muad.service.gateways.base import InletThread, LaterError, Section, Submission, Submit, hold, read_secret

if TYPE_CHECKING:
    from jaxtyping import UInt8

    from muad.service.history import Inspection

_LOG = logging.getLogger(__name__)
_SCHEMES: Final = ("rtsp", "rtsps", "http", "https")
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 10.0
_MOST_REQUESTS: Final = 16
_LONGEST_FACT: Final = 200


def _number_or_address(value: object) -> object:
    """Refuse anything else without saying what it is: there may be a password in it."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | str | SecretStr)
        or (isinstance(value, int) and value < 0)
    ):
        raise ValueError("must be the number of a camera, or an address in quotes")
    return value


class CameraSettings(Section):
    """`[camera]`, or `[[camera]]` for each of several: what takes photographs.

    Attributes:
        source: Number of a camera that is plugged in, such as 0; or the address of a stream, `rtsp://...` or
            `http://...`; or a video file, whose pictures come one by one, and again from the start.
        name: Of the camera, in requests and in the metrics.
        trigger: `request`, by `POST /v1/camera/trigger`; or `interval`.
        interval_s: Between photographs.
        station: Where it stands, if not at the station itself.
        category: What it sees, if that is always the same product.
        user: For a stream that asks for one.
        password_file: Holds the password.
        password_env: Environment variable that holds it.
        width: To ask a camera that is plugged in for, with `height`.
        height: The same.
        timeout_s: How long to wait for a picture before the camera counts as away.
    """

    source: Annotated[SecretStr | int, BeforeValidator(_number_or_address)]
    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w-]+$")] = "camera"
    trigger: Literal["request", "interval"] = "request"
    interval_s: Annotated[float, Field(ge=0.02, le=86_400)] = 1.0
    station: Annotated[str, Field(min_length=1, max_length=_LONGEST_FACT)] | None = None
    category: Annotated[str, Field(min_length=1, max_length=_LONGEST_FACT)] | None = None
    user: Annotated[str, Field(min_length=1, max_length=_LONGEST_FACT)] | None = None
    password_file: Path | None = None
    password_env: str | None = None
    width: Annotated[int, Field(ge=1, le=16_384)] | None = None
    height: Annotated[int, Field(ge=1, le=16_384)] | None = None
    timeout_s: Annotated[float, Field(ge=0.1, le=60)] = 5.0

    section: ClassVar[str] = "camera"

    def check(self, folder: Path) -> None:
        """Refuse what could not work; whether the camera is there is seen when it is opened.

        Raises:
            ConfigError: The source is neither a number, an address nor a file, or settings contradict each other.
        """
        source = self.opened_as(folder)
        if (self.width is None) != (self.height is None):
            raise ConfigError("camera.width and camera.height must be given together, got one of them.")
        if isinstance(source, str) and "://" not in source and not Path(source).exists():
            raise ConfigError(f"camera.source must be a number, an address or a video file, got {source}, not there.")

    def opened_as(self, folder: Path) -> int | str:
        """What OpenCV is told: with user and password, so never to be printed.

        Raises:
            ConfigError: It is no such thing.
        """
        password = read_secret("camera.password", folder, self.password_file, self.password_env)
        if self.user is None and password is not None:
            raise ConfigError("camera.user must be given where a password is, got none.")
        source = self.source if isinstance(self.source, int) else self.source.get_secret_value()
        if isinstance(source, str) and re.fullmatch("[0-9]{1,2}", source):
            source = int(source)
        if isinstance(source, int) or "://" not in source:
            if self.user is not None:
                raise ConfigError("camera.user must go with the address of a stream, got another source.")
            return source if isinstance(source, int) else str(folder / source)
        try:
            parts = urlsplit(source)
            fits = parts.scheme.lower() in _SCHEMES and bool(parts.hostname) and parts.port != 0
        except ValueError:
            fits = False
        if not fits:
            raise ConfigError(f"camera.source must be an address that begins with {', '.join(_SCHEMES)}, got another.")
        if self.user is None:
            return source
        if parts.username is not None:
            raise ConfigError("camera.source must be without a user where camera.user is given, got two.")
        login = quote(self.user, safe="") + ("" if password is None else f":{quote(password, safe='')}")
        return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc}"))

    @property
    def shown(self) -> str:
        """The source as it may be printed."""
        if isinstance(self.source, int):
            return f"camera {self.source}"
        source = self.source.get_secret_value()
        if "://" not in source:
            return source
        try:
            parts = urlsplit(source)
            host = parts.hostname or ""
            port = "" if parts.port is None else f":{parts.port}"
        except ValueError:
            return "an address"
        return urlunsplit((parts.scheme, f"[{host}]{port}" if ":" in host else f"{host}{port}", parts.path, "", ""))


class CameraAwayError(LaterError):
    """There is no picture from the camera now."""


@dataclass(slots=True)
class _Request:
    """Somebody who waits for the next picture."""

    facts: Mapping[str, Any]
    until: float
    answer: Future[Inspection] = field(default_factory=Future)


class Camera(InletThread):
    """The inlet.

    Args:
        settings: Its section.
        folder: The station's.
    """

    def __init__(self, settings: CameraSettings, folder: Path) -> None:
        super().__init__("camera", settings.name, settings.timeout_s + 5.0)
        self._settings, self._folder = settings, folder
        self._requests: deque[_Request] = deque()
        self._lock = threading.Lock()
        self._last: Future[Inspection] | None = None
        self._away_since, self._error = time.monotonic(), "is not open yet"

    def stop(self) -> None:
        """Take no more, and let go of the camera."""
        super().stop()
        self._tell_away("the station ends")

    def trigger(
        self,
        *,
        category: str | None = None,
        serial: str | None = None,
        lot: str | None = None,
        station: str | None = None,
        extras: Mapping[str, str] | None = None,
    ) -> Future[Inspection]:
        """Take the next picture and have it judged.

        Args:
            category: What it shows, if not what the settings say.
            serial: The part's.
            lot: The lot's.
            station: Where it is taken, if not what the settings say.
            extras: Whatever else is known.

        Returns:
            Ends like that of a submission, or with `CameraAwayError` if there is no picture in time.
        """
        own = self._settings
        facts: dict[str, Any] = {"category": category or own.category, "serial": serial, "lot": lot}
        facts |= {"station": station or own.station, "extras": dict(extras or {})}
        request = _Request(facts, time.monotonic() + own.timeout_s)
        with self._lock:
            if self._stop.is_set() or self._away_since is not None:
                request.answer.set_exception(CameraAwayError(f"camera {self.name} is away: {self._error}", 2.0))
            elif len(self._requests) >= _MOST_REQUESTS:
                request.answer.set_exception(LaterError(f"{_MOST_REQUESTS} requests wait for camera {self.name}"))
            else:
                self._requests.append(request)
        self._news.set()
        return request.answer

    def _run(self, submit: Submit) -> None:
        """Have the camera open, whatever comes; of several processes of a station one has it."""
        wait_s = _FIRST_WAIT_S
        lock = None
        while not self._stop.is_set():
            lock = lock or hold(self._folder / f".camera-{self.name}.lock")
            if lock is None:
                self._away("is open in another process of the station")
                self._stop.wait(_FIRST_WAIT_S)
                continue
            capture = None
            try:
                source = self._settings.opened_as(self._folder)
                capture = self._opened(source)
                if capture is not None:
                    wait_s = _FIRST_WAIT_S
                    self._there()
                    self._watch(capture, submit, is_file=isinstance(source, str) and "://" not in source)
            except ConfigError as error:
                self._away(str(error))
            except Exception as error:  # noqa: BLE001  whatever happens, the station goes on, and this is tried again
                # The sentence of an error in there may hold the address.
                self._away(f"failed with {type(error).__name__}")
            finally:
                if capture is not None:
                    capture.release()
            self._stop.wait(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
        if lock is not None:
            lock.close()

    def _opened(self, source: int | str) -> Any:  # noqa: ANN401  cv2.VideoCapture
        millis = int(1000 * self._settings.timeout_s)
        with _saying_nothing():
            if isinstance(source, int):
                capture = cv2.VideoCapture(source)
            else:
                limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, millis, cv2.CAP_PROP_READ_TIMEOUT_MSEC, millis]
                capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)
        if not capture.isOpened():
            capture.release()
            self._away("cannot be opened")
            return None
        if isinstance(source, int):
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            if self._settings.width is not None and self._settings.height is not None:
                capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._settings.width)
                capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._settings.height)
        return capture

    def _watch(self, capture: Any, submit: Submit, *, is_file: bool) -> None:  # noqa: ANN401  cv2.VideoCapture
        """Take pictures until there are no more."""
        due = time.monotonic()
        every = self._settings.interval_s if self._settings.trigger == "interval" else None
        while not self._stop.is_set():
            now = time.monotonic()
            with self._lock:
                wanted = bool(self._requests)
            is_due = every is not None and now >= due
            if is_file and not wanted and not is_due:
                self._news.clear()
                self._news.wait(0.5 if every is None else max(0.0, min(0.5, due - now)))
                continue
            if not capture.grab() and not (is_file and capture.set(cv2.CAP_PROP_POS_FRAMES, 0) and capture.grab()):
                self._away("sends no more pictures")
                return
            if not wanted and not is_due:
                continue
            if wanted and not is_file and not capture.grab():
                continue  # what came first may have been exposed before it was asked for
            fine, picture = capture.retrieve()
            if not fine:
                self._away("sends what is no picture")
                return
            content = _as_png(picture)
            if is_due and every is not None:
                due = max(due + every, time.monotonic())
                self._submit_due(content, submit)
            if wanted:
                self._submit_wanted(content, submit)

    def _submit_due(self, content: bytes, submit: Submit) -> None:
        """Have a photograph judged, unless the one before still is."""
        if self._last is not None and not self._last.done():
            self._skipped += 1
            return
        own = self._settings
        self._last = submit(self._submission(content, {"category": own.category, "station": own.station}))
        self._last.add_done_callback(self._counted)

    def _submit_wanted(self, content: bytes, submit: Submit) -> None:
        """Have the photograph judged for the one who has waited longest; the next one gets the next picture."""
        with self._lock:
            request = self._requests.popleft() if self._requests else None
        if request is None or not request.answer.set_running_or_notify_cancel():
            return
        answer = submit(self._submission(content, request.facts))
        answer.add_done_callback(self._counted)
        answer.add_done_callback(lambda done: _pass_on(done, request.answer))

    def _submission(self, content: bytes, facts: Mapping[str, Any]) -> Submission:
        return Submission(content=content, name=f"picture of camera {self.name}", source="camera", **facts)

    def _counted(self, answer: Future[Inspection]) -> None:
        error = answer.exception()
        if error is None:
            self._taken += 1
        elif isinstance(error, LaterError):
            self._skipped += 1
        else:
            self._refused += 1
            if str(error) != self._error:
                _LOG.warning("camera %s: a picture is not taken: %s", self.name, error)
        self._error = None if error is None else str(error)

    def _away(self, reason: str) -> None:
        if self._away_since is None or reason != self._error:
            _LOG.warning("camera %s (%s) %s; it is tried again", self.name, self._settings.shown, reason)
        self._tell_away(reason)

    def _tell_away(self, reason: str) -> None:
        with self._lock:
            self._error = reason
            if self._away_since is None:
                self._away_since = time.monotonic()
            waiting, self._requests = list(self._requests), deque()
        for request in waiting:
            self._skipped += 1
            if request.answer.set_running_or_notify_cancel():
                request.answer.set_exception(CameraAwayError(f"camera {self.name} is away: {reason}", 2.0))

    def _there(self) -> None:
        with self._lock:
            self._away_since = self._error = None
        _LOG.info("camera %s (%s) is open", self.name, self._settings.shown)


@contextmanager
def _saying_nothing() -> Iterator[None]:
    """OpenCV and FFmpeg print addresses with their passwords when they cannot open them."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read once, when the first stream is opened
    log = cv2.utils.logging
    before = log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        log.setLogLevel(before)


def _as_png(picture: UInt8[np.ndarray, "H W *c"]) -> bytes:
    """The picture without loss; quickly rather than as small as possible."""
    fine, content = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not fine:
        raise ValueError(f"a picture of shape {picture.shape} cannot be encoded")
    return bytes(content.tobytes())


def _pass_on(done: Future[Inspection], answer: Future[Inspection]) -> None:
    error = done.exception()
    if error is None:
        answer.set_result(done.result())
    else:
        answer.set_exception(error)
