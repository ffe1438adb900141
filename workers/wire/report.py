# SPDX-License-Identifier: GPL-3.0-or-later
"""What a worker answers: what it saw, in one report per attempt. The coordinator judges; the worker does not."""

from dataclasses import dataclass
from enum import StrEnum

from workers.wire.arch import Arch, Tier
from workers.wire.order import WIRE_VERSION, JobKey


class Outcome(StrEnum):
    """How an attempt ended. Only `finished` says anything about the package's own commands."""

    FINISHED = "finished"  # every step was started; the last exit code is the package's word
    UNINSTALLABLE = "uninstallable"  # apt could not satisfy the dependencies
    OUT_OF_TIME = "out of time"
    OUT_OF_MEMORY = "out of memory"
    LOG_TOO_LONG = "log too long"
    OUTPUT_TOO_LARGE = "output too large"
    CANCELLED = "cancelled"
    BROKEN = "broken"  # the farm's own fault: mirror, engine, disk, image


@dataclass(frozen=True)
class Artifact:
    """A file that came out of the container, already uploaded under its sha256."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True)
class StepTiming:
    """One step as it ran; `overhead` is what the farm itself added around the step's own commands."""

    name: str
    exit_code: int
    seconds: float
    overhead: float


@dataclass(frozen=True)
class Report:
    """The answer to one order. `reason` is a line for people; `left_out` names optional indices that did not verify."""

    job: JobKey
    attempt: int
    outcome: Outcome
    reason: str
    steps: tuple[StepTiming, ...]
    artifacts: tuple[Artifact, ...]
    log_sha256: str
    image: str
    tier: Tier
    worker: str
    left_out: tuple[str, ...] = ()
    version: int = WIRE_VERSION

    @property
    def exit_code(self) -> int:
        """Of the last step that ran; 0 before any did."""
        return self.steps[-1].exit_code if self.steps else 0


@dataclass(frozen=True)
class Offer:
    """What a worker says of itself when it signs on and with every sign of life."""

    worker: str
    tiers: dict[Arch, Tier]
    slots: int
    version: int = WIRE_VERSION


@dataclass(frozen=True)
class Heartbeat:
    """The coordinator's answer to a renewed lease."""

    cancel: bool
    lease_seconds: int
