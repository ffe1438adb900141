# SPDX-License-Identifier: GPL-3.0-or-later
"""THE MAP: which event may follow in which state, what it changes, and what is to be done about it.

Pure: `step(update, event)` returns the new update and the instructions to carry out; it does no input or output,
reads no clock and decides nothing that needs a recipe. An event without a row in TABLE raises IllegalMove.
The events and instructions themselves are in events.py, and can be imported from here too.

    intake → plan → build → test → approve → sign → publish
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from coordinator.errors import Blame, Fenced, IllegalMove
from coordinator.events import (
    Approved,
    Cancelled,
    Confirm,
    Event,
    Instruction,
    JobClaimed,
    JobEnded,
    JobLost,
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
from workers.wire.arch import Arch
from workers.wire.order import JobKind

__all__ = [
    "FAULT_WAITS",
    "MAX_FARM_FAULTS",
    "TABLE",
    "Approved",
    "Cancelled",
    "Confirm",
    "Event",
    "Instruction",
    "JobClaimed",
    "JobEnded",
    "JobLost",
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


Result = tuple[Update, tuple[Instruction, ...]]


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
    jobs = tuple(_queued(job, event.at) if job.state == JobState.QUEUED else job for job in event.jobs)
    planned = replace(update, state=UpdateState.PLANNED, jobs=jobs)
    return planned, tuple(_ring(job) for job in jobs if job.state == JobState.QUEUED)


def _claim(update: Update, event: JobClaimed) -> Result:
    job = _current(update, event.kind, event.arch, event.attempt, JobState.QUEUED)
    leased = replace(
        job,
        state=JobState.LEASED,
        worker=event.worker,
        tier=event.tier,
        lease_expires_at=event.lease_expires_at,
        started_at=event.at,
        ended_at=None,
        reason="",
    )
    state = UpdateState.BUILDING if update.state == UpdateState.PLANNED else update.state
    return replace(update.with_job(leased), state=state), ()


def _end(update: Update, event: JobEnded) -> Result:
    job = _current(update, event.kind, event.arch, event.attempt, JobState.LEASED)
    if event.state == JobState.CANCELLED and not job.cancel:
        return _lose(update, JobLost(event.at, job.kind, job.arch, job.attempt, "stopped, and nobody had asked for it"))
    ended = replace(
        job,
        state=JobState.CANCELLED if job.cancel else event.state,
        reason=event.reason,
        report=event.report,
        tests=event.tests,
        ended_at=event.at,
        lease_expires_at=None,
    )
    return _settle(update.with_job(ended), event.at)


def _lose(update: Update, event: JobLost) -> Result:
    job = _current(update, event.kind, event.arch, event.attempt, JobState.LEASED)
    faults = job.farm_faults + 1
    lost = replace(job, farm_faults=faults, lease_expires_at=None, reason=event.reason, ended_at=event.at)
    if job.cancel:
        return _settle(update.with_job(replace(lost, state=JobState.CANCELLED)), event.at)
    if faults >= MAX_FARM_FAULTS:
        reason = f"given up after {faults} faults of the farm; the last: {event.reason}"
        return _settle(update.with_job(replace(lost, state=JobState.FAILED, reason=reason)), event.at)
    wait = FAULT_WAITS[faults - 1]
    again = _queued(lost, event.at + timedelta(seconds=wait))
    return update.with_job(again), (replace(_ring(again), delay=wait),)


def _approve(update: Update, event: Approved) -> Result:
    return _await_approval(_approved(update, event)), ()


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
    return _settle(replace(update, jobs=jobs, reason=f"cancelled by {event.by}"), event.at)


def _retry(update: Update, event: Retried) -> Result:
    fresh = replace(update, reason="", blame=None, uploaded_at=None)
    # What the signer signed it signed on approvals that held then.
    if update.signed:
        return replace(fresh, state=UpdateState.PUBLISHING), (Upload(),)
    fresh = _without(fresh, event.void)
    if all(job.state == JobState.SUCCEEDED for job in update.jobs):
        return _await_approval(fresh), ()
    jobs = tuple(job if job.state == JobState.SUCCEEDED else _anew(job, event.at) for job in update.jobs)
    after, released = _settle(replace(fresh, jobs=jobs), event.at)
    return after, (*(_ring(job) for job in jobs if job.state == JobState.QUEUED), *released)


def _withdraw(update: Update, event: Withdrawn) -> Result:
    gone = f"withdrawn by {event.by}: {event.why}"
    jobs = tuple(
        job
        if job.ended
        else replace(job, state=JobState.CANCELLED, reason=gone, ended_at=event.at, lease_expires_at=None)
        for job in update.jobs
    )
    return replace(update, state=UpdateState.WITHDRAWN, jobs=jobs, reason=gone), ()


def _current(update: Update, kind: JobKind, arch: Arch, attempt: int, state: JobState) -> Job:
    """The job, if that attempt is the one that counts and is where it must be; this is the fence."""
    job = update.job(kind, arch)
    if job is None or job.attempt != attempt or job.state != state:
        now = "unknown" if job is None else f"{job.state}, attempt {job.attempt}"
        raise Fenced(f"{update.id}/{kind}/{arch} attempt {attempt} does not count: the job is {now}")
    return job


def _queued(job: Job, at: datetime) -> Job:
    return replace(job, state=JobState.QUEUED, attempt=job.attempt + 1, queued_at=at, worker="", tier=None)


def _anew(job: Job, at: datetime) -> Job:
    blank = replace(job, farm_faults=0, reason="", report=None, tests=(), cancel=False, started_at=None, ended_at=None)
    return _queued(blank, at) if job.kind == JobKind.BUILD else replace(blank, state=JobState.WAITING)


def _ring(job: Job) -> Ring:
    return Ring(job.kind, job.arch, job.attempt)


def _settle(update: Update, at: datetime) -> Result:
    """After any job changed: release the tests whose builds are done, and see where the update now stands."""
    jobs = tuple(_released(update, job, at) for job in update.jobs)
    rung = tuple(_ring(job) for old, job in zip(update.jobs, jobs, strict=True) if job.attempt != old.attempt)
    after = replace(update, jobs=jobs)
    if not all(job.ended for job in jobs):
        building = any(not job.ended for job in after.of_kind(JobKind.BUILD))
        return replace(after, state=UpdateState.BUILDING if building else UpdateState.TESTING), rung
    if all(job.state == JobState.SUCCEEDED for job in jobs):
        return _await_approval(after), ()
    return _failed(after), ()


def _released(update: Update, job: Job, at: datetime) -> Job:
    if job.state != JobState.WAITING:
        return job
    needed = [update.job(JobKind.BUILD, arch) for arch in (job.arch, Arch.ALL)]
    builds = [build for build in needed if build is not None]
    if all(build.state == JobState.SUCCEEDED for build in builds):
        return _queued(job, at)
    if any(build.ended and build.state != JobState.SUCCEEDED for build in builds):
        return replace(job, state=JobState.CANCELLED, reason="its build did not succeed", ended_at=at)
    return job


def _failed(update: Update) -> Update:
    culprits = [job for job in update.jobs if job.state in (JobState.FAILED, JobState.UNINSTALLABLE)]
    if not culprits:
        return replace(update, state=UpdateState.FAILED, blame=Blame.SUBMITTER)
    reported = [job for job in culprits if job.report is not None]
    first = (reported or culprits)[0]
    reason = f"{first.kind} on {first.arch}: {first.reason}"
    return replace(update, state=UpdateState.FAILED, reason=reason, blame=Blame.PACKAGE if reported else Blame.FARM)


def _await_approval(update: Update) -> Update:
    people = {approval.person for approval in update.valid_approvals()}
    enough = len(people) >= update.approvals_needed
    return replace(update, state=UpdateState.SIGNING if enough else UpdateState.AWAITING_APPROVAL)


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
    (_S.BUILDING, Cancelled): Move(_cancel, (_S.BUILDING, _S.TESTING, _S.FAILED)),
    (_S.BUILDING, Withdrawn): Move(_withdraw, (_S.WITHDRAWN,)),
    (_S.TESTING, JobClaimed): Move(_claim, (_S.TESTING,)),
    (_S.TESTING, JobEnded): Move(_end, (_S.TESTING, _S.AWAITING_APPROVAL, _S.FAILED)),
    (_S.TESTING, JobLost): Move(_lose, (_S.TESTING, _S.FAILED)),
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
