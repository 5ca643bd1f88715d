"""Room on the disk: some is kept free, and recording stops before there is none."""

from __future__ import annotations

import errno
import shutil
from dataclasses import dataclass
from pathlib import Path

from muad.service.history.faults import DiskFullError

DISK_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system says of a disk, quota or file that has no room."""
_LEAST = 2**20  # below it a database cannot even write its log
MB = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How much there is.

    Attributes:
        free: Bytes that can still be written.
        total: Bytes of the disk.
        reserve: Bytes that are to stay free.
    """

    free: int
    total: int
    reserve: int

    @property
    def is_enough(self) -> bool:
        """Whether something can be recorded."""
        return self.free > self.reserve


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk that the station's folder lies on.

    Attributes:
        folder: The folder.
        reserve_mb: Megabytes that are to stay free: for the database's log, and for whoever tidies up.
    """

    folder: Path
    reserve_mb: float = 200.0

    def room(self) -> Room:
        """How much there is now."""
        usage = shutil.disk_usage(self.folder)
        return Room(free=usage.free, total=usage.total, reserve=round(self.reserve_mb * MB))

    def require(self) -> None:
        """Refuse to go on where the reserve is touched.

        Raises:
            DiskFullError: It is; recording goes on by itself as soon as it is not.
        """
        room = self.room()
        if not room.is_enough:
            raise DiskFullError(
                f"disk must keep {self.reserve_mb:g} MB free, got {room.free / MB:.0f} MB: {self.folder}. Free some, "
                "or let retention keep less; recording goes on by itself."
            )


def is_full(folder: Path) -> bool:
    """Whether nothing can be written there for want of room."""
    try:
        return shutil.disk_usage(folder).free < _LEAST
    except OSError:
        return False
