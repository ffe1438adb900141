# SPDX-License-Identifier: GPL-3.0-or-later
"""The store and the logs in memory, for tests of everything above them. FolderBlobs on tmp_path needs no stand-in."""

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta

from coordinator.duty import Held
from coordinator.errors import BadRequest, DiskFull, Fenced, NotAllowed, StaleUpdate, UnknownName
from coordinator.events import Instruction, due_at
from coordinator.expectations import own_seconds
from coordinator.model import (
    ENDED,
    Clearance,
    HistoryEntry,
    Job,
    JobState,
    OpenJob,
    Past,
    Role,
    Update,
    UpdateState,
    Waiting,
    Worker,
)
from coordinator.ports import A_DAY, Due, Lease, accept
from coordinator.store import chain
from workers.wire.order import JobKey
from workers.wire.report import Offer


@dataclass(frozen=True)
class Row:
    """An outbox row, as tests may look at it."""

    due: Due
    at: datetime
    last_error: str = ""
    done: bool = False


@dataclass(frozen=True)
class Admission:
    """What the operator decided about a worker."""

    trust_domain: str
    clearance: Clearance = Clearance.PUBLIC
    draining: bool = False


class MemoryStore:
    """A Store that forgets. `outbox` shows what SqlStore keeps in its table.

    While it is `full` no update is changed and no lease renewed.
    """

    full = False

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._updates: dict[int, Update] = {}
        self._history: dict[int, list[HistoryEntry]] = {}
        self._offers: dict[str, tuple[Offer, datetime]] = {}
        self._admissions: dict[str, Admission] = {}
        self._tokens: dict[tuple[str, Role], str] = {}
        self._arrivals: dict[tuple[JobKey, int], dict[str, int]] = {}
        self._number = 0
        self.outbox: dict[int, Row] = {}

    def close(self) -> None:
        """Nothing to give back."""

    def add(
        self,
        update: Update,
        event: str,
        detail: str,
        instructions: Sequence[Instruction],
        check: Callable[[Sequence[Update]], None] = accept,
    ) -> Update:
        with self._lock:
            check([other for other in self._updates.values() if _beside(other, update)])
            added = replace(update, id=len(self._updates) + 1, revision=1)
            self._updates[added.id] = added
            self._history[added.id] = [chain.begin_entry(added, event, detail)]
            self._tell(added, instructions)
        return added

    def load(self, update: int) -> Update:
        with self._lock:
            if update not in self._updates:
                raise UnknownName(f"there is no update {update}")
            return self._updates[update]

    def save(
        self,
        before: Update,
        after: Update,
        event: str,
        detail: str,
        instructions: Sequence[Instruction],
        check: Callable[[Sequence[Held]], None] | None = None,
    ) -> Update:
        with self._lock:
            self._need_room()
            if check is not None:
                check(self._held())
            now = self._updates.get(before.id)
            if now is None or now.revision != before.revision:
                raise StaleUpdate(f"update {before.id} is no longer at revision {before.revision}")
            saved = replace(after, id=before.id, revision=before.revision + 1)
            self._updates[before.id] = replace(saved, jobs=tuple(_merged(now, before, job) for job in after.jobs))
            story = self._history[before.id]
            story.append(chain.next_entry(saved, event, detail, story[-1]))
            self._tell(saved, instructions)
        return saved

    def updates(self, states: Sequence[UpdateState] = (), limit: int = 100) -> list[Update]:
        with self._lock:
            found = sorted(self._updates.values(), key=lambda update: -update.id)
        return [update for update in found if not states or update.state in states][:limit]

    def history(self, update: int) -> list[HistoryEntry]:
        with self._lock:
            return list(self._history.get(update, ()))

    def renew(self, job: JobKey, attempt: int, worker: str, until: datetime) -> bool:
        with self._lock:
            self._need_room()
            update = self._updates.get(job.update)
            held = update and update.job(job.kind, job.arch)
            if not update or not held or (held.state, held.attempt, held.worker) != (JobState.LEASED, attempt, worker):
                raise Fenced(f"{job} attempt {attempt} is not held by {worker}")
            self._updates[job.update] = update.with_job(replace(held, lease_expires_at=until))
            return held.cancel

    def leases(self) -> list[Lease]:
        found = [
            Lease(update.key(job), job.attempt, job.lease_expires_at)
            for update, job in self._jobs(JobState.LEASED)
            if job.lease_expires_at is not None
        ]
        return sorted(found, key=lambda lease: lease.until)

    def open_jobs(self) -> list[OpenJob]:
        return [
            OpenJob(
                update.id,
                update.source.name,
                update.source.origin,
                update.urgency,
                update.recipe,
                update.recipe_sha256,
                replace(job, report=None, tests=()),
            )
            for update in reversed(self.updates(limit=len(self._updates)))
            for job in update.jobs
            if not job.ended
        ]

    def past(self, last: int) -> list[Past]:
        return [
            _past(update, job)
            for update in reversed(self.updates(limit=last))
            for job in update.jobs
            if job.state == JobState.SUCCEEDED and job.report is not None
        ]

    def due(self, now: datetime, longest: timedelta = A_DAY) -> list[Due]:
        with self._lock:
            return [row.due for row in self.outbox.values() if not row.done and not now < row.at <= now + longest]

    def done(self, due: Due) -> None:
        with self._lock:
            self.outbox[due.number] = replace(self.outbox[due.number], done=True)

    def postpone(self, due: Due, until: datetime, why: str) -> None:
        with self._lock:
            row = self.outbox[due.number]
            again = replace(row.due, tries=row.due.tries + 1)
            self.outbox[due.number] = replace(row, due=again, at=until, last_error=why)

    def waiting(self, update: int) -> list[Waiting]:
        with self._lock:
            rows = [row for row in self.outbox.values() if row.due.update == update and not row.done]
        return [Waiting(type(row.due.instruction).__name__, row.due.tries, row.at, row.last_error) for row in rows]

    def tidy(self, before: datetime) -> None:
        with self._lock:
            self.outbox = {number: row for number, row in self.outbox.items() if not row.done or row.at >= before}
            held = {(each.job, each.attempt) for each in self._held()}
            self._arrivals = {each: files for each, files in self._arrivals.items() if each in held}

    def arrived(self, job: JobKey, attempt: int, sha256: str, size: int) -> None:
        with self._lock:
            self._arrivals[job, attempt] = self.brought(job, attempt) | {sha256: size}

    def brought(self, job: JobKey, attempt: int) -> dict[str, int]:
        return dict(self._arrivals.get((job, attempt), {}))

    def seen(self, offer: Offer, at: datetime) -> None:
        with self._lock:
            if (offer.worker, Role.WORKER) not in self._tokens:
                raise NotAllowed(f"the worker {offer.worker} was dismissed")
            self._offers[offer.worker] = (offer, at)

    def admit(self, name: str, trust_domain: str | None, clearance: Clearance | None) -> None:
        with self._lock:
            now = self._admission(name)
            domain, clear = trust_domain or now.trust_domain, clearance or now.clearance
            self._admissions[name] = replace(now, trust_domain=domain, clearance=clear)

    def drain(self, name: str, draining: bool) -> None:
        with self._lock:
            self._check_known(name)
            self._admissions[name] = replace(self._admission(name), draining=draining)

    def dismiss(self, name: str) -> None:
        with self._lock:
            self._check_known(name)
            self._offers.pop(name, None)
            self._admissions.pop(name, None)
            self._tokens.pop((name, Role.WORKER), None)

    def workers(self) -> list[Worker]:
        with self._lock:
            return [_worker(*self._offers[name], self._admission(name)) for name in sorted(self._offers)]

    def held(self) -> list[Held]:
        with self._lock:
            return self._held()

    def _held(self) -> list[Held]:
        found = [
            Held(job.worker, update.key(job), job.attempt, job.started_at)
            for update, job in self._jobs(JobState.LEASED)
            if job.started_at is not None
        ]
        return sorted(found, key=lambda each: (each.since, each.job.update))

    def grant(self, name: str, role: Role, token_sha256: str) -> None:
        with self._lock:
            kept = {who: known for who, known in self._tokens.items() if known != token_sha256}
            self._tokens = {**kept, (name, role): token_sha256}

    def bearer(self, token_sha256: str) -> tuple[str, Role] | None:
        with self._lock:
            return next((who for who, known in self._tokens.items() if known == token_sha256), None)

    def _need_room(self) -> None:
        if self.full:
            raise DiskFull("no space is left on the database's disk")

    def _admission(self, name: str) -> Admission:
        return self._admissions.get(name, Admission(name))

    def _check_known(self, name: str) -> None:
        if name not in self._offers and name not in self._admissions:
            raise UnknownName(f"there is no worker {name!r}")

    def _jobs(self, state: JobState) -> Iterator[tuple[Update, Job]]:
        for update in sorted(self._updates.values(), key=lambda update: -update.id):
            yield from ((update, job) for job in update.jobs if job.state == state)

    def _tell(self, update: Update, instructions: Sequence[Instruction]) -> None:
        for instruction in instructions:
            self._number += 1
            number = self._number
            at = due_at(instruction, update.changed_at)
            self.outbox[number] = Row(Due(number, update.id, instruction, 0), at)


