# SPDX-License-Identifier: GPL-3.0-or-later
"""An attempt's log: a bounded file on the worker that grows at the coordinator while the attempt runs.

What a package prints is hostile: it is counted, cut at the limit, and never interpreted here.
"""

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

_PIECE: Final = 256 * 1024
#: Seconds between two looks at whether there is something new to send.
_PAUSE: Final = 1.0


class AttemptLog:
    """The bytes themselves, up to `limit`; `full` once a byte had to be dropped. Safe to write from any thread."""

    def __init__(self, path: Path, limit: int) -> None:
        self.path = path
        self.full = False
        self._limit = limit
        self._size = 0
        self._digest = hashlib.sha256()
        self._lock = threading.Lock()
        path.write_bytes(b"")

    @property
    def size(self) -> int:
        """Bytes kept so far."""
        return self._size

    @property
    def sha256(self) -> str:
        """Of what is kept so far."""
        return self._digest.hexdigest()

    def write(self, data: bytes) -> None:
        """Add bytes, or as many of them as the limit allows."""
        with self._lock:
            kept = data[: self._limit - self._size]
            self.full = self.full or len(kept) < len(data)
            if kept:
                with self.path.open("ab") as file:
                    file.write(kept)
                self._digest.update(kept)
                self._size += len(kept)

    def note(self, text: str) -> None:
        """One line of the farm's own; it is what explains a full log, so it has room of its own."""
        with self._lock:
            line = f"== {text}\n".encode()
            self._limit += len(line)
        self.write(line)

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
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._end = self._thread.submit(self._carry)
        self._end.add_done_callback(self._tell)

    def _tell(self, end: "Future[None]") -> None:
        error = end.exception()
        if error is not None:
            self._failed(f"the log did not arrive: {error}")

    def _carry(self) -> None:
        while not self._closing.wait(_PAUSE):
            self._ship()
        self._ship()

    def _ship(self) -> None:
        while piece := self._log.read(self._sent, _PIECE):
            there = self._send(self._sent, piece)
            if there <= self._sent:
                raise OSError(f"the coordinator keeps the log at {there} bytes")
            self._sent = there

    def close(self) -> None:
        """Send the rest; raises what went wrong on the way."""
        self._closing.set()
        with self._thread:
            self._end.result()
