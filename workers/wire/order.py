# SPDX-License-Identifier: GPL-3.0-or-later
"""What a worker is told: everything it needs for one attempt, resolved, and nothing it could decide."""

from dataclasses import dataclass
from enum import StrEnum

from workers.wire.arch import Arch

#: Grows with every change that one side must not make without the other: 2 is of attempts that bring their own files.
WIRE_VERSION = 2


class JobKind(StrEnum):
    """What a job is for. `check` and `rebuild` are reserved words: no recipe asks for them yet."""

    BUILD = "build"
    TEST = "test"
    CHECK = "check"
    REBUILD = "rebuild"


class Network(StrEnum):
    """What a step may reach: nothing, or the archive mirror."""

    NONE = "none"
    MIRROR = "mirror"


class User(StrEnum):
    """Who a step runs as inside the container."""

    ROOT = "root"
    BUILDER = "builder"


@dataclass(frozen=True)
class JobKey:
    """Names one job of the farm; together with an attempt number it names one try."""

    update: int
    kind: JobKind
    arch: Arch

    def __str__(self) -> str:
        return f"{self.update}/{self.kind}/{self.arch}"


@dataclass(frozen=True)
class Index:
    """One apt source. An optional one that does not verify is left out, and the report says so."""

    url: str
    suite: str
    components: tuple[str, ...]
    optional: bool = False


@dataclass(frozen=True)
class Environment:
    """The base image: bootstrapped from `indices[0]`, with `packages` on top of build-essential.

    `keyring` names the one of the worker's own that all of the indices have to verify against.
    """

    family: str
    suite: str
    keyring: str
    indices: tuple[Index, ...]
    packages: tuple[str, ...]


@dataclass(frozen=True)
class Input:
    """A file the worker downloads by its sha256 and puts under its name into the work directory."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Step:
    """One container: its commands run in order, as argv lists, and stop at the first that fails.

    A failing step that `prepares` says something about the dependencies or the mirror, not about the package's build.
    """

    name: str
    run: tuple[tuple[str, ...], ...]
    user: User = User.BUILDER
    network: Network = Network.NONE
    prepares: bool = False


@dataclass(frozen=True)
class Limits:
    """What one attempt may use before it is stopped. Of `cores` it gets no more, and fewer where the host has fewer."""

    seconds: int
    cores: int
    memory_bytes: int
    processes: int
    disk_bytes: int
    log_bytes: int
    output_bytes: int
    output_files: int


@dataclass(frozen=True)
class Order:
    """One attempt at one job. `attempt` is the fencing number: a report that carries an older one is refused.

    `runtime` names the OCI runtime of its containers, as the engine's settings do (`runsc`); empty is the engine's own.
    """

    job: JobKey
    attempt: int
    host: Arch
    environment: Environment
    inputs: tuple[Input, ...]
    steps: tuple[Step, ...]
    collect: tuple[str, ...]
    limits: Limits
    lease_seconds: int
    runtime: str = ""
    version: int = WIRE_VERSION