def _worker(offer: Offer, at: datetime, decided: Admission) -> Worker:
    said = (offer.worker, offer.tiers, offer.slots, at, offer.host, offer.cores, offer.memory_bytes)
    return Worker(*said, decided.trust_domain, decided.clearance, decided.draining)


def _beside(other: Update, update: Update) -> bool:
    same = (other.suite, other.source.name) == (update.suite, update.source.name)
    return same and other.state not in ENDED


def _past(update: Update, job: Job) -> Past:
    assert job.report
    assert job.tier
    assert job.started_at
    assert job.ended_at
    used, seconds = job.report.usage, own_seconds(job.report, job.ended_at - job.started_at)
    return Past(update.source.name, job.kind, job.arch, job.tier, seconds, used.cpu_seconds, used.memory_bytes)


def _merged(now: Update, before: Update, job: Job) -> Job:
    """The job as it is now, with what differs between `before` and `job`: a lease renewed meanwhile stays."""
    kept, old = now.job(job.kind, job.arch), before.job(job.kind, job.arch)
    if kept is None or old is None:
        return job
    names = (field.name for field in fields(Job))
    changed = {name: getattr(job, name) for name in names if getattr(job, name) != getattr(old, name)}
    return replace(kept, **changed)


class MemoryLogs:
    """Logs that forget."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._lock = threading.Lock()
        self._now = now
        self._written: dict[tuple[JobKey, int], datetime] = {}
        self._logs: dict[tuple[JobKey, int], bytes] = {}

    def append(self, job: JobKey, attempt: int, offset: int, data: bytes) -> int:
        with self._lock:
            kept = self._logs.get((job, attempt), b"")
            if not 0 <= offset <= len(kept):
                raise BadRequest(f"the log of {job} attempt {attempt} has {len(kept)} bytes; no gap, please")
            self._logs[job, attempt] = kept + data[len(kept) - offset :]
            self._written[job, attempt] = self._now()
            return len(self._logs[job, attempt])

    def size(self, job: JobKey, attempt: int) -> int:
        with self._lock:
            return len(self._logs.get((job, attempt), b""))

    def forget(self, update: int, attempts: Collection[tuple[JobKey, int]], before: datetime) -> int:
        with self._lock:
            old = [
                key
                for key, at in self._written.items()
                if key[0].update == update and key not in attempts and at < before
            ]
            for key in old:
                del self._logs[key], self._written[key]
        return len(old)

    def read(self, job: JobKey, attempt: int, offset: int, count: int) -> bytes:
        if offset < 0 or count < 0:
            raise BadRequest("a log is read from an offset and by a count of 0 or more")
        with self._lock:
            return self._logs.get((job, attempt), b"")[offset : offset + count]
