"""The limits of a run that is at work: `limits.toml` may change while a line goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from muad.decisions.limits import CALIBRATION_FILE, LIMITS_FILE, Limits, read_limits
from muad.decisions.object_limits import ObjectLimits, read_object_limits
from muad.errors import CheckpointError, ConfigError

_State = tuple[bytes | None, tuple[int, int, int] | None]


class LimitsInForce:
    """Limits as `limits.toml` says now; where it cannot be used now, as it said before.

    A file is read while somebody edits it, and an editor may remove it for a moment: a line must neither stop for that
    nor let everything pass. So whoever starts with a broken file is refused, and whoever is at work keeps the limits
    that were good, and is told once for each state of the file.

    Args:
        run: Run folder.
        categories: Those it was trained on.
        note: Called with sentences the user should see.

    Attributes:
        limits: Those in force; None without any.
        objects: Those of parts that several photographs show; None without any.

    Raises:
        ConfigError: `limits.toml` cannot be used.
        CheckpointError: `calibration.json` cannot be read.
    """

    def __init__(self, run: Path, categories: Sequence[str], note: Callable[[str], None] = lambda _: None) -> None:
        self._run, self._categories, self._note = run, categories, note
        self._state = self._look()
        self.limits: Limits | None = read_limits(run, categories)
        self.objects: ObjectLimits | None = read_object_limits(run, categories)

    def refresh(self) -> None:
        """Read the files again if they are others than last time; costs some 20 microseconds if they are not."""
        state = self._look()
        if state == self._state:
            return
        before, self._state = self._state, state
        if state[0] is None and self.limits is not None:
            self._note(f"{LIMITS_FILE} is gone from {self._run}: the limits it held stay in force until there is one")
            return
        try:
            both = read_limits(self._run, self._categories), read_object_limits(self._run, self._categories)
        except (ConfigError, CheckpointError) as error:
            self._note(f"limits stay as they were, because they cannot be read anew: {error}")
            return
        self.limits, self.objects = both
        if state[0] != before[0]:
            self._note(f"{LIMITS_FILE} has changed: its limits are in force from here on")

    def _look(self) -> _State:
        """The few lines of `limits.toml` themselves, since two edits may share time and size; the scores' date."""
        try:
            text = (self._run / LIMITS_FILE).read_bytes()
        except OSError:
            text = None
        try:
            found = (self._run / CALIBRATION_FILE).stat()
        except OSError:
            return text, None
        return text, (found.st_mtime_ns, found.st_size, found.st_ino)
