# SPDX-License-Identifier: GPL-3.0-or-later
"""THE MAP: which event may follow in which state, what it changes, and what is to be done about it.

Pure: `step(update, event)` returns the new update and the instructions to carry out; it does no input or output,
reads no clock and decides nothing that needs a recipe. An event without a row in TABLE raises IllegalMove.
The events and instructions themselves are in events.py, and can be imported from here too.

    intake → plan → build → test → approve → sign → publish
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from coordinator.errors import IllegalMove
from coordinator.events import (
    Approved,
    Cancelled,
    Confirm,
    DependenciesMet,
    Event,
    Instruction,
    JobClaimed,
    JobEnded,
    JobGivenBack,
    JobLost,
    Look,
    Plan,
    Planned,
    Published,
    Refused,
    Retried,
    Ring,
    Signed,
    Upload,
    Uploaded,
    Withdrawn,
)
from coordinator.model import Approval, Job, JobState, Update, UpdateState
from coordinator.progress import Result, anew, await_approval, current, queued, ring, settle
from workers.wire.report import Report

__all__ = [
    "DEP_WAITS",
    "FAULT_WAITS",
    "MAX_FARM_FAULTS",
    "MAX_GIVEN_BACK",
    "MAX_MISSES",
    "TABLE",
    "Approved",
    "Cancelled",
    "Confirm",
    "DependenciesMet",
    "Event",
    "Instruction",
    "JobClaimed",
    "JobEnded",
    "JobGivenBack",
    "JobLost",
    "Look",
    "Move",
    "Plan",
    "Planned",
    "Published",
    "Refused",
    "Result",
    "Retried",
    "Ring",
    "Signed",
    "Upload",
    "Uploaded",
    "Withdrawn",
    "begin",
    "step",
]

#: How long a job waits after each fault of the farm, in seconds: what no other worker does better may pass by itself.
FAULT_WAITS = (0, 30, 120)
#: A job whose attempts ended this often by the farm's own doing is given up.
MAX_FARM_FAULTS = len(FAULT_WAITS) + 1
#: How long the archive is not looked at for a job that misses something, in seconds: longer each time that the archive
#: seemed to have it and apt missed the same again. Where even the last did not help, it cannot be installed.
DEP_WAITS = (30, 300, 1200)
#: A job that came into Dep-Wait this often, for whatever was missing, is given up: an honest worker finds its end.
MAX_MISSES = 20
#: A job that was given back this often was stopped by many restarts; from then on it counts as a fault of the farm's,
#: so that a worker which gives back whatever it gets does not do so for ever.
MAX_GIVEN_BACK = 20
#: The longest that any instruction is put off by the map.
LONGEST_DELAY = max(*FAULT_WAITS, *DEP_WAITS)


def step(update: Update, event: Event) -> Result:
    """What the event makes of the update. Raises IllegalMove or, for an attempt that is not the current one, Fenced."""
    move = TABLE.get((update.state, type(event)))
    if move is None:
        raise _impossible(update, event)
    after, instructions = move.make(update, event)
    if after.state not in move.to:
        raise AssertionError(
            f"{type(event).__name__} led from {update.state} to {after.state}, which TABLE does not name"
        )
    return replace(after, changed_at=event.at), instructions


def begin(update: Update) -> Result:
    """The first step of an update that intake accepted."""
    return replace(update, state=UpdateState.RECEIVED), (Plan(),)


def _impossible(update: Update, event: Event) -> IllegalMove:
    name = type(event).__name__
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
    return IllegalMove(f"update {update.id} is {update.state}: {words} is not possible now")


def _plan(update: Update, event: Planned) -> Result:
    jobs = tuple(queued(job, event.at) if job.state == JobState.QUEUED else job for job in event.jobs)
    planned = replace(update, state=UpdateState.PLANNED, jobs=jobs)
    return planned, tuple(ring(job) for job in jobs if job.state == JobState.QUEUED)


def _claim(update: Update, event: JobClaimed) -> Result:
    job = current(update, event.kind, event.arch, event.attempt, JobState.QUEUED)
    leased = replace(
        job,
        state=JobState.LEASED,
        worker=event.worker,
        tier=event.tier,
        lease_expires_at=event.lease_expires_at,
        claim=event.claim,
        started_at=event.at,
        ended_at=None,
        reason="",
    )
    state = UpdateState.BUILDING if update.state == UpdateState.PLANNED else update.state
    return replace(update.with_job(leased), state=state), ()


def _end(update: Update, event: JobEnded) -> Result:
    job = current(update, event.kind, event.arch, event.attempt, JobState.LEASED)
    if event.state == JobState.CANCELLED and not job.cancel:
        return _lose(update, JobLost(event.at, job.kind, job.arch, job.attempt, "stopped, and nobody had asked for it"))
    if event.state == JobState.DEP_WAIT and not job.cancel:
        return _miss(update, job, event)
    ended = replace(
        job,
        state=JobState.CANCELLED if job.cancel else event.state,
        reason=event.reason,
        report=event.report,
        tests=event.tests,
        ended_at=event.at,
        lease_expires_at=None,
    )
    return settle(update.with_job(ended), event.at)


def _miss(update: Update, job: Job, event: JobEnded) -> Result:
    """The job waits for its dependencies, unless the archive has had the same ones for long enough.

    Where an index was left out, apt did not see all that the archive has: that is no word against the package.
    """
    again = job.report is not None and _wanted(job.report) == _wanted(event.report)
    reported = replace(
        job,
        state=JobState.DEP_WAIT,
        reason=event.reason,
        report=event.report,
        ended_at=event.at,
        lease_expires_at=None,
        dep_waits=job.dep_waits + 1 if again else 1,
        misses=job.misses + 1,
    )
    if reported.misses > MAX_MISSES:
        reason = f"given up after {MAX_MISSES} waits for dependencies; the last: {event.reason}"
        given_up = replace(reported, state=JobState.FAILED, reason=reason, report=None)
        return settle(update.with_job(given_up), event.at)
    if reported.dep_waits > len(DEP_WAITS) and not event.report.left_out:
        reason = f"{event.report.reason}, though the archive has what is missing"
        return settle(update.with_job(replace(reported, state=JobState.UNINSTALLABLE, reason=reason)), event.at)
    after, released = settle(_named_waits(update.with_job(reported)), event.at)
    wait = DEP_WAITS[min(reported.dep_waits, len(DEP_WAITS)) - 1]
    return after, (*released, Look(job.kind, job.arch, job.attempt, wait))


def _wanted(report: Report) -> tuple[object, ...]:
    """What was missing, and from how much of the archive."""
    return report.missing, report.left_out


def _meet(update: Update, event: DependenciesMet) -> Result:
    job = current(update, event.kind, event.arch, event.attempt, JobState.DEP_WAIT)
    again = queued(replace(job, reason=""), event.at)
    return _named_waits(update.with_job(again)), (ring(again),)


def _retry_waits(update: Update, event: Retried) -> Result:
    """Nobody looks whether the archive has it: a person says so."""
    waiting = [job for job in update.jobs if job.state == JobState.DEP_WAIT]
    if not waiting:
        raise _impossible(update, event)
    rung = []
    for job in waiting:
        again = queued(replace(job, reason="", dep_waits=0, misses=0), event.at)
        update = update.with_job(again)
        rung.append(ring(again))
    return _named_waits(update), tuple(rung)


def _named_waits(update: Update) -> Update:
    """The same, with what the first job in Dep-Wait waits for as the update's own reason."""
    first = next((job for job in update.jobs if job.state == JobState.DEP_WAIT), None)
    return replace(update, reason="" if first is None else f"{first.kind} on {first.arch} {first.reason}")


