# SPDX-License-Identifier: GPL-3.0-or-later
"""Every cell of state × event, and what each move means; reads beside TABLE in coordinator/pipeline.py."""

from typing import get_args

import pytest

from coordinator.errors import Blame, Fenced, IllegalMove
from coordinator.model import JobState, Update, UpdateState
from coordinator.pipeline import (
    FAULT_WAITS,
    MAX_FARM_FAULTS,
    TABLE,
    Approved,
    Cancelled,
    Confirm,
    Event,
    Plan,
    Published,
    Refused,
    Retried,
    Ring,
    Signed,
    Upload,
    Uploaded,
    Withdrawn,
    begin,
    step,
)
from tests.pipeline.walk import (
    AT,
    BUILD,
    FILES,
    TEST,
    Walk,
    approval_by,
    built_and_tested,
    claimed,
    ended,
    in_state,
    new_update,
    possible,
    refused,
    signed,
    some,
    stale,
    with_rebuilt,
)
from workers.wire.arch import Arch

S = UpdateState
EVENTS: tuple[type[Event], ...] = get_args(Event)
CELLS = [(state, kind) for state in UpdateState for kind in EVENTS]
BOTH = (Arch.AMD64, Arch.ARM64)


@pytest.mark.parametrize("state", UpdateState)
def test_an_update_comes_to_every_state_by_moves_of_the_table_alone(state: UpdateState) -> None:
    assert in_state(state).state == state


@pytest.mark.parametrize(("state", "kind"), [cell for cell in CELLS if cell in TABLE])
def test_a_legal_event_leads_to_a_state_that_the_table_names(state: UpdateState, kind: type[Event]) -> None:
    update = in_state(state)
    after, _ = step(update, some(kind, update))
    assert after.state in TABLE[state, kind].to


@pytest.mark.parametrize(("state", "kind"), [cell for cell in CELLS if cell not in TABLE])
def test_every_other_event_is_refused_with_the_state_and_the_update(state: UpdateState, kind: type[Event]) -> None:
    update = in_state(state)
    with pytest.raises(IllegalMove, match=f"update 12 is {state}"):
        step(update, some(kind, update))


def test_the_table_promises_no_move_that_cannot_happen() -> None:
    assert reachable() == {(state, kind, to) for (state, kind), move in TABLE.items() for to in move.to}


def reachable() -> set[tuple[UpdateState, type[Event], UpdateState]]:
    """Every move that some order of events brings about, in worlds of two architectures."""
    seen: set[object] = set()
    moves = set()
    start = Walk(approvals_needed=1).update
    first = [some(EVENTS[0], start), Withdrawn(AT, "sam", ""), Refused(AT, "", Blame.FARM)]
    todo: list[tuple[Update, list[Event]]] = [(start, first)]
    for builds, tests in ((BOTH, ()), ((Arch.AMD64,), BOTH)):
        grown = Walk(approvals_needed=1).plan(builds, tests).update
        todo.append((grown, list(possible(grown))))
    while todo:
        update, events = todo.pop()
        for event in (one for one in events if (update.state, type(one)) in TABLE):
            after, _ = step(update, event)
            moves.add((update.state, type(event), after.state))
            if shape(after) not in seen:
                seen.add(shape(after))
                todo.append((after, list(possible(after))))
    return moves


def shape(update: Update) -> object:
    """What decides how an update may go on; left out is what only grows, and how often a dependency was missed."""
    jobs = tuple((job.kind, job.arch, job.state, job.farm_faults, job.cancel) for job in update.jobs)
    return update.state, jobs, len(update.valid_approvals()), bool(update.signed), update.uploaded_at is None


def test_a_source_becomes_a_published_update() -> None:
    walk = Walk(approvals_needed=2)
    assert walk.now() == (S.RECEIVED, (Plan(),))
    walk.plan(builds=BOTH, tests=(Arch.AMD64,))
    assert walk.now() == (S.PLANNED, (Ring(BUILD, Arch.AMD64, 1), Ring(BUILD, Arch.ARM64, 1)))
    walk.do(BUILD, Arch.AMD64)
    assert walk.now() == (S.BUILDING, (Ring(TEST, Arch.AMD64, 1),))
    walk.do(BUILD, Arch.ARM64)
    assert walk.now() == (S.TESTING, ())
    walk.do(TEST, Arch.AMD64)
    assert walk.now() == (S.AWAITING_APPROVAL, ())
    walk.approve("alice")
    assert walk.now() == (S.AWAITING_APPROVAL, ())
    walk.approve("bob")
    assert walk.now() == (S.SIGNING, ())  # the signer pulls: there is nobody to tell
    walk.at(Signed(AT, FILES))
    assert walk.now() == (S.PUBLISHING, (Upload(),))
    walk.at(Uploaded(AT))
    assert walk.now() == (S.PUBLISHING, (Confirm(),))
    walk.at(Published(AT))
    assert walk.now() == (S.PUBLISHED, ())


