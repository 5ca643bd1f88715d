"""Verdicts at a real HTTP server: signed, tried again or set aside as it answers, and never sent elsewhere."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from muad.errors import ConfigError
from muad.service.gateways.base import AwayError, RefusedError
from muad.service.gateways.spool import Spool, SpoolSettings
from muad.service.gateways.webhook import WebhookOutlet, WebhookSettings

Messages = Callable[..., dict[str, Any]]
SECRET = "correct horse battery staple"


class Receiver:
    """An HTTP server that remembers what it gets, and answers what it is told."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.pause_s = 0.0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.got.append((self.path, headers, body))
                time.sleep(receiver.pause_s)
                status, extra, content = receiver.answers.pop(0) if receiver.answers else (204, {}, b"")
                self.send_response(status)
                for name, value in (extra | {"content-length": str(len(content))}).items():
                    self.send_header(name, value)
                self.end_headers()
                with suppress(OSError):  # who has gone, or reads no more
                    self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.stop()


@pytest.fixture
def outlet(receiver: Receiver, tmp_path: Path) -> Iterator[Callable[..., WebhookOutlet]]:
    made: list[WebhookOutlet] = []

    def make(**settings: Any) -> WebhookOutlet:
        made.append(WebhookOutlet(WebhookSettings.model_validate({"url": receiver.url, **settings}), tmp_path))
        made[-1].open()
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("text", [SECRET, "whsec_" + base64.b64encode(SECRET.encode()).decode()])
def test_a_message_is_posted_and_signed(
    receiver: Receiver, outlet: Any, message: Messages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "secret").write_text(f"{text}\n", encoding="utf-8")
    monkeypatch.setenv("HOOK_TOKEN", "token-of-the-line")
    sent = message(1, lot="Größe")
    outlet(secret_file="secret", token_env="HOOK_TOKEN").send(sent)
    ((path, headers, body),) = receiver.got
    assert (path, json.loads(body)) == ("/hook", sent)
    assert headers["content-type"] == "application/json"
    assert headers["authorization"] == "Bearer token-of-the-line"
    assert headers["webhook-id"] == sent["id"]
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    signed = f"{sent['id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{wanted}"
    assert not any(word in body for word in (b"horse", b"token-of-the-line"))


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
def test_a_far_end_that_fails_is_tried_again(receiver: Receiver, outlet: Any, message: Messages, status: int) -> None:
    receiver.answers = [(status, {"retry-after": "7"}, b"later,\n please")]
    with pytest.raises(AwayError, match=rf"answers {status} .*: later, please") as away:
        outlet().send(message(1))
    assert away.value.wait_s == 7


@pytest.mark.parametrize("status", [400, 409, 410, 413, 415, 422])
def test_a_message_that_is_refused_does_not_come_again(
    receiver: Receiver, outlet: Any, message: Messages, status: int
) -> None:
    receiver.answers = [(status, {}, b"no")]
    with pytest.raises(RefusedError, match=f"answers {status} .*: no"):
        outlet().send(message(1))


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_a_door_that_is_shut_to_everybody_loses_no_message(
    receiver: Receiver, outlet: Any, message: Messages, tmp_path: Path, status: int
) -> None:
    (tmp_path / "token").write_text("old", encoding="utf-8")
    receiver.answers = [(status, {}, b"")]
    hook = outlet(token_file="token")
    with pytest.raises(AwayError, match="messages wait until address and token are right"):
        hook.send(message(1))
    (tmp_path / "token").write_text("new", encoding="utf-8")
    hook.send(message(1))
    assert [headers["authorization"] for _, headers, _ in receiver.got] == ["Bearer old", "Bearer new"]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(receiver: Receiver, outlet: Any, message: Messages, status: int) -> None:
    receiver.answers = [(status, {"location": receiver.url + "/elsewhere"}, b"")]
    with pytest.raises(AwayError, match=r"it is not followed, write the new address into webhook\.url"):
        outlet().send(message(1))
    assert [path for path, _, _ in receiver.got] == ["/hook"]


def test_retry_after_may_be_a_date_or_nonsense(receiver: Receiver, outlet: Any, message: Messages) -> None:
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    receiver.answers = [(503, {"retry-after": when}, b""), (503, {"retry-after": "soon"}, b"")]
    waits = []
    for _ in range(2):
        with pytest.raises(AwayError) as away:
            outlet().send(message(1))
        waits.append(away.value.wait_s)
    assert 90 < waits[0] <= 100
    assert waits[1] is None


