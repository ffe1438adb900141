# SPDX-License-Identifier: GPL-3.0-or-later
"""One update on its way through the pure map, in words a test can be read by; and every event that could come next."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from coordinator.errors import Blame
from coordinator.model import (
    Approval,
    File,
    Job,
    JobState,
    Origin,
    Source,
    Update,
    UpdateState,
    Urgency,
    sha256_of,
)
from coordinator.pipeline import (
    Approved,
    Cancelled,
    DependenciesMet,
    Event,
    Instruction,
    JobClaimed,
    JobEnded,
    JobGivenBack,
    JobLost,
    Planned,
    Published,
    Refused,
    Retried,
    Signed,
    Uploaded,
    Withdrawn,
    begin,
    step,
)
from workers.wire.arch import Arch, Tier
from workers.wire.order import JobKey, JobKind
from workers.wire.report import Artifact, Outcome, Report

AT = datetime(2025, 1, 31, 12, tzinfo=UTC)
BUILD, TEST = JobKind.BUILD, JobKind.TEST
PEOPLE = ("alice", "bob", "carol")
MISSING = ("libfoo-dev (>= 2)",)
ENDS = (JobState.SUCCEEDED, JobState.FAILED, JobState.UNINSTALLABLE)
FILES = (File("hello_1.0-1+deb12u1_multi.changes", "c" * 64, 9),)


def source() -> Source:
    dsc = File("hello_1.0-1+deb12u1.dsc", "d" * 64, 7)
    return Source("hello", "1.0-1+deb12u1", ("any", "all"), True, True, True, Origin.UPLOAD, "f" * 40, (dsc,))


def new_update(approvals_needed: int = 2) -> Update:
    return Update(
        id=12,
        revision=1,
        state=UpdateState.RECEIVED,
        source=source(),
        suite="bookworm-security",
        recipe="debian/bookworm-security",
        recipe_sha256="a" * 64,
        urgency=Urgency.HIGH,
        submitter="sam",
        approvals_needed=approvals_needed,
        created_at=AT,
        changed_at=AT,
    )


def jobs_for(builds: tuple[Arch, ...], tests: tuple[Arch, ...]) -> tuple[Job, ...]:
    """What the plan stage hands over: builds queued, tests waiting."""
    return (
        *(Job(BUILD, arch, JobState.QUEUED) for arch in builds),
        *(Job(TEST, arch, JobState.WAITING) for arch in tests),
    )


def report_on(update: Update, kind: JobKind, arch: Arch, attempt: int) -> Report:
    """What a worker says of an attempt; each attempt's build comes out with bytes of its own."""
    made = (Artifact(f"hello_1.0-1+deb12u1_{arch}.deb", sha256_of(f"{kind} {arch} {attempt}"), 5),)
    key = JobKey(update.id, kind, arch)
    built = made if kind == BUILD else ()
    return Report(key, attempt, Outcome.FINISHED, "", (), built, "e" * 64, "base", Tier.NATIVE, "host-1")


def approval_by(person: str, update: Update, digest: str | None = None) -> Approval:
    return Approval(person, sha256_of(person)[:40], digest or sha256_of(update.digest_set()), "signature", AT)


class Walk:
    """An update that moves; `said` is what the last event asked to be done."""

    def __init__(self, approvals_needed: int = 2) -> None:
        self.update, self.said = begin(new_update(approvals_needed))

    def now(self) -> tuple[UpdateState, tuple[Instruction, ...]]:
        """Where the update is, and what the last event asked for."""
        return self.update.state, self.said

    def at(self, event: Event) -> "Walk":
        self.update, self.said = step(self.update, event)
        return self

    def plan(self, builds: tuple[Arch, ...] = (Arch.AMD64,), tests: tuple[Arch, ...] = (Arch.AMD64,)) -> "Walk":
        return self.at(Planned(AT, jobs_for(builds, tests)))

    def job(self, kind: JobKind, arch: Arch) -> Job:
        job = self.update.job(kind, arch)
        assert job is not None
        return job

    def claim(self, kind: JobKind, arch: Arch = Arch.AMD64) -> "Walk":
        return self.at(claimed(self.job(kind, arch)))

    def end(self, kind: JobKind, arch: Arch = Arch.AMD64, state: JobState = JobState.SUCCEEDED) -> "Walk":
        return self.at(ended(self.update, self.job(kind, arch), state))

    def lose(self, kind: JobKind, arch: Arch = Arch.AMD64, reason: str = "its lease ran out") -> "Walk":
        return self.at(JobLost(AT, kind, arch, self.job(kind, arch).attempt, reason))

    def give_back(self, kind: JobKind, arch: Arch = Arch.AMD64) -> "Walk":
        """The worker was told to end, and stopped it."""
        return self.at(given_back(self.job(kind, arch)))

    def do(self, kind: JobKind, arch: Arch = Arch.AMD64, state: JobState = JobState.SUCCEEDED) -> "Walk":
        """Claim and end a job; a second look at `said` sees what the end asked for."""
        return self.claim(kind, arch).end(kind, arch, state)

    def miss(self, kind: JobKind, arch: Arch = Arch.AMD64) -> "Walk":
        """Claim a job and find that the archive does not have what it needs."""
        return self.do(kind, arch, JobState.DEP_WAIT)

    def meet(self, kind: JobKind, arch: Arch = Arch.AMD64) -> "Walk":
        """The archive has it now."""
        return self.at(met(self.job(kind, arch)))

    def approve(self, *people: str) -> "Walk":
        for person in people:
            self.at(Approved(AT, approval_by(person, self.update)))
        return self


def claimed(job: Job, attempt: int | None = None) -> JobClaimed:
    number = job.attempt if attempt is None else attempt
    return JobClaimed(AT, job.kind, job.arch, number, "host-1", Tier.NATIVE, AT + timedelta(seconds=60))