# The fence.


@pytest.mark.parametrize("state", [S.BUILDING, S.TESTING])
def test_no_event_of_another_attempt_counts(state: UpdateState) -> None:
    update = in_state(state)
    late = [event for event in stale(update) if (state, type(event)) in TABLE]
    assert late
    for event in late:
        with pytest.raises(Fenced, match="does not count"):
            step(update, event)


def test_a_job_is_claimed_once() -> None:
    walk = Walk().plan(BOTH).claim(BUILD)
    with pytest.raises(Fenced, match="the job is leased, attempt 1"):
        walk.claim(BUILD)


def test_a_worker_that_was_thought_dead_cannot_end_the_job_of_its_successor() -> None:
    walk = Walk().plan().claim(BUILD)
    late = ended(walk.update, walk.job(BUILD, Arch.AMD64), JobState.SUCCEEDED)
    walk.lose(BUILD).claim(BUILD)
    with pytest.raises(Fenced, match="the job is leased, attempt 2"):
        walk.at(late)


def test_a_report_told_twice_counts_once() -> None:
    walk = Walk().plan(BOTH).do(BUILD)
    with pytest.raises(Fenced, match="the job is succeeded"):
        walk.end(BUILD)


def test_a_job_that_was_never_planned_cannot_be_claimed() -> None:
    walk = Walk().plan((Arch.AMD64,)).claim(BUILD)
    with pytest.raises(Fenced, match="the job is unknown"):
        walk.at(claimed(Walk().plan((Arch.S390X,)).job(BUILD, Arch.S390X)))


# Faults.


def test_a_fault_of_the_farm_rings_for_another_attempt() -> None:
    walk = Walk().plan().claim(BUILD).lose(BUILD)
    assert walk.said == (Ring(BUILD, Arch.AMD64, 2),)
    assert walk.job(BUILD, Arch.AMD64).worker == ""


def test_the_first_fault_is_answered_at_once_and_later_ones_after_a_while() -> None:
    walk = Walk().plan()
    delays = []
    for _ in FAULT_WAITS:
        (ring,) = walk.claim(BUILD).lose(BUILD).said
        assert isinstance(ring, Ring)
        delays.append(ring.delay)
    assert tuple(delays) == FAULT_WAITS
    assert FAULT_WAITS[0] == 0


def test_after_too_many_faults_of_the_farm_the_job_is_given_up_and_the_farm_is_to_blame() -> None:
    walk = Walk().plan()
    for _ in range(MAX_FARM_FAULTS):
        walk.claim(BUILD).lose(BUILD, reason="the mirror is unreachable")
    assert walk.job(BUILD, Arch.AMD64).attempt == MAX_FARM_FAULTS
    assert (walk.update.state, walk.update.blame) == (S.FAILED, Blame.FARM)
    assert f"given up after {MAX_FARM_FAULTS} faults" in walk.update.reason
    assert "the mirror is unreachable" in walk.update.reason


def test_the_workers_that_failed_a_job_are_remembered_until_a_retry() -> None:
    walk = Walk().plan().claim(BUILD).lose(BUILD).claim(BUILD).lose(BUILD)
    assert walk.job(BUILD, Arch.AMD64).failed_on == ("host-1",)
    walk.do(BUILD, state=JobState.FAILED).at(Retried(AT, "alice"))
    assert walk.job(BUILD, Arch.AMD64).failed_on == ()


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.UNINSTALLABLE])
def test_a_fault_of_the_package_is_never_tried_again_by_itself(state: JobState) -> None:
    walk = Walk().plan().do(BUILD, state=state)
    assert (walk.update.state, walk.update.blame, walk.said) == (S.FAILED, Blame.PACKAGE, ())
    assert walk.job(BUILD, Arch.AMD64).attempt == 1


def test_the_reason_of_a_failure_is_of_the_one_who_is_blamed() -> None:
    walk = Walk().plan(BOTH, ())
    for _ in range(MAX_FARM_FAULTS):
        walk.claim(BUILD).lose(BUILD)
    walk.do(BUILD, Arch.ARM64, JobState.FAILED)
    assert (walk.update.blame, walk.update.reason) == (Blame.PACKAGE, "build on arm64: it failed")


def test_the_other_architectures_go_on_when_one_failed() -> None:
    walk = Walk().plan(BOTH, BOTH).do(BUILD, Arch.AMD64, JobState.FAILED)
    assert walk.update.state == S.BUILDING
    assert walk.job(TEST, Arch.AMD64).reason == "its build did not succeed"
    assert walk.do(BUILD, Arch.ARM64).said == (Ring(TEST, Arch.ARM64, 1),)