def _lose(update: Update, event: JobLost) -> Result:
    job = current(update, event.kind, event.arch, event.attempt, JobState.LEASED)
    faults = job.farm_faults + 1
    failed_on = tuple(dict.fromkeys((*job.failed_on, job.worker)))
    lost = replace(
        job, farm_faults=faults, failed_on=failed_on, lease_expires_at=None, reason=event.reason, ended_at=event.at
    )
    if job.cancel:
        return settle(update.with_job(replace(lost, state=JobState.CANCELLED)), event.at)
    # The report of an attempt before this one says nothing of how the job ended.
    if faults >= MAX_FARM_FAULTS:
        reason = f"given up after {faults} faults of the farm; the last: {event.reason}"
        return settle(update.with_job(replace(lost, state=JobState.FAILED, reason=reason, report=None)), event.at)
    wait = FAULT_WAITS[faults - 1]
    again = queued(lost, event.at + timedelta(seconds=wait))
    return update.with_job(again), (replace(ring(again), delay=wait),)


def _give_back(update: Update, event: JobGivenBack) -> Result:
    job = current(update, event.kind, event.arch, event.attempt, JobState.LEASED)
    times = job.given_back + 1
    if times > MAX_GIVEN_BACK:
        lost = JobLost(event.at, job.kind, job.arch, job.attempt, f"given back {times} times; the last: {event.reason}")
        return _lose(update.with_job(replace(job, given_back=times)), lost)
    back = replace(job, given_back=times, lease_expires_at=None, reason=event.reason, ended_at=event.at)
    if job.cancel:
        return settle(update.with_job(replace(back, state=JobState.CANCELLED)), event.at)
    again = queued(back, event.at)
    return update.with_job(again), (ring(again),)


