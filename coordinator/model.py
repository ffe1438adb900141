# SPDX-License-Identifier: GPL-3.0-or-later
"""The nouns: an update, its jobs, its approvals. Frozen; everything that happens makes a new one.

Times are aware UTC. An update has one axis of state; what a job is called on a buildd page is derived from it.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from coordinator.errors import Blame
from workers.wire.arch import Arch, Tier
from workers.wire.order import JobKey, JobKind
from workers.wire.report import Report


class UpdateState(StrEnum):
    """Where an update is on its way out. The order of the members is the order of the way."""

    RECEIVED = "received"
    PLANNED = "planned"
    BUILDING = "building"
    TESTING = "testing"
    AWAITING_APPROVAL = "awaiting-approval"
    SIGNING = "signing"
    PUBLISHING = "publishing"
    PUBLISHED = "published"
    REJECTED = "rejected"
    FAILED = "failed"
    WITHDRAWN = "withdrawn"


#: No event leads out of these, but for `retry` out of failed.
ENDED = frozenset({UpdateState.PUBLISHED, UpdateState.REJECTED, UpdateState.FAILED, UpdateState.WITHDRAWN})


class JobState(StrEnum):
    """Where a job is. `waiting` needs another job first; `queued` may be claimed; `leased` is being worked on.

    `dep-wait` needs packages that the archive does not have yet, which its report names as `missing`.
    """

    WAITING = "waiting"
    QUEUED = "queued"
    LEASED = "leased"
    DEP_WAIT = "dep-wait"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNINSTALLABLE = "uninstallable"
    CANCELLED = "cancelled"


class Urgency(StrEnum):
    """The `Urgency` field of a .changes (Debian Policy 5.6.17), lowest first."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"
    EMERGENCY = "emergency"


class Origin(StrEnum):
    """How a source came in: signed by a person, or vouched for by an archive's signed Release."""

    UPLOAD = "upload"
    ARCHIVE = "archive"


@dataclass(frozen=True)
class File:
    """A file by content: its bytes are in the blobs under `sha256`. `name` is always a bare file name."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Source:
    """A verified source package. `files[0]` is the .dsc; `architectures` is its Architecture field, split.

    `builds_all`, `builds_any` and `has_tests` say which halves it has and whether it has DEP-8 tests. `signed_by` is
    the primary fingerprint of the signing certificate in lower case, empty where an archive vouched for it.
    """

    name: str
    version: str
    architectures: tuple[str, ...]
    builds_all: bool
    builds_any: bool
    has_tests: bool
    origin: Origin
    signed_by: str
    files: tuple[File, ...]

    @property
    def dsc(self) -> File:
        """The source control file."""
        return self.files[0]


class Verdict(StrEnum):
    """What one DEP-8 test said, in autopkgtest's words, lower case."""

    PASS = "pass"
    FAIL = "fail"
    FLAKY = "flaky"
    SKIP = "skip"
    BROKEN = "broken"


@dataclass(frozen=True)
class TestResult:
    """One line of autopkgtest's summary."""

    __test__ = False

    name: str
    verdict: Verdict
    detail: str


@dataclass(frozen=True)
class Job:
    """One piece of work. `attempt` counts from 1 and fences: only a report with this very number counts.

    `farm_faults` counts the attempts that ended by the farm's doing, and `failed_on` names the workers that had them.
    `given_back` counts those that were stopped on purpose. `dep_waits` counts how often in a row the same dependencies
    were missing, and `misses` how often any were.
    `cancel` is what the next heartbeat will say. `claim` is what the worker calls its claim of the attempt.
    """

    kind: JobKind
    arch: Arch
    state: JobState
    attempt: int = 0
    farm_faults: int = 0
    worker: str = ""
    tier: Tier | None = None
    lease_expires_at: datetime | None = None
    queued_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str = ""
    cancel: bool = False
    report: Report | None = None
    tests: tuple[TestResult, ...] = ()
    failed_on: tuple[str, ...] = ()
    dep_waits: int = 0
    misses: int = 0
    given_back: int = 0
    claim: str = ""

    @property
    def ended(self) -> bool:
        """Whether no worker has or may claim it."""
        return self.state in (JobState.SUCCEEDED, JobState.FAILED, JobState.UNINSTALLABLE, JobState.CANCELLED)


@dataclass(frozen=True)
class Signature:
    """What a verified OpenPGP signature vouches for: only `signed`, never the bytes around it.

    `fingerprint` is the primary key's of the signing certificate, in lower case.
    """

    signed: bytes
    fingerprint: str


@dataclass(frozen=True)
class Approval:
    """A person's OpenPGP signature over an update's digest set. Counts only while `digest` is the set's own."""

    person: str
    fingerprint: str
    digest: str
    signature: str
    at: datetime


