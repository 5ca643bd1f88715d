"""Which parts people are asked about whatever the verdict: a random, stated share of all.

Words on stopped parts alone say nothing of parts that pass, and words on parts that somebody happened to look at say
something else than they seem to. So the station draws. Every part is drawn with the same chance, passed or not: people
are asked about stopped parts anyway, but only those drawn are a fair sample of all good parts, from which limits may be
set anew (see `recalibration`).

Nobody can foresee what is drawn, and everybody can check it afterwards. The station keeps a secret. From it comes a key
for every day (UTC); a part is drawn if the keyed digest of its id lies below the share. The digest of tomorrow's key is
shown today, and yesterday's key is shown once the day is over: `is_drawn` computes every decision of the day again.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from muad.errors import DataError
from muad.service.history.record import NewInspection

SECRET_FILE: Final = "audit-secret.txt"
ASKED_VERDICTS: Final = ("review", "reject", "unknown product", "no verdict")
"""Of these people are asked about every part."""
_BYTES = 32


class AuditSettings(BaseModel):
    """Section [audit] of station.toml.

    Attributes:
        share: Of all parts, how many are drawn; 0 for none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: Annotated[float, Field(ge=0, le=1)] = 0.02


class Audit:
    """Draws parts.

    Args:
        secret: Of the station, see `audit_secret`.
        share: Of all parts.

    Example:
        >>> from datetime import datetime, timezone
        >>> Audit(b"secret", 1.0).chosen("0" * 32, datetime.now(timezone.utc))
        True
    """

    def __init__(self, secret: bytes, share: float) -> None:
        self._secret, self.share = secret, share

    def chosen(self, inspection_id: str, at: datetime) -> bool:
        """Whether people are asked about a part whatever its verdict.

        Args:
            inspection_id: Made by the station, not by whoever sends the photograph.
            at: When it came, with its time zone.
        """
        return is_drawn(self._key(at.astimezone(UTC).date()), inspection_id, self.share)

    def drawn(self, new: NewInspection) -> NewInspection:
        """The same inspection, with whether people are asked about it."""
        return replace(new, in_audit=self.chosen(new.id, new.at))

    def commitment(self, day: date) -> str:
        """The digest of a day's key, to be shown beforehand: it says nothing of the key, and fits no other."""
        return hashlib.sha256(self._key(day)).hexdigest()

    def key(self, day: date, today: date | None = None) -> str | None:
        """The key of a day that is over, for whoever checks what was drawn; None before.

        Args:
            day: Whose key.
            today: The day it is; None for today in UTC.
        """
        return self._key(day).hex() if day < (today or datetime.now(UTC).date()) else None

    def _key(self, day: date) -> bytes:
        return hmac.digest(self._secret, day.isoformat().encode(), "sha256")


def is_drawn(key: bytes, inspection_id: str, share: float) -> bool:
    """Whether a part is drawn with the key of its day.

    Args:
        key: Of the day, UTC, the part came on.
        inspection_id: Of the part.
        share: The share that was in force.
    """
    digest = hmac.digest(key, inspection_id.encode(), "sha256")
    return int.from_bytes(digest[:8]) < share * 2**64


def audit_secret(folder: Path) -> bytes:
    """The station's secret, made at first; several processes get the same one.

    Raises:
        DataError: The file cannot be made, or holds something else.
    """
    path = folder / SECRET_FILE
    try:
        if not path.exists():
            draft = folder / f"{SECRET_FILE}.{secrets.token_hex(4)}"
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
                file.write(secrets.token_hex(_BYTES) + "\n")
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(draft, path)  # whole, or made by another process meanwhile
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        kept = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise DataError(
            f"audit secret must be a file of {2 * _BYTES} hexadecimal digits, got {path} ({error}). Put it back from a "
            "backup, or delete it: then a new one is made, and what was drawn before cannot be checked any more."
        ) from None
    if len(kept) != _BYTES:
        raise DataError(f"audit secret must have {2 * _BYTES} hexadecimal digits, got {2 * len(kept)} in {path}.")
    return kept