# Tests wait for their own builds and no others.


def test_an_architecture_is_tested_as_soon_as_its_build_is_done() -> None:
    walk = Walk().plan(BOTH, BOTH).do(BUILD, Arch.ARM64)
    assert walk.said == (Ring(TEST, Arch.ARM64, 1),)
    assert walk.job(TEST, Arch.AMD64).state == JobState.WAITING
    assert walk.do(TEST, Arch.ARM64).update.state == S.BUILDING


def test_a_test_waits_for_the_architecture_independent_build_too() -> None:
    walk = Walk().plan((Arch.AMD64, Arch.ALL), (Arch.AMD64,))
    assert walk.do(BUILD, Arch.AMD64).said == ()
    assert walk.do(BUILD, Arch.ALL).said == (Ring(TEST, Arch.AMD64, 1),)


def test_every_test_is_called_off_when_the_architecture_independent_build_failed() -> None:
    walk = Walk().plan((Arch.AMD64, Arch.ALL), (Arch.AMD64,)).do(BUILD, Arch.ALL, JobState.FAILED)
    assert walk.job(TEST, Arch.AMD64).state == JobState.CANCELLED


def test_an_update_without_tests_waits_for_approval_after_its_builds() -> None:
    assert Walk().plan(BOTH, ()).do(BUILD).do(BUILD, Arch.ARM64).update.state == S.AWAITING_APPROVAL


# Cancel, retry, withdraw.


def test_cancel_before_anybody_began_ends_at_once_and_blames_no_package() -> None:
    walk = Walk().plan().at(Cancelled(AT, "alice"))
    assert (walk.update.state, walk.update.blame) == (S.FAILED, Blame.SUBMITTER)
    assert walk.update.reason == "cancelled by alice"


def test_cancel_asks_the_worker_to_stop_and_waits_until_it_did() -> None:
    walk = Walk().plan().claim(BUILD).at(Cancelled(AT, "alice"))
    assert (walk.update.state, walk.job(BUILD, Arch.AMD64).cancel) == (S.BUILDING, True)
    assert walk.end(BUILD, state=JobState.CANCELLED).update.state == S.FAILED


def test_a_worker_that_vanishes_after_cancel_is_not_waited_for_again() -> None:
    walk = Walk().plan().claim(BUILD).at(Cancelled(AT, "alice")).lose(BUILD)
    assert (walk.update.state, walk.said) == (S.FAILED, ())


def test_a_cancelled_update_does_not_go_on_because_a_worker_was_quicker() -> None:
    walk = Walk().plan().do(BUILD).claim(TEST).at(Cancelled(AT, "alice")).end(TEST)
    assert (walk.update.state, walk.update.reason) == (S.FAILED, "cancelled by alice")


def test_retry_does_again_what_did_not_succeed_and_keeps_what_did() -> None:
    walk = Walk().plan(BOTH, BOTH).do(BUILD).do(TEST).do(BUILD, Arch.ARM64, JobState.FAILED)
    walk.at(Retried(AT, "alice"))
    assert (walk.update.state, walk.said) == (S.BUILDING, (Ring(BUILD, Arch.ARM64, 2),))
    assert walk.job(TEST, Arch.AMD64).state == JobState.SUCCEEDED
    assert walk.job(TEST, Arch.ARM64).state == JobState.WAITING


def test_retry_of_a_failed_test_does_not_build_again() -> None:
    walk = Walk().plan().do(BUILD).do(TEST, state=JobState.FAILED).at(Retried(AT, "alice"))
    assert (walk.update.state, walk.said) == (S.TESTING, (Ring(TEST, Arch.AMD64, 2),))


def test_retry_forgives_the_faults_of_the_farm() -> None:
    walk = Walk().plan()
    for _ in range(MAX_FARM_FAULTS):
        walk.claim(BUILD).lose(BUILD)
    walk.at(Retried(AT, "alice")).claim(BUILD).lose(BUILD)
    assert walk.update.state == S.BUILDING


def test_a_cancelled_update_can_be_taken_up_again() -> None:
    walk = Walk().plan().claim(BUILD).at(Cancelled(AT, "alice")).lose(BUILD).at(Retried(AT, "alice"))
    assert (walk.update.reason, walk.job(BUILD, Arch.AMD64).cancel) == ("", False)
    assert walk.do(BUILD).do(TEST).update.state == S.AWAITING_APPROVAL


def test_retry_after_the_signer_refused_asks_the_signer_again() -> None:
    walk = refused()
    assert walk.update.state == S.FAILED
    assert walk.at(Retried(AT, "alice")).update.state == S.SIGNING


