# SPDX-License-Identifier: GPL-3.0-or-later
"""What the decisions need from outside, as protocols. Each has a real adapter and a fake, and one suite for both."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Protocol

from coordinator import model
from coordinator.depends import Package
from coordinator.duty import Held
from coordinator.model import Clearance, File, HistoryEntry, OpenJob, Past, Role, Update, UpdateState, Waiting, Worker
from coordinator.pipeline import Instruction
from workers.wire.arch import Arch
from workers.wire.order import Index, JobKey
from workers.wire.report import Offer


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> datetime:
        """Aware UTC."""


#: Nothing in the outbox is put off for longer.
A_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Due:
    """An instruction that waits in the outbox. `tries` counts how often it was begun."""

    number: int
    update: int
    instruction: Instruction
    tries: int


@dataclass(frozen=True)
class Lease:
    """An attempt is a worker's until then, or until its worker renewed it."""

    job: JobKey
    attempt: int
    until: datetime


def accept(_others: Sequence[object]) -> None:
    """The check that an update is added or saved with unless another is named: none."""


class Store(Protocol):
    """The truth. Every write is one transaction; one on an outdated update raises StaleUpdate and changes nothing."""

    def add(
        self,
        update: Update,
        event: str,
        detail: str,
        instructions: Sequence[Instruction],
        check: Callable[[Sequence[Update]], None] = accept,
    ) -> Update:
        """Keep a new update: its `id` and `revision` are given here. Writes the first history entry.

        `check` is given the updates of the same source and suite that have not ended, read in the same transaction;
        where it raises nothing is kept. It must not use the store.
        """

    def load(self, update: int) -> Update:
        """Raises UnknownName."""

    def save(
        self,
        before: Update,
        after: Update,
        event: str,
        detail: str,
        instructions: Sequence[Instruction],
        check: Callable[[Sequence[Held]], None] | None = None,
    ) -> Update:
        """Keep `after` if the row still has `before.revision`; append history and outbox in the same transaction.

        `check`, where there is one, is given every attempt that a worker has, read in the same transaction, while
        nobody else saves with one; where it raises nothing is kept. It must not use the store.
        """

    def updates(self, states: Sequence[UpdateState] = (), limit: int = 100) -> list[Update]:
        """The newest first; all states where none is named."""

    def history(self, update: int) -> list[HistoryEntry]:
        """Oldest first."""

    def renew(self, job: JobKey, attempt: int, worker: str, until: datetime) -> bool:
        """Prolong a lease; answers whether to cancel the job. Raises Fenced where the attempt does not hold it."""

    def leases(self) -> list[Lease]:
        """Every lease there is."""

    def open_jobs(self) -> list[OpenJob]:
        """Every job that waits, may begin or is being done, without what an earlier attempt reported."""

    def past(self, last: int) -> list[Past]:
        """How the jobs of the last so many updates went that succeeded, the oldest first."""

    def due(self, now: datetime, longest: timedelta = A_DAY) -> list[Due]:
        """Outbox rows whose time has come, oldest first.

        One that is further ahead than the `longest` that any is put off was written by a clock that was wrong: it is
        due as well. One that cannot be read is left where it is, and `waiting` says why.
        """

    def done(self, due: Due) -> None:
        """The instruction was carried out."""

    def postpone(self, due: Due, until: datetime, why: str) -> None:
        """It could not be carried out now; counts a try."""

    def waiting(self, update: int) -> list[Waiting]:
        """What is left to be carried out for an update, oldest first."""

    def tidy(self, before: datetime) -> None:
        """Forget what was due before then and is carried out, and what attempts that are over have brought."""

    def arrived(self, job: JobKey, attempt: int, sha256: str, size: int) -> None:
        """An attempt has brought a file, which is here now."""

    def brought(self, job: JobKey, attempt: int) -> dict[str, int]:
        """What an attempt that has not ended has brought: sizes by sha256."""

    def seen(self, offer: Offer, at: datetime) -> None:
        """A worker gave a sign of life. What the operator decided about it stays.

        Raises NotAllowed for one without a token, which was dismissed while it said so.
        """

    def admit(self, name: str, trust_domain: str | None, clearance: Clearance | None) -> None:
        """The operator's word on a worker, whether it was seen or not; what is None stays, and whether it drains."""

    def drain(self, name: str, draining: bool) -> None:
        """Give it nothing new, or something again. Raises UnknownName for one neither seen nor admitted."""

    def dismiss(self, name: str) -> None:
        """Forget a worker and its token, so that it cannot sign on again. Raises UnknownName."""

    def workers(self) -> list[Worker]:
        """Every worker ever seen, by name. One that nobody admitted is its own trust domain and sees what is public."""

    def held(self) -> list[Held]:
        """Every attempt that a worker has, the oldest first."""

    def grant(self, name: str, role: Role, token_sha256: str) -> None:
        """Let the bearer of a token act as `name`; replaces that name's token of the role, and this token's name."""

    def bearer(self, token_sha256: str) -> tuple[str, Role] | None:
        """Who bears that token."""


