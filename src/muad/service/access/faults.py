"""Why somebody is not let in. Each says what to do about it, and nothing of what is behind the door."""

from __future__ import annotations

from muad.errors import MuadError


class AccessError(MuadError):
    """A request that is not answered.

    Attributes:
        status: Of HTTP.
        retry_after_s: When it may be tried again; None where waiting does not help.
    """

    status = 403

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotLoggedInError(AccessError):
    """Nobody the station knows."""

    status = 401


class ForbiddenError(AccessError):
    """Known, but without the right."""

    status = 403


class TooManyRequestsError(AccessError):
    """More often than is allowed."""

    status = 429


class HostError(AccessError):
    """Asked by a name that is not the station's."""

    status = 421
