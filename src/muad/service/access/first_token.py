"""The token that a new station makes for who installs it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from muad.errors import ConfigError
from muad.service.access.roles import Role
from muad.service.access.tokens import Tokens

FILE_NAME = "first-token.txt"
NAME = "first"


def make_first_token(folder: Path, tokens: Tokens) -> Path | None:
    """Where the first administrator's token lies, readable by this user alone; None if there is an administrator.

    Args:
        folder: Of the station.
        tokens: Of the same.
    """
    if tokens.has_admin():
        return None
    file = folder / FILE_NAME

    def write(text: str) -> None:
        draft = folder / f".{FILE_NAME}"
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text + "\n")
            out.flush()
            os.fsync(out.fileno())
        draft.replace(file)

    # If another process of the station was quicker, its token is in the file.
    with suppress(ConfigError):
        tokens.make(NAME, Role.ADMIN, who="the station itself", hand_over=write)
    return file
