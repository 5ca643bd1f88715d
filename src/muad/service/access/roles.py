"""What somebody may do: four roles, each of which may do everything that those before it may."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """From the line's controller to who installs the station."""

    LINE = "line"
    OPERATOR = "operator"
    ENGINEER = "engineer"
    ADMIN = "admin"

    def may(self, needed: Role) -> bool:
        """Whether this role may do what `needed` may."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who asks: a person, or a machine that was given a token.

    Attributes:
        name: Of the token; what is recorded with words and changes.
        role: What they may do.
        token_id: The token's; None where none is asked for.
        csrf: What posts of a page that was logged in to must carry; None with a token in the header.
    """

    name: str
    role: Role
    token_id: str | None = None
    csrf: str | None = None


ANYONE = Person(name="anyone on this machine", role=Role.ADMIN)
"""Who asks a station that asks for no tokens; it can be reached from its own machine only."""
