# SPDX-License-Identifier: GPL-3.0-or-later
"""The turns of one job, and where all of them together leave their update. Pure; the map alone uses it."""

from dataclasses import replace
from datetime import datetime

from coordinator.errors import Blame, Fenced
from coordinator.events import Instruction, Ring
from coordinator.model import Job, JobState, Update, UpdateState
from workers.wire.arch import Arch
from workers.wire.order import JobKind

Result = tuple[Update, tuple[Instruction, ...]]


def current(update: Update, kind: JobKind, arch: Arch, attempt: int, state: JobState) -> Job:
    """The job, if that attempt is the one that counts and is where it must be; this is the fence."""
    job = update.job(kind, arch)
    if job is None or job.attempt != attempt or job.state != state:
        now = "unknown" if job is None else f"{job.state}, attempt {job.attempt}"
        raise Fenced(f"{update.id}/{kind}/{arch} attempt {attempt} does not count: the job is {now}")
    return job


def queued(job: Job, at: datetime) -> Job:
    """Its next attempt, which anybody may claim."""
    return replace(job, state=JobState.QUEUED, attempt=job.attempt + 1, queued_at=at, worker="", tier=None)


def anew(job: Job, at: datetime) -> Job:
    """The job as if nothing had been tried yet, but for the number of the attempt."""
    blank = replace(
        job,
        farm_faults=0,
        failed_on=(),
        dep_waits=0,
        misses=0,
        given_back=0,
        reason="",
        report=None,
        tests=(),
        cancel=False,
        started_at=None,
        ended_at=None,
    )
    return queued(blank, at) if job.kind == JobKind.BUILD else replace(blank, state=JobState.WAITING)


def ring(job: Job) -> Ring:
    """The bell for its current attempt."""
    return Ring(job.kind, job.arch, job.attempt)


def settle(update: Update, at: datetime) -> Result:
    """After any job changed: release the tests whose builds are done, and see where the update now stands."""
    jobs = tuple(_released(update, job, at) for job in update.jobs)
    rung = tuple(ring(job) for old, job in zip(update.jobs, jobs, strict=True) if job.attempt != old.attempt)
    after = replace(update, jobs=jobs)
    if not all(job.ended for job in jobs):
        building = any(not job.ended for job in after.of_kind(JobKind.BUILD))
        return replace(after, state=UpdateState.BUILDING if building else UpdateState.TESTING), rung
    if all(job.state == JobState.SUCCEEDED for job in jobs):
        return await_approval(after), ()
    return _failed(after), ()


def _released(update: Update, job: Job, at: datetime) -> Job:
    if job.state != JobState.WAITING:
        return job
    needed = [update.job(JobKind.BUILD, arch) for arch in (job.arch, Arch.ALL)]
    builds = [build for build in needed if build is not None]
    if all(build.state == JobState.SUCCEEDED for build in builds):
        return queued(job, at)
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


def await_approval(update: Update) -> Update:
    """All is built and tested: it waits for people, or for the signer where enough of them have approved."""
    people = {approval.person for approval in update.valid_approvals()}
    enough = len(people) >= update.approvals_needed
    return replace(update, state=UpdateState.SIGNING if enough else UpdateState.AWAITING_APPROVAL)
