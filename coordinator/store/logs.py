# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs of attempts, one file each, that grow while people read them. Whether an attempt may write is asked before."""

import fcntl
import os
from collections.abc import Collection
from datetime import datetime
from io import FileIO
from pathlib import Path

from coordinator.errors import BadRequest
from coordinator.store.disk import room_in
from workers.wire.order import JobKey


class FolderLogs:
    """The real Logs: `<root>/<update>/<kind>-<arch>-<attempt>.log`. Any number of threads and processes may use it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def append(self, job: JobKey, attempt: int, offset: int, data: bytes) -> int:
        """Add bytes that begin at `offset`; a repeated part is ignored. Answers the size it has now.

        Raises BadRequest for a gap, DiskFull where there is no room; what did fit is kept, and may be repeated.
        """
        place = self._place(job, attempt)
        size = self.size(job, attempt)
        if not 0 <= offset <= size:
            raise BadRequest(f"the log of {job} attempt {attempt} has {size} bytes; it cannot go on at {offset}")
        with room_in(self._root):
            place.parent.mkdir(parents=True, exist_ok=True)
            with FileIO(place, "ab") as log:
                fcntl.flock(log, fcntl.LOCK_EX)  # the same part may come twice at the same time
                size = os.fstat(log.fileno()).st_size
                _write_all(log, data[size - offset :])
                return os.fstat(log.fileno()).st_size

    def size(self, job: JobKey, attempt: int) -> int:
        """0 where there is none yet."""
        try:
            return self._place(job, attempt).stat().st_size
        except FileNotFoundError:
            return 0

    def read(self, job: JobKey, attempt: int, offset: int, count: int) -> bytes:
        """At most `count` bytes from `offset`."""
        if offset < 0 or count < 0:
            raise BadRequest("a log is read from an offset and by a count of 0 or more")
        try:
            with self._place(job, attempt).open("rb") as log:
                log.seek(offset)
                return log.read(count)
        except FileNotFoundError:
            return b""

    def forget(self, update: int, attempts: Collection[tuple[JobKey, int]], before: datetime) -> int:
        """Remove an update's logs that nobody wrote to since, but for those of these attempts; answers how many."""
        kept, gone = {self._place(*attempt) for attempt in attempts}, 0
        for place in (self._root / str(update)).glob("*.log"):
            if place not in kept and place.stat().st_mtime < before.timestamp():
                place.unlink(missing_ok=True)
                gone += 1
        return gone

    def _place(self, job: JobKey, attempt: int) -> Path:
        return self._root / str(job.update) / f"{job.kind}-{job.arch}-{attempt}.log"


def _write_all(log: FileIO, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[log.write(left) :]
