"""A camera's pictures are judged when asked for, or every so often; one that goes away comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from muad.errors import ConfigError
from muad.service.gateways.base import LaterError, Submission
from muad.service.gateways.camera import Camera, CameraAwayError, CameraSettings


class Stream:
    """A camera with an address: it sends pictures as MJPEG, each a little lighter than the one before."""

    def __init__(self, port: int = 0) -> None:
        self.level, self.streaming = 0, True
        self.logins: list[str | None] = []
        stream = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stream.logins.append(self.headers.get("authorization"))
                if self.path.startswith("/locked") and self.headers.get("authorization") is None:
                    self.send_response(401)
                    self.send_header("www-authenticate", 'Basic realm="camera"')
                    self.end_headers()
                    return
                self.send_response(200)
                self.send_header("content-type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                try:
                    while stream.streaming:
                        stream.level = min(stream.level + 1, 255)
                        picture = np.full((48, 64, 3), stream.level, np.uint8)
                        content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
                        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(content)}\r\n\r\n"
                        self.wfile.write(head.encode() + content + b"\r\n")
                        time.sleep(0.02)
                except OSError:
                    return

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        self.streaming = False
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Desk:
    """Takes photographs, and knows how light they are."""

    def __init__(self, inspection: Callable[..., Any]) -> None:
        self.got: list[Submission] = []
        self.fault: Exception | None = None
        self.holds: list[Future[Any]] | None = None
        self._inspection = inspection

    def submit(self, submission: Submission) -> Future[Any]:
        answer: Future[Any] = Future()
        self.got.append(submission)
        if self.holds is not None:
            self.holds.append(answer)
        elif self.fault is not None:
            answer.set_exception(self.fault)
        else:
            answer.set_result(self._inspection(len(self.got), serial=submission.serial))
        return answer

    def light(self, number: int) -> int:
        picture = cv2.imdecode(np.frombuffer(self.got[number].content, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        return round(float(picture.mean()))


@pytest.fixture
def desk(inspection: Callable[..., Any]) -> Desk:
    return Desk(inspection)


@pytest.fixture
def stream() -> Iterator[Stream]:
    found = Stream()
    yield found
    found.stop()


@pytest.fixture
def camera(tmp_path: Path, desk: Desk) -> Iterator[Callable[..., Camera]]:
    made: list[Camera] = []

    def begin(**settings: Any) -> Camera:
        made.append(Camera(CameraSettings.model_validate({"timeout_s": 2.0, **settings}), tmp_path))
        made[-1].start(desk.submit)
        return made[-1]

    yield begin
    for each in made:
        each.stop()


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Three pictures: dark, grey, light."""
    file = tmp_path / "parts.avi"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for level in (40, 120, 200):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    return file


def _open(camera: Camera, wait_for: Any) -> None:
    wait_for(lambda: camera.state().away_for_s is None)


def test_the_picture_that_is_judged_was_taken_after_it_was_asked_for(
    stream: Stream, camera: Any, desk: Desk, wait_for: Any
) -> None:
    found = camera(source=f"http://127.0.0.1:{stream.port}/video.mjpg", category="bolt", station="left")
    _open(found, wait_for)
    for serial in ("A1", "A2"):
        time.sleep(0.6)  # a stream that nobody reads would be some thirty pictures behind by now
        asked_at = stream.level
        inspection = found.trigger(serial=serial, lot="L1", extras={"tray": "3"}).result(10)
        assert inspection.serial == serial
        assert desk.light(-1) >= asked_at - 8, "taken after that, but for what was under way"
    sent = desk.got[-1]
    assert (sent.source, sent.station, sent.category, sent.lot) == ("camera", "left", "bolt", "L1")
    assert sent.extras == {"tray": "3"}
    assert sent.content.startswith(b"\x89PNG"), "without loss"
    assert found.state().taken == 2


def test_a_video_file_gives_its_pictures_one_by_one_and_again(
    video: Path, camera: Any, desk: Desk, wait_for: Any
) -> None:
    found = camera(source=str(video))
    _open(found, wait_for)
    for _ in range(4):
        found.trigger().result(10)
    levels = [desk.light(number) for number in range(4)]
    assert np.allclose(levels, [40, 120, 200, 40], atol=4)