def _approve(update: Update, event: Approved) -> Result:
    return await_approval(_approved(update, event)), ()


def _approve_failed(update: Update, event: Approved) -> Result:
    """The signer may have wanted other people than the farm: more may approve, and then somebody retries."""
    if not update.approvable:
        raise _impossible(update, event)
    return _approved(update, event), ()


def _approved(update: Update, event: Approved) -> Update:
    held = _without(update, event.void).approvals
    others = tuple(old for old in held if old.person != event.approval.person)
    return replace(update, approvals=(*others, event.approval))


def _without(update: Update, void: tuple[Approval, ...]) -> Update:
    return replace(update, approvals=tuple(held for held in update.approvals if held not in void))


def _sign(update: Update, event: Signed) -> Result:
    return replace(update, state=UpdateState.PUBLISHING, signed=event.files), (Upload(),)


def _upload(update: Update, event: Uploaded) -> Result:
    return replace(update, uploaded_at=event.at), (Confirm(),)


def _publish(update: Update, _event: Published) -> Result:
    return replace(update, state=UpdateState.PUBLISHED, reason="", blame=None), ()


def _reject(update: Update, event: Refused) -> Result:
    return replace(update, state=UpdateState.REJECTED, reason=event.reason, blame=event.blame), ()


def _fail(update: Update, event: Refused) -> Result:
    return replace(update, state=UpdateState.FAILED, reason=event.reason, blame=event.blame), ()


def _cancel(update: Update, event: Cancelled) -> Result:
    def stopped(job: Job) -> Job:
        if job.ended:
            return job
        if job.state == JobState.LEASED:
            return replace(job, cancel=True)
        return replace(job, state=JobState.CANCELLED, reason=f"cancelled by {event.by}", ended_at=event.at)

    jobs = tuple(stopped(job) for job in update.jobs)
    return settle(replace(update, jobs=jobs, reason=f"cancelled by {event.by}"), event.at)


def _retry(update: Update, event: Retried) -> Result:
    fresh = replace(update, reason="", blame=None, uploaded_at=None)
    # What the signer signed it signed on approvals that held then.
    if update.signed:
        return replace(fresh, state=UpdateState.PUBLISHING), (Upload(),)
    fresh = _without(fresh, event.void)
    if all(job.state == JobState.SUCCEEDED for job in update.jobs):
        return await_approval(fresh), ()
    jobs = tuple(job if job.state == JobState.SUCCEEDED else anew(job, event.at) for job in update.jobs)
    after, released = settle(replace(fresh, jobs=jobs), event.at)
    return after, (*(ring(job) for job in jobs if job.state == JobState.QUEUED), *released)


def _withdraw(update: Update, event: Withdrawn) -> Result:
    gone = f"withdrawn by {event.by}: {event.why}"
    jobs = tuple(
        job
        if job.ended
        else replace(job, state=JobState.CANCELLED, reason=gone, ended_at=event.at, lease_expires_at=None)
        for job in update.jobs
    )
    return replace(update, state=UpdateState.WITHDRAWN, jobs=jobs, reason=gone), ()