def test_nobody_waits_long_for_a_far_end(receiver: Receiver, outlet: Any, message: Messages) -> None:
    receiver.pause_s = 1.0
    begun = time.monotonic()
    with pytest.raises(AwayError, match="ReadTimeout"):
        outlet(timeout_s=0.2).send(message(1))
    assert time.monotonic() - begun < 0.9
    receiver.pause_s = 0.0
    receiver.answers = [(422, {}, b"x" * 5_000_000)]
    with pytest.raises(RefusedError) as refused:
        outlet().send(message(1))
    assert len(str(refused.value)) < 400, "an answer however large is not kept"


def test_nobody_there_is_said_without_what_is_secret(message: Messages, tmp_path: Path, free_port: Any) -> None:
    hook = WebhookOutlet(WebhookSettings(url=f"http://127.0.0.1:{free_port()}/hook?key=s3cret"), tmp_path)
    with pytest.raises(AwayError, match="ConnectError") as away:
        hook.send(message(1))
    assert "s3cret" not in str(away.value)
    hook.close()


def test_the_certificate_is_checked(certificates: Path, message: Messages, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server-key.pem")
    receiver = Receiver(context)
    try:
        known = WebhookOutlet(WebhookSettings(url=receiver.url, ca=certificates / "ca.pem"), tmp_path)
        known.send(message(1))
        known.close()
        unknown = WebhookOutlet(WebhookSettings(url=receiver.url), tmp_path)
        with pytest.raises(AwayError, match="CERTIFICATE_VERIFY_FAILED"):
            unknown.send(message(2))
        unknown.close()
        assert len(receiver.got) == 1
    finally:
        receiver.stop()


def test_messages_arrive_in_order_through_whatever_it_answers(
    receiver: Receiver, message: Messages, tmp_path: Path, wait_for: Any
) -> None:
    receiver.answers = [(204, {}, b""), (503, {}, b""), (500, {}, b""), (204, {}, b""), (422, {}, b"no")]
    hook = WebhookOutlet(WebhookSettings(url=receiver.url), tmp_path)
    spool = Spool(tmp_path, hook, SpoolSettings(first_wait_s=0.01, longest_wait_s=0.02))
    spool.start()
    spool.put([message(number) for number in range(1, 6)])
    wait_for(lambda: spool.state().waiting == 0)
    spool.close()
    assert [json.loads(body)["number"] for _, _, body in receiver.got] == [1, 2, 2, 2, 3, 4, 5]
    assert (spool.state().sent, spool.state().refused, spool.state().failures) == (4, 1, 2)


def test_the_example_knows_a_station_by_its_signature(
    tmp_path: Path, message: Messages, free_port: Callable[[], int], wait_for: Any
) -> None:
    (tmp_path / "secret").write_text(SECRET, encoding="utf-8")
    (tmp_path / "other").write_text(SECRET[::-1], encoding="utf-8")
    example, port = Path(__file__).parents[3] / "examples" / "station" / "receive_webhook.py", free_port()
    receiving = subprocess.Popen(
        [sys.executable, str(example), str(port), "2"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "SECRET": SECRET},
    )  # fmt: skip
    for secret, taken in (("secret", True), ("other", False)):
        hook = WebhookOutlet(WebhookSettings(url=f"http://127.0.0.1:{port}/", secret_file=Path(secret)), tmp_path)

        def came(hook: WebhookOutlet = hook, taken: bool = taken) -> bool:
            try:
                hook.send(message(1))
            except AwayError:  # it starts
                return False
            except RefusedError:
                return not taken
            return taken

        wait_for(came)
        hook.close()
    assert receiving.communicate(timeout=20)[0] == "A1 reject\nA1 is not from our station\n"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url": "ftp://a/b"}, r"webhook.url must begin with https:// or http://"),
        ({"url": "file:///etc/passwd"}, r"webhook.url must begin with"),
        ({"url": "https://"}, r"webhook.url must begin with"),
        ({"url": "https://[::1"}, r"webhook.url must begin with"),
        ({"url": "https://me:s3cret@a/b"}, r"webhook.url must be without user and password"),
        ({"proxy": "socks"}, r"webhook.proxy must begin with"),
        ({"secret_file": "short"}, r"webhook.secret must have at least 24 bytes, got 5"),
        ({"secret_env": "HOOK_SECRET"}, r"webhook.secret must be base64 after whsec_"),
        ({"token_file": "two-lines"}, r"webhook.token must be one line"),
        ({"ca": "short"}, r"webhook.ca must hold certificates"),
    ],
)
def test_settings_that_could_not_work_are_refused(
    tmp_path: Path, settings: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "short").write_text("brief", encoding="utf-8")
    (tmp_path / "two-lines").write_text("a\nb", encoding="utf-8")
    monkeypatch.setenv("HOOK_SECRET", "whsec_%%%")
    with pytest.raises(ConfigError, match=said) as refused:
        WebhookSettings.model_validate({"url": "https://example.org/hook", **settings}).check(tmp_path)
    assert "s3cret" not in str(refused.value)