@dataclass(frozen=True)
class Update:
    """One patched source package on its way out. `revision` grows with every save and guards against two writers."""

    id: int
    revision: int
    state: UpdateState
    source: Source
    suite: str
    recipe: str
    recipe_sha256: str
    urgency: Urgency
    submitter: str
    approvals_needed: int
    created_at: datetime
    changed_at: datetime
    jobs: tuple[Job, ...] = ()
    approvals: tuple[Approval, ...] = ()
    signed: tuple[File, ...] = ()
    uploaded_at: datetime | None = None
    reason: str = ""
    blame: Blame | None = None

    @property
    def approvable(self) -> bool:
        """Whether people may approve it now: it waits for them, or nothing but a signature is missing."""
        if self.state == UpdateState.FAILED:
            return not self.signed and all(job.state == JobState.SUCCEEDED for job in self.jobs)
        return self.state == UpdateState.AWAITING_APPROVAL

    def job(self, kind: JobKind, arch: Arch) -> Job | None:
        """The job of that kind and architecture, if it was planned."""
        return next((job for job in self.jobs if (job.kind, job.arch) == (kind, arch)), None)

    def key(self, job: Job) -> JobKey:
        """The name of one of this update's jobs, as workers know it."""
        return JobKey(self.id, job.kind, job.arch)

    def of_kind(self, kind: JobKind) -> tuple[Job, ...]:
        """Its jobs of one kind, in the order of the plan."""
        return tuple(job for job in self.jobs if job.kind == kind)

    def with_job(self, job: Job) -> "Update":
        """The same update with that job in the place of the one it succeeds."""
        same = (job.kind, job.arch)
        return replace(self, jobs=tuple(job if (old.kind, old.arch) == same else old for old in self.jobs))

    def built_files(self) -> tuple[File, ...]:
        """Every file the builds made, sorted by name; a name that several builds made alike stands once."""
        found = {
            File(artifact.name, artifact.sha256, artifact.size)
            for job in self.of_kind(JobKind.BUILD)
            if job.report is not None and job.state == JobState.SUCCEEDED
            for artifact in job.report.artifacts
        }
        return tuple(sorted(found, key=lambda file: (file.name, file.sha256)))

    def digest_set(self) -> str:
        """The exact text an approver signs: what is approved, for where, and every file to ship by digest."""
        return digest_set(self.id, self.source, self.suite, self.submitter, self.built_files())

    def valid_approvals(self) -> tuple[Approval, ...]:
        """The approvals of what the update is now; anything that changed since has made the others void."""
        digest = sha256_of(self.digest_set())
        return tuple(approval for approval in self.approvals if approval.digest == digest)


@dataclass(frozen=True)
class SigningRequest:
    """What the signer is asked: sign this update's upload with the key of that name. It checks everything itself."""

    update: Update
    key: str


@dataclass(frozen=True)
class HistoryEntry:
    """One thing that happened. `digest` chains it to the entry before, so that a changed past shows."""

    sequence: int
    at: datetime
    state: UpdateState
    event: str
    detail: str
    digest: str


@dataclass(frozen=True)
class Waiting:
    """An instruction of an update that is not carried out yet: `instruction` is its name, `last_error` why it waits."""

    instruction: str
    tries: int
    due_at: datetime
    last_error: str


class Clearance(StrEnum):
    """What a worker may see: `public` only sources that everybody has already, `embargoed` all."""

    PUBLIC = "public"
    EMBARGOED = "embargoed"


#: After three signs of life that did not come, a worker counts as silent; they come every 15 s.
SILENT_AFTER = timedelta(seconds=45)


@dataclass(frozen=True)
class Worker:
    """A worker as last heard of, and what the operator decided about it, which no worker can change.

    Workers of one `trust_domain` can be taken over together: one administrator, one machine, one network. A worker
    that is `draining` finishes what it has and gets nothing new.
    """

    name: str
    tiers: dict[Arch, Tier]
    slots: int
    last_seen_at: datetime
    host: str
    cores: int
    memory_bytes: int
    trust_domain: str
    clearance: Clearance
    draining: bool

    def silent(self, now: datetime) -> bool:
        """Whether it is too long since it was heard of; a time still to come was written by a clock that was wrong."""
        return abs(now - self.last_seen_at) > SILENT_AFTER


@dataclass(frozen=True)
class OpenJob:
    """A job that waits, may begin or is being done, with what dispatch has to know of its update."""

    update: int
    source: str
    origin: Origin
    urgency: Urgency
    recipe: str
    recipe_sha256: str
    job: Job

    @property
    def key(self) -> JobKey:
        """Its name, as workers know it."""
        return JobKey(self.update, self.job.kind, self.job.arch)


@dataclass(frozen=True)
class Past:
    """How a job once went: how long its own commands ran, and what its containers used; 0 is not known."""

    source: str
    kind: JobKind
    arch: Arch
    tier: Tier
    seconds: float
    cpu_seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class Suite:
    """A suite that the farm makes updates for, as its recipe says."""

    name: str
    recipe: str
    architectures: tuple[Arch, ...]
    all_on: Arch
    urgency: Urgency
    approvals_needed: int


class Role(StrEnum):
    """What the bearer of a token may do. A person approves by signature; the token only says who asks."""

    PERSON = "person"
    WORKER = "worker"
    SIGNER = "signer"


def digest_set(update: int, source: Source, suite: str, submitter: str, built: tuple[File, ...]) -> str:
    """What approvals sign: one fact a line, files as `sha256 size name`, always the same for the same facts."""
    files = sorted({*source.files, *built}, key=lambda file: (file.name, file.sha256))
    lines = [
        "patchfarm approval 1",
        f"update {update}",
        f"source {source.name} {source.version}",
        f"suite {suite}",
        f"submitter {submitter}",
        *(f"{file.sha256} {file.size} {file.name}" for file in files),
    ]
    return "\n".join(lines) + "\n"


def sha256_of(text: str | bytes) -> str:
    """Lower-case hexadecimal sha256 of bytes, or of a text's UTF-8."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()
