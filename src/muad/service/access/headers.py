"""What every answer tells the browser: run nothing that is not ours, show it in nobody's frame, keep it to yourself."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self'; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""For everything the station serves: no inline script, no inline style, nothing from elsewhere."""
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"
"""For a report in one file: its own style and pictures, no script, no forms."""
PICTURE_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""For a photograph that somebody sent: a picture, whatever else a browser might find in it."""

_ALWAYS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_UNLESS_SET = {"content-security-policy": PAGE_POLICY, "cache-control": "no-store"}
_HTTPS_ONLY = "max-age=31536000"


class SecureHeaders:
    """Puts the headers on every answer; a policy or cache rule that an answer brings itself stays.

    Args:
        app: What answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS.items():
                    headers[name] = value
                for name, value in _UNLESS_SET.items():
                    headers.setdefault(name, value)
                if scope.get("scheme") == "https":
                    headers["strict-transport-security"] = _HTTPS_ONLY
            await send(message)

        await self._app(scope, receive, send_with_headers)
