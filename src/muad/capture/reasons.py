"""Why a photograph must not pass, whatever its score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from muad.capture.quantities import Capture

NO_CONTENT: Final = "no content"
LEAST_LEVELS = 2.0
"""A frame whose pixels differ by no more than this many grey levels shows nothing, whatever the product."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a person has to look at a photograph that would pass by its score.

    Attributes:
        what: A few words that stay the same from release to release: `no content`, `too dark`, `looks like …`.
        quantity: What was measured.
        value: How much of it the photograph has; None if it is not a matter of more or less.
        limit: What it should at least or at most have; None if it is not a matter of more or less.
    """

    what: str
    quantity: str | None = None
    value: float | None = None
    limit: float | None = None

    def __str__(self) -> str:
        """The words and the figures, for people."""
        if self.value is None:
            return self.what
        figures = f"{self.quantity} {self.value:.3g}"
        if self.limit is not None:
            figures += f", {'at least' if self.value < self.limit else 'at most'} {self.limit:.3g}"
        return f"{self.what} ({figures})"

    def to_json(self) -> dict[str, Any]:
        """Plain values for `results.json`."""
        return {"what": self.what, "quantity": self.quantity, "value": self.value, "limit": self.limit}


def content_reasons(captured: Capture) -> tuple[Reason, ...]:
    """Whether the photograph shows nothing: one grey, or noise around one grey. Asks for no learned limit."""
    for quantity, value in (("range", captured.range), ("structure", captured.structure)):
        if value <= LEAST_LEVELS:
            return (Reason(what=NO_CONTENT, quantity=quantity, value=value, limit=LEAST_LEVELS),)
    return ()
