# SPDX-License-Identifier: GPL-3.0-or-later
"""The store in SQL: SQLite for one machine, PostgreSQL for many, the same statements for both.

Every method is one transaction. It decides nothing: what an update becomes is the pipeline's word.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from coordinator.duty import Held
from coordinator.errors import Fenced, PatchfarmError, StaleUpdate, UnknownName
from coordinator.events import Instruction, due_at
from coordinator.model import (
    ENDED,
    Clearance,
    HistoryEntry,
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
from coordinator.store import arrivals, chain, database, parts, roster, rows, tables, work
from workers.wire.order import JobKey
from workers.wire.report import Offer

_LOG = logging.getLogger(__name__)

#: What an id column holds; a number from an address may be larger, and is then nobody's.
_LARGEST = 2**31 - 1


def open_store(url: str) -> "SqlStore":
    """The store at `sqlite:///…` or `postgresql://…`, its schema brought up to date. Any number of processes may."""
    engine = database.connect(url)
    with ExitStack() as otherwise:
        otherwise.callback(engine.dispose)
        database.migrate(engine)
        otherwise.pop_all()
    return SqlStore(engine)


class SqlStore:
    """The real Store. May be used by many threads; `close` when done."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._reading = database.for_reading(engine).begin
        self._writing = database.for_writing(engine).begin

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

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
        where it raises nothing is kept.
        """
        with self._writing() as connection:
            database.one_at_a_time(connection, database.ADDITIONS)
            check(parts.read(connection, _beside(update)))
            added = replace(update, id=parts.add(connection, update), revision=1)
            _record(connection, added, chain.begin_entry(added, event, detail), instructions)
        return added

    def load(self, update: int) -> Update:
        """Raises UnknownName."""
        if not 0 < update <= _LARGEST:
            raise UnknownName(f"there is no update {update}")
        with self._reading() as connection:
            found = parts.read(connection, sa.select(tables.updates.c.id).where(tables.updates.c.id == update))
        if not found:
            raise UnknownName(f"there is no update {update}")
        return found[0]

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
        nobody else saves with one; where it raises nothing is kept.
        """
        with self._writing() as connection:
            if check is not None:
                database.one_at_a_time(connection, database.CLAIMS)
                check(roster.held(connection))
            if not parts.change(connection, before, after):
                raise StaleUpdate(f"update {before.id} is no longer at revision {before.revision}")
            saved = replace(after, id=before.id, revision=before.revision + 1)
            entry = chain.next_entry(saved, event, detail, _last(connection, before.id))
            _record(connection, saved, entry, instructions)
        return saved

    def updates(self, states: Sequence[UpdateState] = (), limit: int = 100) -> list[Update]:
        """The newest first; all states where none is named."""
        chosen = sa.select(tables.updates.c.id).order_by(tables.updates.c.id.desc()).limit(limit)
        if states:
            chosen = chosen.where(tables.updates.c.state.in_(states))
        with self._reading() as connection:
            return parts.read(connection, chosen)

    def history(self, update: int) -> list[HistoryEntry]:
        """Oldest first; empty for an update that is not known."""
        if not 0 < update <= _LARGEST:
            return []
        entry = tables.history.c
        query = sa.select(tables.history).where(entry.update_id == update).order_by(entry.sequence)
        with self._reading() as connection:
            return [rows.to_history(row) for row in connection.execute(query).mappings()]

    def renew(self, job: JobKey, attempt: int, worker: str, until: datetime) -> bool:
        """Prolong a lease; answers whether to cancel the job. Raises Fenced where the attempt does not hold it.

        The update keeps its revision, so that a sign of life disturbs nobody who is changing it.
        """
        held = tables.jobs.c
        holds = (held.update_id == job.update, held.kind == job.kind, held.arch == job.arch, held.attempt == attempt)
        prolong = (
            sa.update(tables.jobs)
            .where(*holds, held.state == JobState.LEASED, held.worker == worker)
            .values(lease_expires_at=until)
            .returning(held.cancel)
        )
        cancel: bool | None = None
        if max(job.update, attempt) <= _LARGEST:
            with self._writing() as connection:
                cancel = connection.execute(prolong).scalar_one_or_none()
        if cancel is None:
            raise Fenced(f"{job} attempt {attempt} is not held by {worker}")
        return cancel

    def leases(self) -> list[Lease]:
        """Every lease there is."""
        job = tables.jobs.c
        query = (
            sa.select(job.update_id, job.kind, job.arch, job.attempt, job.lease_expires_at)
            .where(job.state == JobState.LEASED)
            .order_by(job.lease_expires_at)
        )
        with self._reading() as connection:
            found = connection.execute(query).all()
        return [Lease(JobKey(row.update_id, row.kind, row.arch), row.attempt, row.lease_expires_at) for row in found]

    def open_jobs(self) -> list[OpenJob]:
        """Every job that waits, may begin or is being done, without what an earlier attempt reported."""
        with self._reading() as connection:
            return work.open_jobs(connection)

    def past(self, last: int) -> list[Past]:
        """How the jobs of the last so many updates went that succeeded."""
        with self._reading() as connection:
            return work.past(connection, last)

    def due(self, now: datetime, longest: timedelta = A_DAY) -> list[Due]:
        """Outbox rows whose time has come, oldest first; one that is further ahead than `longest` is due as well.

        One that cannot be read stays for a version that can, and what waits for it says so.
        """
        box = tables.outbox
        come = sa.or_(box.c.due_at <= now, box.c.due_at > now + longest)
        query = sa.select(box).where(box.c.done.is_(False), come).order_by(box.c.number)
        with self._reading() as connection:
            found = connection.execute(query).mappings().all()
        return [due for due in map(self._read_due, found) if due is not None]

    def _read_due(self, row: sa.RowMapping) -> Due | None:
        """None where it cannot be read; the log says so once, and the row for ever."""
        try:
            return Due(row["number"], row["update_id"], rows.to_instruction(row), row["tries"])
        except (PatchfarmError, ValueError) as error:
            why = f"it cannot be carried out by this version: {error}"
        if row["last_error"] != why:
            _LOG.error("action=instruction-set-aside update=%s row=%s: %s", row["update_id"], row["number"], why)
            with self._writing() as connection:
                box = tables.outbox
                connection.execute(sa.update(box).where(box.c.number == row["number"]).values(last_error=why))
        return None

    def done(self, due: Due) -> None:
        """The instruction was carried out."""
        box = tables.outbox
        with self._writing() as connection:
            connection.execute(sa.update(box).where(box.c.number == due.number).values(done=True))

    def postpone(self, due: Due, until: datetime, why: str) -> None:
        """It could not be carried out now; counts a try."""
        box = tables.outbox
        later = {"due_at": until, "last_error": why, "tries": box.c.tries + 1}
        with self._writing() as connection:
            connection.execute(sa.update(box).where(box.c.number == due.number).values(later))

    def waiting(self, update: int) -> list[Waiting]:
        """What is left to be carried out for an update, oldest first."""
        if not 0 < update <= _LARGEST:
            return []
        box = tables.outbox.c
        query = (
            sa.select(box.name, box.tries, box.due_at, box.last_error)
            .where(box.update_id == update, box.done.is_(False))
            .order_by(box.number)
        )
        with self._reading() as connection:
            return [Waiting(row.name, row.tries, row.due_at, row.last_error) for row in connection.execute(query)]

    def tidy(self, before: datetime) -> None:
        """Forget what was due before then and is carried out, and what attempts that are over have brought."""
        box = tables.outbox
        with self._writing() as connection:
            connection.execute(sa.delete(box).where(box.c.done.is_(True), box.c.due_at < before))
            arrivals.forget(connection)

    def arrived(self, job: JobKey, attempt: int, sha256: str, size: int) -> None:
        """An attempt has brought a file, which is here now."""
        with self._writing() as connection:
            arrivals.add(connection, job, attempt, sha256, size)

    def brought(self, job: JobKey, attempt: int) -> dict[str, int]:
        """What an attempt that has not ended has brought: sizes by sha256."""
        with self._reading() as connection:
            return arrivals.of(connection, job, attempt)

    def seen(self, offer: Offer, at: datetime) -> None:
        """A worker gave a sign of life. Raises NotAllowed for one without a token."""
        with self._writing() as connection:
            roster.seen(connection, offer, at)

    def admit(self, name: str, trust_domain: str | None, clearance: Clearance | None) -> None:
        """The operator's word on a worker, whether it was seen or not; what is None stays, and whether it drains."""
        with self._writing() as connection:
            roster.admit(connection, name, trust_domain, clearance)

    def drain(self, name: str, draining: bool) -> None:
        """Give it nothing new, or something again. Raises UnknownName for one neither seen nor admitted."""
        with self._writing() as connection:
            roster.drain(connection, name, draining)

    def dismiss(self, name: str) -> None:
        """Forget a worker and its token, so that it cannot sign on again. Raises UnknownName."""
        with self._writing() as connection:
            roster.dismiss(connection, name)

    def workers(self) -> list[Worker]:
        """Every worker ever seen, by name. One that nobody admitted is its own trust domain and may see all."""
        with self._reading() as connection:
            return roster.known(connection)

    def held(self) -> list[Held]:
        """Every attempt that a worker has, the oldest first."""
        with self._reading() as connection:
            return roster.held(connection)

    def grant(self, name: str, role: Role, token_sha256: str) -> None:
        """Let the bearer of a token act as `name`; replaces that name's token of the role, and this token's name."""
        with self._writing() as connection:
            roster.grant(connection, name, role, token_sha256)

    def bearer(self, token_sha256: str) -> tuple[str, Role] | None:
        """Who bears that token."""
        with self._reading() as connection:
            return roster.bearer(connection, token_sha256)


def _beside(update: Update) -> parts.Chosen:
    """The updates of the same source that are on their way to the same suite."""
    row = tables.updates.c
    same = (row.suite == update.suite, row.source_name == update.source.name)
    return sa.select(row.id).where(*same, row.state.not_in(ENDED))


def _record(
    connection: sa.Connection, update: Update, entry: HistoryEntry, instructions: Sequence[Instruction]
) -> None:
    """History and outbox. An instruction that is due at once is so at the time of the event that led to it."""
    connection.execute(sa.insert(tables.history).values({"update_id": update.id} | vars(entry)))
    waiting = {"update_id": update.id, "tries": 0, "last_error": "", "done": False}
    for instruction in instructions:
        due = {"due_at": due_at(instruction, entry.at)}
        connection.execute(sa.insert(tables.outbox).values(waiting | due | rows.of_instruction(instruction)))


def _last(connection: sa.Connection, update: int) -> HistoryEntry:
    entry = tables.history.c
    query = sa.select(tables.history).where(entry.update_id == update).order_by(entry.sequence.desc()).limit(1)
    return rows.to_history(connection.execute(query).mappings().one())
