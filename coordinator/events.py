# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of the map: the events that can happen to an update, and the instructions they can lead to.

Plain facts and plain requests: nothing here decides anything, reads a clock or touches the world.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from coordinator.errors import Blame
from coordinator.model import Approval, File, Job, JobState, TestResult
from workers.wire.arch import Arch, Tier
from workers.wire.order import JobKind
from workers.wire.report import Report

# Events: facts, in the past tense.


@dataclass(frozen=True)
class Planned:
    """The plan stage chose the jobs; builds come `queued`, tests `waiting`."""

    at: datetime
    jobs: tuple[Job, ...]
    left_out: tuple[Arch, ...] = ()


@dataclass(frozen=True)
class JobClaimed:
    """A worker took the attempt. `claim` is its own name for that, by which it may ask again."""

    at: datetime
    kind: JobKind
    arch: Arch
    attempt: int
    worker: str
    tier: Tier
    lease_expires_at: datetime
    claim: str = ""


@dataclass(frozen=True)
class JobEnded:
    """A worker reported, and the job's stage judged it: `state` is one of the ended ones, or `dep-wait`.

    A cancelled job stays so.
    """

    at: datetime
    kind: JobKind
    arch: Arch
    attempt: int
    state: JobState
    reason: str
    report: Report
    tests: tuple[TestResult, ...] = ()


@dataclass(frozen=True)
class JobLost:
    """An attempt ended by the farm's own doing: lease run out, engine gone, mirror unreachable."""

    at: datetime
    kind: JobKind
    arch: Arch
    attempt: int
    reason: str


@dataclass(frozen=True)
class JobGivenBack:
    """A worker stopped the attempt because it was told to end, or it was taken from it on purpose: nobody's fault."""

    at: datetime
    kind: JobKind
    arch: Arch
    attempt: int
    reason: str


@dataclass(frozen=True)
class DependenciesMet:
    """The archive has now what a job waited for."""

    at: datetime
    kind: JobKind
    arch: Arch
    attempt: int


@dataclass(frozen=True)
class Approved:
    """A person signed the digest set; the approve stage checked who and what.

    `void` are the earlier approvals that hold no more, since their person is none who may approve now.
    """

    at: datetime
    approval: Approval
    void: tuple[Approval, ...] = ()


@dataclass(frozen=True)
class Signed:
    """The signer returned the files that go to the archive, the .changes first."""

    at: datetime
    files: tuple[File, ...]


@dataclass(frozen=True)
class Uploaded:
    """Every signed file is in the target's incoming queue, the .changes last."""

    at: datetime


@dataclass(frozen=True)
class Published:
    """The target archive shows the signed .dsc in its signed index."""

    at: datetime


@dataclass(frozen=True)
class Refused:
    """Planning, signing or publishing cannot go on; `reason` says why, `blame` by whose fault."""

    at: datetime
    reason: str
    blame: Blame


@dataclass(frozen=True)
class Cancelled:
    """A person stopped the work; it may be retried."""

    at: datetime
    by: str


@dataclass(frozen=True)
class Retried:
    """A person asked for what failed to be done again. `void` as in Approved."""

    at: datetime
    by: str
    void: tuple[Approval, ...] = ()


@dataclass(frozen=True)
class Withdrawn:
    """A person took the update back, for good."""

    at: datetime
    by: str
    why: str


Event = (
    Planned
    | JobClaimed
    | JobEnded
    | JobLost
    | JobGivenBack
    | DependenciesMet
    | Approved
    | Signed
    | Uploaded
    | Published
    | Refused
    | Cancelled
    | Retried
    | Withdrawn
)


# Instructions: imperatives, carried out by the engine after they were saved. Each may be carried out twice.


@dataclass(frozen=True)
class Plan:
    """Choose the jobs."""


@dataclass(frozen=True)
class Ring:
    """Tell the workers of `arch` that this attempt may be claimed, not before `delay` seconds have passed."""

    kind: JobKind
    arch: Arch
    attempt: int
    delay: int = 0


@dataclass(frozen=True)
class Look:
    """See whether the archive has what this attempt missed, not before `delay` seconds have passed."""

    kind: JobKind
    arch: Arch
    attempt: int
    delay: int


@dataclass(frozen=True)
class Upload:
    """Bring the signed files to the target."""


@dataclass(frozen=True)
class Confirm:
    """See whether the target's index shows what was uploaded."""


Instruction = Plan | Ring | Look | Upload | Confirm


def due_at(instruction: Instruction, at: datetime) -> datetime:
    """When to carry out an instruction that an event at that time led to."""
    return at + timedelta(seconds=instruction.delay) if isinstance(instruction, Ring | Look) else at
