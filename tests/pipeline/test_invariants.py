# SPDX-License-Identifier: GPL-3.0-or-later
"""Random walks over the map: whatever the world does, and in whatever order, these things stay true."""

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.errors import Fenced, IllegalMove
from coordinator.model import ENDED, Job, JobState, Update, UpdateState
from coordinator.pipeline import TABLE, Confirm, Event, Instruction, Look, Planned, Ring, Upload, step
from tests.pipeline.walk import AT, BUILD, Walk, jobs_for, possible, stale
from workers.wire.arch import Arch

S = UpdateState
PLANS = [
    jobs_for((Arch.AMD64,), ()),
    jobs_for((Arch.ALL,), (Arch.AMD64,)),
    jobs_for((Arch.AMD64, Arch.ARM64), (Arch.AMD64, Arch.ARM64)),
    jobs_for((Arch.AMD64, Arch.ARM64, Arch.ALL), (Arch.AMD64, Arch.ARM64)),
]


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(PLANS), st.integers(1, 3))
def test_whatever_happens_the_invariants_hold(data: st.DataObject, plan: tuple[Job, ...], needed: int) -> None:
    update, said = step(Walk(needed).update, Planned(AT, plan))
    check_state(update)
    check_instructions(update, said)
    for _ in range(data.draw(st.integers(0, 60), label="steps")):
        refuses_the_past(update)
        events = [event for event in possible(update) if (update.state, type(event)) in TABLE]
        if not events:
            break
        event = data.draw(st.sampled_from(events))
        after, said = step(update, event)
        check_state(after)
        check_instructions(after, said)
        check_move(update, event, after)
        update = after


def refuses_the_past(update: Update) -> None:
    """No stale event changes anything, in any state."""
    for event in stale(update):
        try:
            step(update, event)
        except (Fenced, IllegalMove):
            continue
        raise AssertionError(f"{event} was taken in {update.state}")


def check_state(update: Update) -> None:
    """What is true of every update at rest."""
    if update.state in (S.AWAITING_APPROVAL, S.SIGNING, S.PUBLISHING, S.PUBLISHED):
        assert all(job.state == JobState.SUCCEEDED for job in update.jobs)
    if update.state in (S.SIGNING, S.PUBLISHING, S.PUBLISHED):
        assert len({approval.person for approval in update.valid_approvals()}) >= update.approvals_needed
    if update.state in (S.PUBLISHING, S.PUBLISHED):
        assert update.signed
    if update.state in ENDED:
        assert all(job.ended for job in update.jobs)
    check_no_dead_end(update)
    check_jobs(update)


def check_no_dead_end(update: Update) -> None:
    """An update that is being worked on has somebody to wait for."""
    if update.state in (S.PLANNED, S.BUILDING, S.TESTING):
        assert any(job.state in (JobState.QUEUED, JobState.LEASED, JobState.DEP_WAIT) for job in update.jobs)
    if update.state == S.BUILDING:
        assert not all(job.ended for job in update.of_kind(BUILD))
    if update.state == S.FAILED:
        assert update.reason
        assert update.blame is not None


def check_jobs(update: Update) -> None:
    """What is true of every job."""
    for job in update.jobs:
        assert (job.lease_expires_at is not None) == (job.state == JobState.LEASED), job
        assert (job.ended_at is not None) or not job.ended
        if job.state in (JobState.QUEUED, JobState.LEASED, JobState.SUCCEEDED):
            assert job.attempt >= 1
        if job.state == JobState.SUCCEEDED:
            assert job.report is not None
            assert job.report.attempt == job.attempt
        if job.state == JobState.DEP_WAIT:
            assert job.report is not None
            assert job.report.missing
            assert update.reason


def check_instructions(update: Update, said: tuple[Instruction, ...]) -> None:
    """Nobody is called for what is not there to be done."""
    for instruction in said:
        if isinstance(instruction, Ring):
            job = update.job(instruction.kind, instruction.arch)
            assert job is not None
            assert (job.state, job.attempt) == (JobState.QUEUED, instruction.attempt)
        if isinstance(instruction, Look):
            job = update.job(instruction.kind, instruction.arch)
            assert job is not None
            assert (job.state, job.attempt) == (JobState.DEP_WAIT, instruction.attempt)
        if isinstance(instruction, Upload | Confirm):
            assert update.state == S.PUBLISHING
    assert len(set(said)) == len(said)


def check_move(before: Update, event: Event, after: Update) -> None:
    """What is true of every step."""
    assert after.state in TABLE[before.state, type(event)].to
    assert (after.id, after.source, after.suite) == (before.id, before.source, before.suite)
    for old, new in zip(before.jobs, after.jobs, strict=True):
        assert (new.kind, new.arch) == (old.kind, old.arch)
        assert new.attempt in (old.attempt, old.attempt + 1)
        newly_queued = new.state == JobState.QUEUED and old.state != JobState.QUEUED
        assert newly_queued == (new.attempt > old.attempt)
    if before.signed:
        assert after.signed == before.signed
