# SPDX-License-Identifier: GPL-3.0-or-later
"""What every Store promises about who has what, what attempts brought, and what goes in the end."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest

from coordinator.duty import Held
from coordinator.errors import NotAllowed
from coordinator.events import Plan, Ring
from coordinator.model import Job, JobState, Update
from coordinator.ports import Store
from tests.adapters.store_kit import MINUTE, NOW, at_once, job, leased, update
from workers.wire.arch import Arch
from workers.wire.order import JobKey, JobKind

KEY = JobKey(1, JobKind.BUILD, Arch.AMD64)
OTHER = replace(KEY, arch=Arch.ARM64)
SHA256 = "a" * 64


def add(store: Store, *jobs: Job) -> Update:
    return store.add(update(*jobs), "SourceAccepted", "", ())


def refuse_a_second(held: Sequence[Held]) -> None:
    """The worker has room for one."""
    if any(each.worker == "w1" for each in held):
        raise NotAllowed("it has one")


def test_a_save_is_checked_against_what_workers_have(store: Store) -> None:
    first, second = add(store, leased()), add(store, job())
    seen: list[Held] = []
    saved = store.save(second, second.with_job(leased(Arch.AMD64)), "JobClaimed", "", (), seen.extend)
    assert [(each.worker, each.job) for each in seen] == [("w1", replace(KEY, update=first.id))]
    assert store.load(second.id) == saved


def test_what_the_check_refuses_is_not_saved(store: Store) -> None:
    add(store, leased())
    second = add(store, job())
    with pytest.raises(NotAllowed):
        store.save(second, second.with_job(leased()), "JobClaimed", "", [Plan()], refuse_a_second)
    assert (store.load(second.id), store.due(NOW), len(store.history(second.id))) == (second, [], 1)


def test_of_many_claims_of_one_worker_for_many_jobs_as_many_win_as_it_has_room_for(store: Store) -> None:
    added = [add(store, job()) for _ in range(8)]

    def claim(before: Update) -> Update:
        return store.save(before, before.with_job(leased()), "JobClaimed", "", (), refuse_a_second)

    answers = at_once(*(partial(claim, each) for each in added))
    assert sum(isinstance(answer, Update) for answer in answers) == 1
    assert sum(isinstance(answer, NotAllowed) for answer in answers) == 7
    assert len(store.held()) == 1


def test_an_attempt_has_brought_what_it_brought_and_nothing_that_others_did(store: Store) -> None:
    add(store, leased(), leased(Arch.ARM64))
    assert at_once(*(partial(store.arrived, KEY, 1, SHA256, 3) for _ in range(4))) == [None] * 4
    store.arrived(KEY, 1, "b" * 64, 1 << 40)
    assert store.brought(KEY, 1) == {SHA256: 3, "b" * 64: 1 << 40}
    assert [store.brought(OTHER, 1), store.brought(KEY, 2)] == [{}] * 2
    assert store.brought(replace(KEY, kind=JobKind.TEST), 1) == {}


@pytest.mark.parametrize(("state", "attempt"), [(JobState.QUEUED, 2), (JobState.FAILED, 1)])
def test_what_attempts_that_are_over_have_brought_is_forgotten(store: Store, state: JobState, attempt: int) -> None:
    added = add(store, leased(), leased(Arch.ARM64))
    for key in (KEY, OTHER):
        store.arrived(key, 1, SHA256, 3)
    store.save(added, added.with_job(job(Arch.ARM64, state, attempt=attempt)), "JobEnded", "", ())
    store.tidy(NOW)
    assert [store.brought(key, 1) for key in (KEY, OTHER)] == [{SHA256: 3}, {}]


def test_what_waits_is_never_tidied_away(store: Store) -> None:
    store.add(update(), "SourceAccepted", "", [Plan(), Ring(JobKind.BUILD, Arch.AMD64, 1)])
    done, waits = store.due(NOW)
    store.done(done)
    store.tidy(NOW + MINUTE)
    store.add(update(), "SourceAccepted", "", [Plan()])
    assert [(due.update, due.instruction) for due in store.due(NOW)] == [(1, waits.instruction), (2, Plan())]