@dataclass(frozen=True)
class Move:
    """One row of the table: the function that makes the new update, and the states it may lead to.

    `Any` because each function takes its own event; TABLE's key is what pairs them.
    """

    make: Callable[[Update, Any], Result]
    to: tuple[UpdateState, ...]


_S = UpdateState
#: What may follow what. Everything that is not here cannot happen.
TABLE: dict[tuple[UpdateState, type[Event]], Move] = {
    (_S.RECEIVED, Planned): Move(_plan, (_S.PLANNED,)),
    (_S.RECEIVED, Refused): Move(_reject, (_S.REJECTED,)),
    (_S.RECEIVED, Withdrawn): Move(_withdraw, (_S.WITHDRAWN,)),
    (_S.PLANNED, JobClaimed): Move(_claim, (_S.BUILDING,)),
    (_S.PLANNED, Cancelled): Move(_cancel, (_S.FAILED,)),
    (_S.PLANNED, Withdrawn): Move(_withdraw, (_S.WITHDRAWN,)),
    (_S.BUILDING, JobClaimed): Move(_claim, (_S.BUILDING,)),
    (_S.BUILDING, JobEnded): Move(_end, (_S.BUILDING, _S.TESTING, _S.AWAITING_APPROVAL, _S.FAILED)),
    (_S.BUILDING, JobLost): Move(_lose, (_S.BUILDING, _S.TESTING, _S.FAILED)),
    (_S.BUILDING, JobGivenBack): Move(_give_back, (_S.BUILDING, _S.TESTING, _S.FAILED)),
    (_S.BUILDING, DependenciesMet): Move(_meet, (_S.BUILDING,)),
    (_S.BUILDING, Retried): Move(_retry_waits, (_S.BUILDING,)),
    (_S.BUILDING, Cancelled): Move(_cancel, (_S.BUILDING, _S.TESTING, _S.FAILED)),
    (_S.BUILDING, Withdrawn): Move(_withdraw, (_S.WITHDRAWN,)),
    (_S.TESTING, JobClaimed): Move(_claim, (_S.TESTING,)),
    (_S.TESTING, JobEnded): Move(_end, (_S.TESTING, _S.AWAITING_APPROVAL, _S.FAILED)),
    (_S.TESTING, JobLost): Move(_lose, (_S.TESTING, _S.FAILED)),
    (_S.TESTING, JobGivenBack): Move(_give_back, (_S.TESTING, _S.FAILED)),
    (_S.TESTING, DependenciesMet): Move(_meet, (_S.TESTING,)),
    (_S.TESTING, Retried): Move(_retry_waits, (_S.TESTING,)),
    (_S.TESTING, Cancelled): Move(_cancel, (_S.TESTING, _S.FAILED)),
    (_S.TESTING, Withdrawn): Move(_withdraw, (_S.WITHDRAWN,)),
    (_S.AWAITING_APPROVAL, Approved): Move(_approve, (_S.AWAITING_APPROVAL, _S.SIGNING)),
    (_S.AWAITING_APPROVAL, Withdrawn): Move(_withdraw, (_S.WITHDRAWN,)),
    (_S.SIGNING, Signed): Move(_sign, (_S.PUBLISHING,)),
    (_S.SIGNING, Refused): Move(_fail, (_S.FAILED,)),
    (_S.SIGNING, Withdrawn): Move(_withdraw, (_S.WITHDRAWN,)),
    (_S.PUBLISHING, Uploaded): Move(_upload, (_S.PUBLISHING,)),
    (_S.PUBLISHING, Published): Move(_publish, (_S.PUBLISHED,)),
    (_S.PUBLISHING, Refused): Move(_fail, (_S.FAILED,)),
    (_S.FAILED, Retried): Move(_retry, (_S.BUILDING, _S.TESTING, _S.AWAITING_APPROVAL, _S.SIGNING, _S.PUBLISHING)),
    (_S.FAILED, Approved): Move(_approve_failed, (_S.FAILED,)),
    (_S.FAILED, Withdrawn): Move(_withdraw, (_S.WITHDRAWN,)),
}
