"""`/v1/tokens`: who is let in, made and taken back by an administrator; `/v1/me`: who asks."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from muad.service.access.guard import access_of, needs
from muad.service.access.roles import Person, Role
from muad.service.access.tokens import Token
from muad.service.history.ids import now
from muad.service.routes.faults import FAULTS

router = APIRouter(prefix="/v1", tags=["tokens"], responses=FAULTS)
Admin = Annotated[Person, Depends(needs(Role.ADMIN))]


class TokenOut(BaseModel):
    """What is known of a token. The token itself is kept nowhere."""

    id: str
    name: str = Field(description="Who or what has it; recorded with words and changes.")
    role: Role
    created_at: AwareDatetime
    expires_at: AwareDatetime | None
    revoked_at: AwareDatetime | None
    last_used_at: AwareDatetime | None = Field(description="To the minute.")
    lets_in: bool = Field(description="Neither revoked nor expired.")


class TokenIn(BaseModel):
    """A token to be made."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(
        min_length=1, max_length=60, pattern=r"^\w([\w .@+-]{0,58}\w)?$", description="Letters, digits, spaces, .@+-_"
    )
    role: Role
    days: float | None = Field(
        default=None, gt=0, le=36_600, description="For how long it lets in; without end if left out."
    )


class NewTokenOut(TokenOut):
    """A token just made, with the token itself: shown this once."""

    token: str


class Asking(BaseModel):
    """Who asks."""

    name: str
    role: Role


@router.get("/tokens", summary="All tokens there ever were")
def listed(request: Request, _: Admin) -> list[TokenOut]:
    """The oldest first, those that no longer let in included."""
    at = now()
    return [_shown(token, at) for token in access_of(request).tokens.listed()]


@router.post("/tokens", status_code=201, summary="Make a token")
def make(request: Request, wanted: TokenIn, person: Admin) -> NewTokenOut:
    """The answer holds the token; it is shown this once and kept nowhere."""
    at = now()
    expires_at = None if wanted.days is None else at + timedelta(days=wanted.days)
    made = access_of(request).tokens.make(wanted.name, wanted.role, who=person.name, expires_at=expires_at)
    return NewTokenOut(**_shown(made.token, at).model_dump(), token=made.text)


@router.get("/me", summary="Who asks")
def me(person: Annotated[Person, Depends(needs(Role.LINE))]) -> Asking:
    """Name and role of the token that was sent along: a way to try it."""
    return Asking(name=person.name, role=person.role)


@router.delete("/tokens/{token_id}", summary="Take a token back")
async def revoke(
    request: Request,
    token_id: Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="Of the token.")],
    person: Admin,
) -> TokenOut:
    """It lets nobody in from now on, and logins made with it end; other processes heed it within a second."""
    access = access_of(request)
    return _shown(await access.revoke(token_id, who=person.name), now())


def _shown(token: Token, at: datetime) -> TokenOut:
    values = {name: getattr(token, name) for name in Token.__dataclass_fields__}
    return TokenOut(**values, lets_in=token.lets_in(at))