def ended(update: Update, job: Job, state: JobState, attempt: int | None = None) -> JobEnded:
    number = job.attempt if attempt is None else attempt
    said = report_on(update, job.kind, job.arch, number)
    if state == JobState.DEP_WAIT:
        said = replace(said, outcome=Outcome.UNINSTALLABLE, reason="apt says no", artifacts=(), missing=MISSING)
    return JobEnded(AT, job.kind, job.arch, number, state, f"it {state}", said)


def met(job: Job, attempt: int | None = None) -> DependenciesMet:
    return DependenciesMet(AT, job.kind, job.arch, job.attempt if attempt is None else attempt)


def given_back(job: Job, attempt: int | None = None) -> JobGivenBack:
    return JobGivenBack(AT, job.kind, job.arch, job.attempt if attempt is None else attempt, "the worker was shut down")


def in_state(state: UpdateState) -> Update:
    """An update that came to that state by its own moves; while it works, a job is leased, queued and in Dep-Wait."""
    return _WALKS[state]().update


def built(*archs: Arch) -> Walk:
    walk = Walk().plan(archs, archs)
    for arch in archs:
        walk.do(BUILD, arch)
    return walk


def built_and_tested() -> Walk:
    return Walk().plan().do(BUILD).do(TEST)


def refused() -> Walk:
    return built_and_tested().approve("alice", "bob").at(Refused(AT, "unknown certificate", Blame.FARM))


def signed() -> Walk:
    return built_and_tested().approve("alice", "bob").at(Signed(AT, FILES))


_BOTH = (Arch.AMD64, Arch.ARM64)
_ALL = (*_BOTH, Arch.I386)
_WALKS: dict[UpdateState, Callable[[], Walk]] = {
    UpdateState.RECEIVED: Walk,
    UpdateState.PLANNED: lambda: Walk().plan(_BOTH),
    UpdateState.BUILDING: lambda: Walk().plan(_ALL).miss(BUILD, Arch.I386).claim(BUILD),
    UpdateState.TESTING: lambda: built(*_ALL).miss(TEST, Arch.I386).claim(TEST),
    UpdateState.AWAITING_APPROVAL: built_and_tested,
    UpdateState.SIGNING: lambda: built_and_tested().approve("alice", "bob"),
    UpdateState.PUBLISHING: signed,
    UpdateState.PUBLISHED: lambda: signed().at(Uploaded(AT)).at(Published(AT)),
    UpdateState.REJECTED: lambda: Walk().at(Refused(AT, "nothing to build", Blame.SUBMITTER)),
    UpdateState.FAILED: refused,
    UpdateState.WITHDRAWN: lambda: Walk().at(Withdrawn(AT, "sam", "a better patch")),
}


def possible(update: Update) -> Iterator[Event]:
    """Every event that the world could bring now: of every job what its state allows, and all that people can do."""
    for job in update.jobs:
        if job.state == JobState.QUEUED:
            yield claimed(job)
        if job.state == JobState.LEASED:
            yield from (ended(update, job, state) for state in (*ENDS, JobState.CANCELLED, JobState.DEP_WAIT))
            yield JobLost(AT, job.kind, job.arch, job.attempt, "its lease ran out")
            yield given_back(job)
        if job.state == JobState.DEP_WAIT:
            yield met(job)
    # What failed otherwise nobody may approve, though the table has a row for it.
    if update.state != UpdateState.FAILED or update.approvable:
        yield from (Approved(AT, approval_by(person, update)) for person in PEOPLE)
        yield Approved(AT, approval_by("mallory", update, "0" * 64))
        yield Approved(AT, approval_by("carol", update), update.approvals)
    yield Signed(AT, FILES)
    yield Uploaded(AT)
    yield Published(AT)
    yield Refused(AT, "it cannot go on", Blame.FARM)
    yield Cancelled(AT, "alice")
    # What is being worked on is retried where it waits for dependencies alone.
    working = update.state in (UpdateState.BUILDING, UpdateState.TESTING)
    if not working or any(job.state == JobState.DEP_WAIT for job in update.jobs):
        yield Retried(AT, "alice")
        yield Retried(AT, "alice", update.approvals)
    yield Withdrawn(AT, "sam", "a better patch")


def stale(update: Update) -> Iterator[Event]:
    """What workers of the past may still say: numbers that went by, and numbers that never were."""
    for job in update.jobs:
        for attempt in (job.attempt - 1, job.attempt + 1):
            yield claimed(job, attempt)
            yield ended(update, job, JobState.SUCCEEDED, attempt)
            yield JobLost(AT, job.kind, job.arch, attempt, "late")
            yield given_back(job, attempt)
            yield met(job, attempt)


def some(kind: type[Event], update: Update) -> Event:
    """An event of that type which fits the update as well as any can."""
    if kind is Planned:
        return Planned(AT, jobs_for((Arch.AMD64,), (Arch.AMD64,)))
    fitting = [event for event in possible(update) if type(event) is kind]
    job = Job(BUILD, Arch.AMD64, JobState.LEASED, attempt=1)
    lost, done = JobLost(AT, BUILD, Arch.AMD64, 1, "lost"), ended(update, job, JobState.SUCCEEDED)
    made = (*fitting, claimed(job), done, lost, given_back(job), met(job), Retried(AT, "alice"))
    return next(event for event in made if type(event) is kind)


def with_rebuilt(update: Update) -> Update:
    """The same update as if one build had come out with other bytes."""
    job = update.of_kind(BUILD)[0]
    return update.with_job(replace(job, report=report_on(update, BUILD, job.arch, job.attempt + 1)))
