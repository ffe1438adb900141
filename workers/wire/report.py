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
    OUT_OF_PROCESSES = "out of processes"
    OUT_OF_DISK = "out of disk"
    LOG_TOO_LONG = "log too long"
    OUTPUT_TOO_LARGE = "output too large"
    CANCELLED = "cancelled"
    GIVEN_BACK = "given back"  # the worker was told to end, and stopped what ran; nothing is wrong with anything
    BROKEN = "broken"  # the farm's own fault: mirror, engine, disk, image


@dataclass(frozen=True)
class Artifact:
    """A file that came out of the container and was brought to its attempt under its sha256."""

    name: str
    sha256: str
    size: int


#: What a report calls the time that the base image took; no step of a recipe can have this name.
IMAGE = "base image"


@dataclass(frozen=True)
class StepTiming:
    """One step as it ran; `overhead` is what the farm itself added around the step's own commands."""

    name: str
    exit_code: int
    seconds: float
    overhead: float


@dataclass(frozen=True)
class Usage:
    """What an attempt's containers used, as far as the engine told; peaks are of one container. 0 is not known."""

    cpu_seconds: float
    memory_bytes: int
    processes: int
    disk_bytes: int


#: Of an attempt whose containers told nothing.
UNKNOWN = Usage(0.0, 0, 0, 0)


@dataclass(frozen=True)
class Report:
    """The answer to one order. `reason` is a line for people; `left_out` names optional indices that did not verify.

    `missing` are the dependencies that apt could not satisfy, as the package asks for them: `libfoo-dev (>= 2)`.
    `packages_sha256` stands for the resolved set of packages that the first step of its own ran with.
    `adopted` counts how often another process of the worker took the attempt over.
    """

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
    missing: tuple[str, ...] = ()
    packages_sha256: str = ""
    usage: Usage = UNKNOWN
    adopted: int = 0
    version: int = WIRE_VERSION

    @property
    def exit_code(self) -> int:
        """Of the last step that ran; 0 before any did."""
        return self.steps[-1].exit_code if self.steps else 0


@dataclass(frozen=True)
class Offer:
    """What a worker says of itself when it signs on and with every sign of life.

    `host` is its machine's name; `slots` attempts run at once at most, and together in `cores` and `memory_bytes`.
    """

    worker: str
    tiers: dict[Arch, Tier]
    slots: int
    host: str
    cores: int
    memory_bytes: int
    version: int = WIRE_VERSION


@dataclass(frozen=True)
class Heartbeat:
    """The coordinator's answer to a renewed lease."""

    cancel: bool
    lease_seconds: int
