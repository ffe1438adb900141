# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true of a farm whatever happens to it: at every save, and whenever nothing more happens by itself."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from coordinator.dispatch import Board, matches
from coordinator.duty import Held
from coordinator.errors import StaleUpdate
from coordinator.events import Instruction, Ring
from coordinator.model import Job, JobState, Update, UpdateState
from coordinator.pipeline import Confirm, Plan, Upload
from coordinator.ports import Lease
from coordinator.store import chain
from coordinator.work import SIGNED_INSIDE
from tests.fakes.archive import MemoryTarget
from tests.fakes.store import MemoryStore
from tests.fakes.world import HandBell
from tests.pipeline.test_invariants import check_state
from workers.wire.order import JobKey

S = UpdateState
#: How the engine notes an exception that is no error of ours.
_MISTAKE = re.compile(r"[A-Z]\w+: ")


class WatchedStore(MemoryStore):
    """A MemoryStore that lets nobody break a promise: attempts only grow, and each is leased once."""

    def __init__(self) -> None:
        super().__init__()
        self.leased: list[tuple[JobKey, int]] = []
        #: Happens once: after the engine has looked for lapsed leases and before it acts on them, or before a worker
        #: is dismissed.
        self.meanwhile: Callable[[], object] | None = None
        #: Updates that somebody else changes without a pause.
        self.busy: set[int] = set()

    def leases(self) -> list[Lease]:
        found = super().leases()
        self._happen()
        return found

    def dismiss(self, name: str) -> None:
        self._happen()
        super().dismiss(name)

    def _happen(self) -> None:
        happens, self.meanwhile = self.meanwhile, None
        if happens is not None:
            happens()

    def save(
        self,
        before: Update,
        after: Update,
        event: str,
        detail: str,
        instructions: Sequence[Instruction],
        check: Callable[[Sequence[Held]], None] | None = None,
    ) -> Update:
        if before.id in self.busy:
            raise StaleUpdate(f"update {before.id} is no longer at revision {before.revision}")
        saved = super().save(before, after, event, detail, instructions, check)
        for job in saved.jobs:
            self._watch(saved, before.job(job.kind, job.arch), job)
        check_state(saved)
        return saved

    def _watch(self, update: Update, old: Job | None, new: Job) -> None:
        assert old is None or new.attempt in (old.attempt, old.attempt + 1), new
        if new.state == JobState.LEASED and (old is None or old.state != JobState.LEASED):
            assert (update.key(new), new.attempt) not in self.leased, f"{new} is leased twice"
            self.leased.append((update.key(new), new.attempt))


def check_rest(store: WatchedStore, bell: HandBell, target: MemoryTarget, board: Board) -> None:
    """Every history is whole, nobody is forgotten, and what is published is what people approved.

    The engine outlives a mistake in an instruction and only notes it: here it comes to light, as do this file's own.
    """
    assert not [row for row in store.outbox.values() if _MISTAKE.match(row.last_error)]
    for update in store.updates(limit=1000):
        assert chain.first_break(update.id, store.history(update.id), update.revision) is None
        check_not_forgotten(store, update)
        if update.state == S.PUBLISHED:
            check_published(update, target)
    check_rung(store, bell, board)


def check_rung(store: WatchedStore, bell: HandBell, board: Board) -> None:
    """What a worker could begin now was rung for, or will be when the broker is back."""
    waiting = [row.due for row in store.outbox.values() if not row.done]
    bells = {(due.update, due.instruction) for due in waiting if isinstance(due.instruction, Ring)}
    for _worker, piece in matches(board):
        job = piece.open.job
        ring = Ring(job.kind, job.arch, job.attempt)
        delayed = {(update, replace(instruction, delay=0)) for update, instruction in bells}
        assert bell.times(piece.open.key, job.attempt) or (piece.open.update, ring) in delayed


def check_not_forgotten(store: WatchedStore, update: Update) -> None:
    """What goes on by itself has an instruction that waits for it."""
    waiting = [row.due.instruction for row in store.outbox.values() if row.due.update == update.id and not row.done]
    if update.state == S.RECEIVED:
        assert Plan() in waiting
    if update.state == S.PUBLISHING:
        assert (Confirm() if update.uploaded_at else Upload()) in waiting


def check_published(update: Update, target: MemoryTarget) -> None:
    """Enough people other than the submitter approved it, and every package that arrived is one that they did."""
    people = {approval.person for approval in update.valid_approvals()}
    assert update.submitter not in people
    assert len(people) >= update.approvals_needed
    approved = {*update.source.files, *update.built_files()}
    for file in approved:
        if not file.name.endswith(SIGNED_INSIDE):
            assert target.files[file.name] == file
