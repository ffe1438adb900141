# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true of a farm whatever happens to it: at every save, and whenever nothing more happens by itself."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime

from coordinator.events import Instruction, Ring
from coordinator.model import Job, JobState, Update, UpdateState
from coordinator.pipeline import Confirm, Plan, Upload
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
        #: Happens once, after the engine has looked for lapsed leases and before it acts on them.
        self.meanwhile: Callable[[], object] | None = None

    def lapsed(self, now: datetime) -> list[tuple[JobKey, int]]:
        found = super().lapsed(now)
        happens, self.meanwhile = self.meanwhile, None
        if happens is not None:
            happens()
        return found

    def save(
        self, before: Update, after: Update, event: str, detail: str, instructions: Sequence[Instruction]
    ) -> Update:
        saved = super().save(before, after, event, detail, instructions)
        for job in saved.jobs:
            self._watch(saved, before.job(job.kind, job.arch), job)
        check_state(saved)
        return saved

    def _watch(self, update: Update, old: Job | None, new: Job) -> None:
        assert old is None or new.attempt in (old.attempt, old.attempt + 1), new
        if new.state == JobState.LEASED and (old is None or old.state != JobState.LEASED):
            assert (update.key(new), new.attempt) not in self.leased, f"{new} is leased twice"
            self.leased.append((update.key(new), new.attempt))


def check_rest(store: WatchedStore, bell: HandBell, target: MemoryTarget) -> None:
    """Every history is whole, nobody is forgotten, and what is published is what people approved.

    The engine outlives a mistake in an instruction and only notes it: here it comes to light, as do this file's own.
    """
    assert not [row for row in store.outbox.values() if _MISTAKE.match(row.last_error)]
    for update in store.updates(limit=1000):
        assert chain.first_break(update.id, store.history(update.id), update.revision) is None
        check_not_forgotten(store, bell, update)
        if update.state == S.PUBLISHED:
            check_published(update, target)


def check_not_forgotten(store: WatchedStore, bell: HandBell, update: Update) -> None:
    """What goes on by itself has an instruction that waits for it, and every queued attempt was or will be rung."""
    waiting = [row.due.instruction for row in store.outbox.values() if row.due.update == update.id and not row.done]
    if update.state == S.RECEIVED:
        assert Plan() in waiting
    if update.state == S.PUBLISHING:
        assert (Confirm() if update.uploaded_at else Upload()) in waiting
    for job in update.jobs:
        if job.state == JobState.QUEUED:
            rung = bell.times(update.key(job), job.attempt)
            bells = [(due.kind, due.arch, due.attempt) for due in waiting if isinstance(due, Ring)]
            assert rung or (job.kind, job.arch, job.attempt) in bells


def check_published(update: Update, target: MemoryTarget) -> None:
    """Enough people other than the submitter approved it, and every package that arrived is one that they did."""
    people = {approval.person for approval in update.valid_approvals()}
    assert update.submitter not in people
    assert len(people) >= update.approvals_needed
    approved = {*update.source.files, *update.built_files()}
    for file in approved:
        if not file.name.endswith(SIGNED_INSIDE):
            assert target.files[file.name] == file
