# SPDX-License-Identifier: GPL-3.0-or-later
"""What is around a farm: a clock, a doorbell, people and a disk, each of which does exactly what a test says."""

import errno
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from coordinator.errors import BrokerDown, DiskFull
from coordinator.openpgp import fingerprint, load_certs
from coordinator.store.blobs import FolderBlobs
from workers.wire.order import JobKey


class HandClock:
    """A Clock that moves only when it is told to."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self._now

    def move(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


@dataclass(frozen=True)
class Ringing:
    """One message in the broker."""

    worker: str
    job: JobKey
    attempt: int


class HandBell:
    """A Bell whose messages lie in `waiting` until a worker takes them; `rung` is every one there ever was.

    `down` makes it refuse, `loses` swallow, `echoes` ring twice; who is `deaf` hears nothing.
    """

    def __init__(self) -> None:
        self.waiting: list[Ringing] = []
        self.rung: list[Ringing] = []
        self.down = False
        self.loses = False
        self.echoes = False
        self.deaf: set[str] = set()

    def ring(self, worker: str, job: JobKey, attempt: int) -> None:
        if self.down:
            raise BrokerDown("the broker does not answer")
        message = Ringing(worker, job, attempt)
        self.rung.append(message)
        if not self.loses and worker not in self.deaf:
            self.waiting += [message, message] if self.echoes else [message]

    def wipe(self) -> None:
        """The broker is emptied, and nobody is told."""
        self.waiting.clear()

    def times(self, job: JobKey, attempt: int) -> int:
        """How often an attempt was rung for."""
        return sum((message.job, message.attempt) == (job, attempt) for message in self.rung)


class Poked:
    """A Wake that counts: the simulator looks at the outbox anyway."""

    def __init__(self) -> None:
        self.pokes = 0

    def poke(self) -> None:
        self.pokes += 1


class Phonebook:
    """People with certificates in a folder, one `<name>.asc` each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fingerprints(self) -> dict[str, frozenset[str]]:
        return {
            path.stem: frozenset(fingerprint(cert) for cert in load_certs(path)) for path in self._folder.glob("*.asc")
        }

    def keyring(self) -> Path:
        return self._folder


class SmallDisk(FolderBlobs):
    """The real blobs, on a disk that can be `full`: what is there can be read, and nothing more be kept.

    On one that is `broken` no time can be written.
    """

    full = False
    broken = False

    def keep(self, sha256: str) -> Path:
        if self.broken:
            raise OSError(errno.EROFS, "Read-only file system")
        return super().keep(sha256)

    def put(self, sha256: str, size: int, stream: BinaryIO) -> None:
        if self.full and not self.has(sha256):
            raise DiskFull("no space is left in the blobs")
        super().put(sha256, size, stream)
