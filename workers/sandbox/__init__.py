# SPDX-License-Identifier: GPL-3.0-or-later
"""What an attempt needs of a container engine: small enough for a second engine and for a fake.

Everything that comes out of a container is hostile. Nothing here may give one the engine's socket, a device,
or a folder of the host.
"""

import re
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from workers.errors import WorkerError
from workers.wire.order import Environment, Limits, Network, User
from workers.wire.report import UNKNOWN, Usage

#: Where a package is built; it is in the .buildinfo files, so that a rebuild elsewhere can use the same.
WORK_DIRECTORY = "/build/reproducible-path"
RUN_STEP = "/usr/lib/patchfarm/run-step.sh"
#: Where run-step.sh sets aside what the step made, in the work directory.
OUTPUTS = ".outputs"

#: What a file that leaves a container may be called: what Debian Policy 5.6.12 allows in names and versions, and `_`.
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~_:-]*")


class SandboxError(WorkerError):
    """The engine cannot do it: not there, no space, no such image. One line."""


class EngineAway(SandboxError):
    """No engine answers just now, or it lost sight of a container: what ran may run on, or be seen again."""


class Taken(SandboxError):
    """A container of that name exists: somebody else runs this very step."""


class OutputRefused(WorkerError):
    """What a container offers as its output is not what an output may be."""


class OutputTooLarge(OutputRefused):
    """It is larger than what is left of the limit."""


@dataclass(frozen=True)
class Spec:
    """One container. `name` carries the attempt, so that the engine itself refuses a second start of it."""

    name: str
    attempt: str
    image: str
    command: tuple[str, ...]
    user: User
    network: Network
    environment: Environment
    limits: Limits
    runtime: str


@dataclass(frozen=True)
class Found:
    """A container that is there already, by its id."""

    container: str
    started: bool


@dataclass(frozen=True)
class Ended:
    """How a container's first process ended, how long it ran, in seconds, and what it used."""

    exit_code: int
    out_of_memory: bool
    seconds: float
    usage: Usage = UNKNOWN


class Sandbox(Protocol):
    """A container engine. Every call may raise SandboxError. A container is named by what `create` answered."""

    def create(self, spec: Spec, check: Callable[[], None] = lambda: None) -> str:
        """Make a container and do not start it; `check` may raise to stop, where that takes long. Raises Taken."""

    def find(self, name: str) -> Found | None:
        """The container of that name, where another process made it."""

    def put(self, container: str, files: Sequence[tuple[str, Path]], folder: str = WORK_DIRECTORY) -> None:
        """Copy files under the given names into a folder of a container that was not started yet."""

    def run(self, container: str, sink: Callable[[bytes], None], stop: Callable[[Usage], bool]) -> Ended:
        """Start it, unless it was started already, and wait for its end.

        What it prints, from its very beginning, goes to `sink`. When `stop` says so it is killed; what `stop` or `sink`
        raise is raised, and the container runs on. Raises EngineAway.
        """

    def outputs(self, container: str, into: Path, limits: Limits) -> list[str]:
        """Copy what a stopped container has in OUTPUTS into an empty folder; answers why of each that stayed behind.

        All are regular files with the names that files may have. Raises OutputTooLarge where it is too much.
        """

    def commit(self, container: str) -> str:
        """An image of a stopped container, for the next step."""

    def remove(self, container: str) -> None:
        """Kill it if it runs, and forget it. Nothing happens where there is none."""

    def clear(self, attempt: str) -> None:
        """Remove every container and image of an attempt, whatever state they are in."""

    def sweep(self, keep: Container[str]) -> int:
        """Remove what there is of this worker's attempts but for those to keep; answers how much that was.

        `keep` is asked about each only after it was found: another process may begin an attempt at any moment.
        """
