# SPDX-License-Identifier: GPL-3.0-or-later
"""An attempt's log: a bounded file on the worker that grows at the coordinator while the attempt runs.

What a package prints is hostile: it is counted, cut at the limit, and never interpreted here.
"""

import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from workers.errors import broken
from workers.transfer import chunks

_PIECE: Final = 256 * 1024
#: Seconds that lines are gathered before they are sent, so that a chatty build does not make a request of each.
_GATHER: Final = 0.2


class AttemptLog:
    """The bytes themselves, up to `limit`; `full` once a byte had to be dropped. Safe to write from any thread.

    What the file has already is kept: an attempt may be continued by another process. `notes` is how many bytes of it
    are the farm's own lines, for which there is always room.
    """

    def __init__(self, path: Path, limit: int, notes: int = 0) -> None:
        self.path = path
        self.full = False
        self.notes = notes
        self._most = limit
        self._size = 0
        self._digest = hashlib.sha256()
        self._lock = threading.Lock()
        self._grown = threading.Condition(self._lock)
        path.touch()
        for piece in chunks(path):
            self._digest.update(piece)
            self._size += len(piece)

    @property
    def size(self) -> int:
        """Bytes kept so far."""
        return self._size

    def wait_beyond(self, size: int, enough: threading.Event) -> None:
        """Until there are more bytes than that, or it is enough and `nudge` was called."""
        with self._grown:
            self._grown.wait_for(lambda: self._size > size or enough.is_set())

    def nudge(self) -> None:
        """Have who waits look again."""
        with self._grown:
            self._grown.notify_all()

    @property
    def sha256(self) -> str:
        """Of what is kept so far."""
        return self._digest.hexdigest()

    def write(self, data: bytes) -> None:
        """Add bytes, or as many of them as the limit allows."""
        with self._lock:
            kept = data[: max(0, self._most + self.notes - self._size)]
            self.full = self.full or len(kept) < len(data)
            if kept:
                self._append(kept)
                self._digest.update(kept)
                self._size += len(kept)
                self._grown.notify_all()

    def _append(self, data: bytes) -> None:
        """All of them or none: what is kept is what the digest is of."""
        try:
            with self.path.open("ab") as file:
                file.write(data)
        except OSError:
            os.truncate(self.path, self._size)
            raise

    def note(self, text: str) -> None:
        """One line of the farm's own; it is what explains a full log, so it has room of its own."""
        line = f"== {text}\n".encode()
        with self._lock:
            self.notes += len(line)
        self.write(line)

    def continuing(self, since: int) -> Callable[[bytes], None]:
        """Where what a container prints from its very beginning goes, when the log has some of it already.

        What is there, from `since` on, is compared and not written twice. Raises AttemptEnded where the two differ:
        something was lost while nobody watched.
        """
        known = self._size - since
        seen = 0

        def take(data: bytes) -> None:
            nonlocal seen
            old, new = data[: max(0, known - seen)], data[max(0, known - seen) :]
            if old and old != self.read(since + seen, len(old)):
                raise broken("the log of the running container is not the one that was kept of it")
            seen += len(old)
            if new:
                self.write(new)

        return take

    def read(self, offset: int, count: int) -> bytes:
        """At most `count` bytes from `offset`."""
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(count)

    def tail(self, since: int, count: int = 64 * 1024) -> str:
        """The last bytes after `since`, as text."""
        return self.read(max(since, self.size - count), count).decode(errors="replace")


class Shipper:
    """Sends a growing log to where `send(offset, data)` puts it and answers the size it has there, in a thread.

    `failed` is told why as soon as that is not possible any more; `close` raises it.
    """

    def __init__(self, log: AttemptLog, send: Callable[[int, bytes], int], failed: Callable[[str], None]) -> None:
        self._log = log
        self._send = send
        self._failed = failed
        self._sent = 0
        self._closing = threading.Event()
        self._abandoned = False
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._end = self._thread.submit(self._carry)
        self._end.add_done_callback(self._tell)

    def _tell(self, end: "Future[None]") -> None:
        error = end.exception()
        if error is not None:
            self._failed(f"the log did not arrive: {error}")

    def _carry(self) -> None:
        while not self._closing.wait(_GATHER):
            self._ship()
            self._log.wait_beyond(self._sent, self._closing)
        self._ship()

    def _ship(self) -> None:
        while not self._abandoned and (piece := self._log.read(self._sent, _PIECE)):
            there = self._send(self._sent, piece)
            if there <= self._sent:
                raise OSError(f"the coordinator keeps the log at {there} bytes")
            self._sent = there

    def close(self) -> None:
        """Send the rest; raises what went wrong on the way."""
        self._end_waiting()
        with self._thread:
            self._end.result()

    def abandon(self) -> None:
        """Send no more than what is under way: another process sends the rest."""
        self._abandoned = True
        self._end_waiting()
        # Not waited for: what is under way may be tried again for minutes, and does no harm when it arrives late.
        self._thread.shutdown(wait=False)

    def _end_waiting(self) -> None:
        self._closing.set()
        self._log.nudge()