class Blobs(Protocol):
    """Bytes by sha256, for ever the same. What nobody refers to is forgotten, so keep what you will refer to."""

    def put(self, sha256: str, size: int, stream: BinaryIO) -> None:
        """Keep what the stream holds; raises BadSource where digest or size differ, DiskFull where there is no room.

        What is here already is kept as if it had just come, and has to come no less.
        """

    def add(self, data: bytes) -> str:
        """Keep bytes and answer their sha256."""

    def has(self, sha256: str) -> bool:
        """Whether it is here."""

    def path(self, sha256: str) -> Path:
        """Where to read it; raises UnknownName."""

    def keep(self, sha256: str) -> Path:
        """The same, for who is about to refer to it: from now it counts as new. Raises UnknownName."""

    def forget(self, beginning: str, before: datetime) -> int:
        """Remove what begins with these two digits and nobody kept since; answers how many. Cut uploads go too."""


class Logs(Protocol):
    """Append-only logs of attempts, readable while they grow."""

    def append(self, job: JobKey, attempt: int, offset: int, data: bytes) -> int:
        """Add bytes that begin at `offset`; a repeated part is ignored. Answers the size it has now.

        Raises BadRequest for a gap, DiskFull where there is no room.
        """

    def size(self, job: JobKey, attempt: int) -> int:
        """0 where there is none yet."""

    def read(self, job: JobKey, attempt: int, offset: int, count: int) -> bytes:
        """At most `count` bytes from `offset`."""

    def forget(self, update: int, attempts: Collection[tuple[JobKey, int]], before: datetime) -> int:
        """Remove an update's logs that nobody wrote to since, but for those of these attempts; answers how many."""


class Bell(Protocol):
    """Wakes workers. A lost ring is rung again; a ring too many finds nothing to claim."""

    def ring(self, worker: str, job: JobKey, attempt: int) -> None:
        """Tell a worker that there is something to claim. For which attempt it was rung is for the logs alone."""


#: What a Verifier answers. It is one of the nouns, so that the signer can know it.
Signature = model.Signature


class Verifier(Protocol):
    """Checks OpenPGP signatures against named keyrings."""

    def clearsigned(self, data: bytes, keyrings: Sequence[Path]) -> Signature:
        """Raises BadSignature. `fingerprint` is the primary key's, lower case."""


@dataclass(frozen=True)
class SourceEntry:
    """A source package as an archive's verified Sources index lists it; `directory` is relative to the archive."""

    name: str
    version: str
    directory: str
    files: tuple[File, ...]


@dataclass(frozen=True)
class BinaryEntry:
    """A binary package as an archive's Packages index lists it. `verified`: the index matched its signed Release."""

    name: str
    version: str
    arch: str
    filename: str
    file: File
    verified: bool


class Archive(Protocol):
    """Reads Debian-format archives through their signed Release."""

    def sources(self, index: Index, keyring: Path, name: str) -> list[SourceEntry]:
        """Every version of a source package the suite has. Raises ArchiveUnreachable, BadSignature."""

    def binaries(self, index: Index, keyring: Path, source: str, arch: Arch) -> list[BinaryEntry]:
        """The binary packages of a source on an architecture, from an index that verified or is marked as not."""

    def packages(self, index: Index, keyring: Path, arch: Arch, names: frozenset[str]) -> list[Package]:
        """Every package of an architecture that has or provides one of the names, from an index that verified."""

    def fetch(self, index: Index, path: str, file: File, into: BinaryIO) -> None:
        """Download a file of the archive and check it; raises ArchiveUnreachable."""


class Uploader(Protocol):
    """Brings a signed upload to the target's incoming queue."""

    def upload(self, files: Sequence[tuple[File, Path]]) -> Iterator[str]:
        """Send the files in that order, the .changes last, resuming what is there in part; yields each name sent.

        Raises UploadFailed. May be called again after a cut.
        """


class Target(Protocol):
    """The archive an update is published to."""

    def sources(self, suite: str, source: str) -> list[SourceEntry]:
        """What it has of a source, each with its .dsc first. Raises ArchiveUnreachable, BadSignature, BadRecipe."""

    def versions(self, suite: str, source: str) -> list[str]:
        """The versions of those alone."""
