# SPDX-License-Identifier: GPL-3.0-or-later
"""What every Store promises, on memory, SQLite and PostgreSQL."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta, timezone
from functools import partial

import pytest

from coordinator.errors import Fenced, NotNewer, StaleUpdate, UnknownName
from coordinator.events import Confirm, Plan, Ring, Upload
from coordinator.model import JobState, OpenJob, Origin, Past, Update, UpdateState, Urgency, Waiting
from coordinator.ports import Lease, Store
from coordinator.store import chain
from tests.adapters.store_kit import DSC, MINUTE, NOW, at_once, full, job, leased, update
from workers.wire.arch import Arch, Tier
from workers.wire.order import JobKey, JobKind
from workers.wire.report import Outcome, Report, StepTiming, Usage

KEY = JobKey(1, JobKind.BUILD, Arch.AMD64)
RING = Ring(JobKind.BUILD, Arch.AMD64, 1)


def add(store: Store, made: Update) -> Update:
    return store.add(made, "SourceAccepted", "hello 1.1", ())


def save(store: Store, before: Update, after: Update) -> Update:
    return store.save(before, after, "Something", "a detail", ())


def test_an_update_comes_back_as_it_was_kept(store: Store) -> None:
    added = add(store, full())
    assert added == replace(full(), id=1, revision=1)
    assert store.load(1) == added


def test_an_update_comes_back_as_it_was_saved(store: Store) -> None:
    added = add(store, update(leased(), job(Arch.ALL)))
    saved = save(store, added, replace(full(), id=1, revision=1))
    assert saved.revision == 2
    assert store.load(1) == saved


def test_times_come_back_in_utc_whatever_zone_they_were_given_in(store: Store) -> None:
    there = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    add(store, update(changed_at=there))
    assert store.load(1).changed_at == NOW
    assert chain.first_break(1, store.history(1)) is None


@pytest.mark.parametrize("number", [0, -1, 2, 2**31, 2**63, 10**30])
def test_an_update_that_nobody_added_is_unknown(store: Store, number: int) -> None:
    add(store, update())
    with pytest.raises(UnknownName, match=str(number)):
        store.load(number)
    assert store.history(number) == []


def test_jobs_can_be_planned_anew_in_another_order(store: Store) -> None:
    added = add(store, update(job(Arch.AMD64), job(Arch.I386), job(Arch.ALL)))
    saved = save(store, added, replace(added, jobs=(job(Arch.S390X), job(Arch.ALL), job(Arch.AMD64))))
    assert store.load(1) == saved


def test_approvals_and_signed_files_can_be_taken_back(store: Store) -> None:
    added = add(store, full())
    saved = save(store, added, replace(added, approvals=added.approvals[1:], signed=(), uploaded_at=None))
    assert store.load(1) == saved


def test_updates_come_newest_first_and_by_state(store: Store) -> None:
    for state in (UpdateState.FAILED, UpdateState.SIGNING, UpdateState.FAILED):
        add(store, replace(full(), state=state))
    assert [found.id for found in store.updates()] == [3, 2, 1]
    assert [found.id for found in store.updates([UpdateState.FAILED])] == [3, 1]
    assert [found.id for found in store.updates([UpdateState.SIGNING, UpdateState.FAILED], limit=2)] == [3, 2]
    assert store.updates(limit=1) == [store.load(3)]


def test_the_second_of_two_writers_is_stale_and_changes_nothing(store: Store) -> None:
    added = add(store, update(job()))
    saved = save(store, added, added.with_job(leased()))
    with pytest.raises(StaleUpdate, match="revision 1"):
        store.save(added, replace(added, reason="late", signed=(DSC,)), "Late", "", [Plan()])
    assert store.load(1) == saved
    assert len(store.history(1)) == 2
    assert store.due(NOW) == []


def test_a_save_of_an_update_that_is_not_there_is_stale(store: Store) -> None:
    with pytest.raises(StaleUpdate):
        save(store, update(id=7), update(id=7))


def test_of_many_claims_at_once_exactly_one_wins(store: Store) -> None:
    added = add(store, update(job()))

    def claim(worker: str) -> Update:
        return save(store, added, added.with_job(replace(leased(), worker=worker)))

    answers = at_once(*(partial(claim, f"w{number}") for number in range(8)))
    winners = [answer for answer in answers if isinstance(answer, Update)]
    assert winners == [store.load(1)]
    assert sum(isinstance(answer, StaleUpdate) for answer in answers) == 7


def test_updates_added_at_once_get_ids_of_their_own(store: Store) -> None:
    answers = at_once(*(lambda: add(store, full()) for _ in range(6)))
    assert sorted(found.id for found in answers if isinstance(found, Update)) == [1, 2, 3, 4, 5, 6]


def test_instructions_are_in_the_outbox_with_the_state_that_asked_for_them(store: Store) -> None:
    added = store.add(update(), "SourceAccepted", "", [Plan()])
    store.save(added, added, "Planned", "", [RING, Upload(), Confirm()])
    found = store.due(NOW)
    assert [due.instruction for due in found] == [Plan(), RING, Upload(), Confirm()]
    assert [(due.update, due.tries) for due in found] == [(1, 0)] * 4


def test_an_instruction_is_due_at_the_time_of_its_event_and_not_before(store: Store) -> None:
    store.add(update(), "SourceAccepted", "", [Plan()])
    assert store.due(NOW - timedelta(microseconds=1)) == []
    assert len(store.due(NOW)) == 1


def test_an_instruction_that_was_carried_out_is_not_due_again(store: Store) -> None:
    store.add(update(), "SourceAccepted", "", [Plan(), RING])
    store.done(store.due(NOW)[0])
    assert [due.instruction for due in store.due(NOW)] == [RING]


def test_a_postponed_instruction_waits_and_counts_its_tries(store: Store) -> None:
    store.add(update(), "SourceAccepted", "", [Plan()])
    store.postpone(store.due(NOW)[0], NOW + MINUTE, "no worker yet")
    assert store.due(NOW) == []
    store.postpone(store.due(NOW + MINUTE)[0], NOW + MINUTE, "still none")
    assert [due.tries for due in store.due(NOW + MINUTE)] == [2]


def test_what_a_wrong_clock_put_off_for_longer_than_anything_ever_is_is_due(store: Store) -> None:
    store.add(update(), "SourceAccepted", "", [RING])
    store.postpone(store.due(NOW)[0], NOW + 3 * MINUTE, "no worker yet")
    assert store.due(NOW, 3 * MINUTE) == []
    assert len(store.due(NOW, 2 * MINUTE)) == 1


def test_a_lease_is_prolonged_and_the_revision_stays(store: Store) -> None:
    added = add(store, update(leased(), leased(Arch.ALL)))
    assert store.renew(KEY, 1, "w1", NOW + 9 * MINUTE) is False
    assert store.load(1) == added.with_job(replace(leased(), lease_expires_at=NOW + 9 * MINUTE))


def test_a_heartbeat_hears_that_the_job_is_to_be_cancelled(store: Store) -> None:
    add(store, update(replace(leased(), cancel=True)))
    assert store.renew(KEY, 1, "w1", NOW) is True


@pytest.mark.parametrize(
    ("key", "attempt", "worker"),
    [
        (KEY, 2, "w1"),
        (KEY, 0, "w1"),
        (KEY, 1, "w2"),
        (replace(KEY, arch=Arch.ALL), 1, "w1"),
        (replace(KEY, kind=JobKind.TEST), 1, "w1"),
        (replace(KEY, update=10**30), 1, "w1"),
        (KEY, 10**30, "w1"),
    ],
)
def test_an_attempt_that_does_not_hold_the_lease_is_fenced(
    store: Store, key: JobKey, attempt: int, worker: str
) -> None:
    added = add(store, update(leased(), job(Arch.ALL)))
    with pytest.raises(Fenced):
        store.renew(key, attempt, worker, NOW + 9 * MINUTE)
    assert store.load(1) == added


@pytest.mark.parametrize("state", [state for state in JobState if state != JobState.LEASED])
def test_no_lease_is_renewed_that_has_ended(store: Store, state: JobState) -> None:
    add(store, update(replace(leased(), state=state)))
    with pytest.raises(Fenced):
        store.renew(KEY, 1, "w1", NOW + 9 * MINUTE)


def test_a_save_keeps_the_leases_that_were_renewed_since_it_read(store: Store) -> None:
    before = add(store, update(leased(), leased(Arch.ALL)))
    for arch in (Arch.AMD64, Arch.ALL):
        store.renew(replace(KEY, arch=arch), 1, "w1", NOW + 9 * MINUTE)
    save(store, before, before.with_job(replace(leased(), cancel=True)))
    after = store.load(1)
    assert [found.lease_expires_at for found in after.jobs] == [NOW + 9 * MINUTE] * 2
    assert [found.cancel for found in after.jobs] == [True, False]


def test_every_lease_is_told_with_its_end_the_next_one_first(store: Store) -> None:
    add(store, update(leased(), job(Arch.I386), replace(leased(Arch.ALL), lease_expires_at=NOW)))
    assert store.leases() == [Lease(replace(KEY, arch=Arch.ALL), 1, NOW), Lease(KEY, 1, NOW + MINUTE)]
    store.renew(KEY, 1, "w1", NOW + 9 * MINUTE)
    assert store.leases()[1].until == NOW + 9 * MINUTE


def test_open_jobs_come_with_their_update_and_without_what_an_earlier_attempt_reported(store: Store) -> None:
    add(store, full())
    add(store, update(job(failed_on=("w1", "w2")), job(Arch.I386, JobState.FAILED), leased(Arch.ARM64)))
    found = store.open_jobs()
    assert [(each.key, each.job.state) for each in found] == [
        (JobKey(1, JobKind.BUILD, Arch.ALL), JobState.WAITING),
        (JobKey(2, JobKind.BUILD, Arch.AMD64), JobState.QUEUED),
        (JobKey(2, JobKind.BUILD, Arch.ARM64), JobState.LEASED),
    ]
    assert found[1] == OpenJob(
        2, "hello", Origin.UPLOAD, Urgency.HIGH, "debian/bookworm-security", "0" * 64, job(failed_on=("w1", "w2"))
    )


def test_the_past_is_what_succeeded_of_the_last_updates(store: Store) -> None:
    took = timedelta(seconds=90)
    for kind in (JobKind.BUILD, JobKind.TEST):
        key = JobKey(1, kind, Arch.AMD64)
        used = Usage(60.0, 1 << 40, 9, 0)
        report = Report(
            key,
            1,
            Outcome.FINISHED,
            "",
            (StepTiming("compile", 0, 40.0, 1.0),),
            (),
            "",
            "",
            Tier.NATIVE,
            "w1",
            usage=used,
        )
        done = replace(leased(), kind=kind, state=JobState.SUCCEEDED, ended_at=NOW + took, report=report)
        add(store, update(done, leased(Arch.I386)))
    last = Past("hello", JobKind.TEST, Arch.AMD64, Tier.NATIVE, 40.0, 60.0, 1 << 40)
    assert store.past(2) == [replace(last, kind=JobKind.BUILD), last]
    assert store.past(1) == [last]


def test_the_history_tells_what_happened_and_in_which_state_it_left_the_update(store: Store) -> None:
    added = add(store, update(state=UpdateState.RECEIVED))
    later = replace(added, state=UpdateState.FAILED, changed_at=NOW + MINUTE)
    store.save(added, later, "Cancelled", "by sam", ())
    told = [(entry.sequence, entry.at, entry.state, entry.event, entry.detail) for entry in store.history(1)]
    assert told == [
        (1, NOW, UpdateState.RECEIVED, "SourceAccepted", "hello 1.1"),
        (2, NOW + MINUTE, UpdateState.FAILED, "Cancelled", "by sam"),
    ]


def test_the_history_is_a_whole_chain_even_of_what_no_database_can_hold(store: Store) -> None:
    saved = add(store, update())
    for detail in ("plain", "Grüße\n…", "nul \0 and half \ud800"):
        saved = store.save(saved, saved, "Something", detail, ())
    assert chain.first_break(1, store.history(1), saved.revision) is None


def test_the_chains_of_two_updates_differ(store: Store) -> None:
    first, second = add(store, update()), add(store, update())
    assert chain.first_break(first.id, store.history(second.id)) == 1


def test_what_waits_can_be_read_with_the_reason(store: Store) -> None:
    store.add(update(), "SourceAccepted", "", [Plan(), RING])
    store.add(update(), "SourceAccepted", "", [Plan()])
    store.postpone(store.due(NOW)[0], NOW + MINUTE, "no worker yet")
    assert store.waiting(1) == [Waiting("Plan", 1, NOW + MINUTE, "no worker yet"), Waiting("Ring", 0, NOW, "")]
    store.done(store.due(NOW)[0])
    assert [waiting.instruction for waiting in store.waiting(1)] == ["Plan"]
    assert store.waiting(10**30) == []


def test_an_update_is_checked_against_those_of_its_source_that_are_on_their_way(store: Store) -> None:
    others = [update(), update(state=UpdateState.FAILED), update(suite="trixie-security"), update()]
    open_ones = [add(store, other) for other in others][0::3]
    seen: list[Update] = []
    store.add(update(), "SourceAccepted", "", (), seen.extend)
    assert sorted(seen, key=lambda other: other.id) == open_ones


def test_an_update_that_the_check_refuses_is_not_kept(store: Store) -> None:
    with pytest.raises(NotNewer):
        store.add(update(), "SourceAccepted", "", [Plan()], refuse_all)
    assert (store.updates(), store.due(NOW)) == ([], [])


def refuse_all(_others: Sequence[Update]) -> None:
    raise NotNewer("not today")


def test_of_many_submissions_at_once_that_exclude_each_other_one_is_kept(store: Store) -> None:
    def refuse_beside(others: Sequence[Update]) -> None:
        if others:
            raise NotNewer("it is on its way already")

    adds = (partial(store.add, update(), "SourceAccepted", "", (), refuse_beside) for _ in range(6))
    answers = at_once(*adds)
    assert sum(isinstance(answer, NotNewer) for answer in answers) == 5
    assert len(store.updates()) == 1
