"""Which files of a folder are complete: they have stayed as they are for a while."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from muad.outputs.sources import walk_images
from muad.outputs.tables import file_facts
from muad.watching.ledger import Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A photograph that waits to be judged.

    Attributes:
        path: The file.
        name: Its way from the watched folder, with forward slashes.
        facts: Size and time of change, by which it is known again.
        unchanged_s: How long it has been seen like that.
    """

    path: Path
    name: str
    facts: Facts
    unchanged_s: float


class Arrivals:
    """What has arrived in a folder and its folders.

    An upload that is going on changes size or time of the file; one under a hidden or unfinished name (`.0001.png`,
    `0001.png.part`), renamed at its end, is seen when it is whole.

    Args:
        folder: Where photographs arrive.
        left_out: Absolute paths of folders inside that are not looked into.
        settle_s: How long a file has to stay as it is.
    """

    def __init__(self, folder: Path, left_out: Sequence[Path], settle_s: float) -> None:
        self._folder, self._left_out, self._settle_s = folder, left_out, settle_s
        self._since: dict[str, tuple[Facts, float]] = {}

    def poll(self, is_done: Callable[[str, Facts], bool], now: float) -> list[Arrival]:
        """Files that have settled and are not done, those that were changed first coming first.

        Args:
            is_done: Whether a file of that name and those facts needs no more work.
            now: Seconds of a clock that never goes back.

        Raises:
            OSError: The folder cannot be listed, such as a share that is away.
        """
        waiting: dict[str, tuple[Facts, float]] = {}
        settled = []
        for path in walk_images(self._folder, self._left_out):
            name, facts = path.relative_to(self._folder).as_posix(), file_facts(path)
            if None in facts or is_done(name, facts):
                continue
            before, since = self._since.get(name, (facts, now))
            since = since if before == facts else now
            waiting[name] = facts, since
            if now - since >= self._settle_s:
                settled.append(Arrival(path=path, name=name, facts=facts, unchanged_s=now - since))
        self._since = waiting
        return sorted(settled, key=lambda arrival: (arrival.facts[1] or 0, arrival.name))

    @property
    def waiting(self) -> int:
        """How many files were not done at the last look, settled or not."""
        return len(self._since)