def test_pictures_come_every_so_often_unless_the_station_is_busy(
    video: Path, camera: Any, desk: Desk, wait_for: Any
) -> None:
    desk.holds = []
    found = camera(source=str(video), trigger="interval", interval_s=0.02)
    wait_for(lambda: found.state().skipped >= 3)
    assert len(desk.got) == 1, "the next one is not taken before the last one is judged"
    held, desk.holds = desk.holds, None
    held[0].set_result(None)
    wait_for(lambda: len(desk.got) >= 4)


def test_a_camera_that_goes_away_comes_back(
    stream: Stream, camera: Any, desk: Desk, wait_for: Any, caplog: pytest.LogCaptureFixture
) -> None:
    found = camera(source=f"http://127.0.0.1:{stream.port}/video.mjpg", timeout_s=1.0)
    _open(found, wait_for)
    stream.stop()
    wait_for(lambda: found.state().away_for_s is not None)
    with pytest.raises(CameraAwayError, match="camera camera is away"):
        found.trigger().result(10)
    back = Stream(stream.port)
    try:
        _open(found, wait_for)
        found.trigger().result(10)
    finally:
        back.stop()
    assert len(desk.got) == 1


def test_one_of_several_processes_has_the_camera(video: Path, camera: Any, desk: Desk, wait_for: Any) -> None:
    first = camera(source=str(video))
    _open(first, wait_for)
    second = camera(source=str(video))
    wait_for(lambda: second.state().error == "is open in another process of the station")
    first.stop()
    _open(second, wait_for)
    second.trigger().result(10)


def test_what_the_station_says_is_passed_on(video: Path, camera: Any, desk: Desk, wait_for: Any) -> None:
    found = camera(source=str(video))
    _open(found, wait_for)
    desk.fault = LaterError("the queue is full")
    with pytest.raises(LaterError, match="the queue is full"):
        found.trigger().result(10)
    desk.fault = ConfigError("category must be one of bolt, got nut")
    with pytest.raises(ConfigError, match="got nut"):
        found.trigger(category="nut").result(10)
    assert (found.state().skipped, found.state().refused) == (1, 1)


def test_a_password_is_used_and_never_printed(
    stream: Stream, camera: Any, wait_for: Any, tmp_path: Path, free_port: Callable[[], int],
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    caplog.set_level("DEBUG")
    (tmp_path / "password").write_text("s3cret@:/\n", encoding="utf-8")
    inside = camera(source=f"http://127.0.0.1:{stream.port}/locked", user="me", password_file="password")
    _open(inside, wait_for)
    inside.trigger().result(10)
    assert stream.logins[-1] == "Basic bWU6czNjcmV0QDov"
    for address in (f"http://127.0.0.1:{stream.port}/locked?key=s3cret", f"rtsp://me:s3cret@127.0.0.1:{free_port()}/x"):
        outside = camera(source=address, name="outside")
        wait_for(lambda outside=outside: outside.state().error == "cannot be opened")
        with pytest.raises(CameraAwayError) as away:
            outside.trigger().result(10)
        assert (
            "s3cret" not in f"{away.value}{outside.state()}{outside._settings!r}{outside._settings.model_dump_json()}"
        )
        outside.stop()
    printed = capfd.readouterr()
    assert "s3cret" not in caplog.text + printed.out + printed.err
    assert "camera outside (rtsp://127.0.0.1" in caplog.text


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"source": "missing.avi"}, r"camera.source must be a number, an address or a video file, got .*missing.avi"),
        ({"source": "gopher://me:s3cret@a"}, r"camera.source must be an address that begins with rtsp"),
        ({"source": "rtsp://me:s3cret@a:99999999"}, r"camera.source must be an address"),
        ({"source": "rtsp://me:s3cret@a", "user": "you"}, r"camera.source must be without a user"),
        ({"source": 0, "user": "you"}, r"camera.user must go with the address of a stream"),
        ({"source": "0", "width": 640}, r"camera.width and camera.height must be given together"),
        ({"source": "rtsp://a", "password_env": "CAMERA_PASSWORD"}, r"camera.user must be given where a password is"),
    ],
)
def test_settings_that_could_not_work_are_refused(
    tmp_path: Path, settings: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMERA_PASSWORD", "s3cret")
    with pytest.raises(ConfigError, match=said) as refused:
        CameraSettings.model_validate(settings).check(tmp_path)
    assert "s3cret" not in str(refused.value)