def test_what_the_signer_refused_may_be_approved_by_more_people_and_waits_for_a_retry() -> None:
    walk = refused().approve("carol")
    assert (walk.update.state, walk.update.reason) == (S.FAILED, "unknown certificate")
    walk.at(Retried(AT, "alice"))
    assert [approval.person for approval in walk.update.valid_approvals()] == ["alice", "bob", "carol"]
    assert walk.update.state == S.SIGNING


@pytest.mark.parametrize("walk", [Walk().plan().do(BUILD, state=JobState.FAILED), signed()])
def test_no_other_failure_is_approved(walk: Walk) -> None:
    failed = walk.update if walk.update.state == S.FAILED else walk.at(Refused(AT, "no room", Blame.FARM)).update
    with pytest.raises(IllegalMove, match="update 12 is failed: approved is not possible now"):
        step(failed, Approved(AT, approval_by("carol", failed)))


def test_a_retry_does_not_count_the_approvals_of_people_who_are_gone() -> None:
    walk = refused()
    walk.at(Retried(AT, "alice", walk.update.approvals[1:]))
    assert walk.update.state == S.AWAITING_APPROVAL
    assert [approval.person for approval in walk.update.approvals] == ["alice"]


def test_an_approval_is_not_made_enough_by_one_of_somebody_who_is_gone() -> None:
    walk = built_and_tested().approve("alice")
    walk.at(Approved(AT, approval_by("bob", walk.update), walk.update.approvals))
    assert walk.update.state == S.AWAITING_APPROVAL
    assert [approval.person for approval in walk.update.approvals] == ["bob"]


def test_what_was_signed_is_uploaded_again_whoever_is_gone_since() -> None:
    walk = signed().at(Refused(AT, "no room", Blame.FARM))
    walk.at(Retried(AT, "alice", walk.update.approvals))
    assert (walk.update.state, len(walk.update.valid_approvals())) == (S.PUBLISHING, 2)


def test_retry_after_the_target_refused_uploads_from_the_start_what_was_signed() -> None:
    walk = signed().at(Uploaded(AT)).at(Refused(AT, "it never showed", Blame.FARM)).at(Retried(AT, "alice"))
    assert (walk.update.state, walk.said) == (S.PUBLISHING, (Upload(),))
    assert (walk.update.uploaded_at, walk.update.signed) == (None, FILES)


def test_withdrawing_ends_all_work_for_good() -> None:
    walk = Walk().plan(BOTH).claim(BUILD).at(Withdrawn(AT, "sam", "wrong branch"))
    assert {job.state for job in walk.update.jobs} == {JobState.CANCELLED}
    assert walk.update.reason == "withdrawn by sam: wrong branch"
    with pytest.raises(IllegalMove):
        walk.at(Retried(AT, "sam"))


def test_what_is_on_its_way_to_the_archive_cannot_be_taken_back() -> None:
    with pytest.raises(IllegalMove, match="withdrawn is not possible now"):
        signed().at(Withdrawn(AT, "sam", "too late"))


def test_a_worker_that_stops_though_nobody_asked_is_a_fault_of_the_farm() -> None:
    walk = Walk().plan().do(BUILD, state=JobState.CANCELLED)
    assert (walk.update.state, walk.said) == (S.BUILDING, (Ring(BUILD, Arch.AMD64, 2),))
    assert walk.job(BUILD, Arch.AMD64).farm_faults == 1


# Approvals.


def test_one_person_counts_once_however_often_they_sign() -> None:
    assert built_and_tested().approve("alice", "alice").update.state == S.AWAITING_APPROVAL


def test_an_approval_of_other_bytes_does_not_count() -> None:
    walk = built_and_tested().approve("alice")
    walk.at(Approved(AT, approval_by("bob", walk.update, digest="0" * 64)))
    assert (walk.update.state, len(walk.update.valid_approvals())) == (S.AWAITING_APPROVAL, 1)


def test_approvals_are_void_once_a_digest_changed() -> None:
    update = with_rebuilt(built_and_tested().approve("alice").update)
    assert update.valid_approvals() == ()
    after, _ = step(update, Approved(AT, approval_by("bob", update)))
    assert after.state == S.AWAITING_APPROVAL


def test_a_new_signature_of_a_person_replaces_the_void_one() -> None:
    update = with_rebuilt(built_and_tested().approve("alice").update)
    after, _ = step(update, Approved(AT, approval_by("alice", update)))
    assert [approval.person for approval in after.valid_approvals()] == ["alice"]


def test_an_update_begins_by_being_planned() -> None:
    assert begin(new_update()) == (new_update(), (Plan(),))
