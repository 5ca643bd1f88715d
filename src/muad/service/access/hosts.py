"""By which names the station is asked. A page elsewhere can make its own name lead here; it is not answered."""

from __future__ import annotations

from collections.abc import Collection

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class KnownHosts:
    """Answers only what is asked by one of the names.

    Args:
        app: What answers.
        names: In lower case, without ports; all if empty.
        direct: Refuse what came through a proxy, which would be taken for somebody on this machine.
    """

    def __init__(self, app: ASGIApp, names: Collection[str], direct: bool) -> None:
        self._app, self._names, self._direct = app, frozenset(names), direct

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        refusal = self._refusal(scope) if scope["type"] in {"http", "websocket"} else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await JSONResponse({"error": refusal}, status_code=421)(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        headers = {name: value for name, value in scope["headers"] if name in _LOOKED_AT}
        if self._direct and any(name in headers for name in _OF_A_PROXY):
            return "a station without tokens must be asked directly, got a proxy's request. Set access.open = false."
        if self._names and host_name(headers.get(b"host", b"").decode("latin-1")) not in self._names:
            return "host must be one of the station's names, got another. Add it to access.hosts in station.toml."
        return None


_OF_A_PROXY = (b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip")
_LOOKED_AT = frozenset({b"host", *_OF_A_PROXY})


def host_name(header: str) -> str:
    """The name in a `Host` header, without its port."""
    name = header.strip().lower()
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return name.partition(":")[0]
