# SPDX-License-Identifier: GPL-3.0-or-later
"""A Sandbox in memory, for tests: what each step prints, makes and ends with is written down beforehand."""

import contextlib
import hashlib
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from workers.images import Base
from workers.layers import Layer, depends_of, key_of, preparing
from workers.sandbox import (
    FILE_NAME,
    RUN_STEP,
    WORK_DIRECTORY,
    Ended,
    EngineAway,
    Found,
    OutputTooLarge,
    SandboxError,
    Spec,
    Taken,
)
from workers.wire.arch import Arch
from workers.wire.order import Environment, Limits, Network, Order
from workers.wire.report import UNKNOWN, Usage


@dataclass(frozen=True)
class Play:
    """What a step does. One that is `endless` prints again and again until it is stopped.

    `away` is how often the engine goes away before it ends.
    """

    prints: bytes = b""
    exit_code: int = 0
    makes: Mapping[str, bytes] = field(default_factory=dict)
    out_of_memory: bool = False
    endless: bool = False
    fails: str = ""
    usage: Usage = UNKNOWN
    away: int = 0


class FakeSandbox:
    """See Sandbox. `plays` go by the step's name, the last part of a container's; `alive` must end up empty."""

    def __init__(self, plays: Mapping[str, Play]) -> None:
        self.plays = plays
        self.specs: list[Spec] = []
        self.alive: dict[str, Spec] = {}
        self.images: set[str] = set()
        self.put_names: list[str] = []
        self.started: set[str] = set()
        self.labels: dict[str, str] = {}
        self._gone: dict[str, int] = {}

    def _play(self, container: str) -> Play:
        return self.plays.get(container.rpartition("-")[2], Play())

    def create(self, spec: Spec, check: Callable[[], None] = lambda: None) -> str:
        """See Sandbox."""
        if spec.network is Network.MIRROR:
            check()
        if spec.name in self.alive:
            raise Taken(f"a container {spec.name} exists already")
        self.specs.append(spec)
        self.alive[spec.name] = spec
        return spec.name

    def find(self, name: str) -> Found | None:
        """See Sandbox."""
        return Found(name, name in self.started) if name in self.alive else None

    def put(self, container: str, files: Sequence[tuple[str, Path]], folder: str = WORK_DIRECTORY) -> None:
        """See Sandbox."""
        assert folder.startswith("/")  # noqa: S101  # a container has no other
        self.put_names += [f"{container.rpartition('-')[2]}/{name}" for name, path in files if path.exists()]

    def run(self, container: str, sink: Callable[[bytes], None], stop: Callable[[Usage], bool]) -> Ended:
        """See Sandbox."""
        play = self._play(container)
        self.started.add(container)
        if play.fails:
            raise SandboxError(play.fails)
        sink(play.prints)
        self._gone[container] = self._gone.get(container, 0) + 1
        if self._gone[container] <= play.away:
            raise EngineAway("the container engine does not answer")
        killed = stop(play.usage) or play.endless
        while play.endless and not stop(play.usage):
            sink(play.prints)
        return Ended(137 if killed else play.exit_code, play.out_of_memory, 1.0, play.usage)

    def outputs(self, container: str, into: Path, limits: Limits) -> list[str]:
        """See Sandbox."""
        made = {path: content for name in self._until(container) for path, content in self._play(name).makes.items()}
        command = self.alive[container].command
        patterns = command[command.index(RUN_STEP) + 1].splitlines()
        found = {path: content for path, content in made.items() if any(_fits(path, one) for one in patterns)}
        if len(found) > limits.output_files:
            raise OutputTooLarge(f"more than {limits.output_files} files came out")
        if sum(map(len, found.values())) > limits.output_bytes:
            raise OutputTooLarge(f"more than {limits.output_bytes} bytes came out")
        names = {path.rpartition("/")[2]: content for path, content in found.items()}
        for name, content in names.items():
            if FILE_NAME.fullmatch(name):
                (into / name).write_bytes(content)
        return [f"{name!r} is no name for a file" for name in names if not FILE_NAME.fullmatch(name)]

    def _until(self, container: str) -> list[str]:
        names = [spec.name for spec in self.specs]
        return names[: names.index(container) + 1]

    def commit(self, container: str) -> str:
        """See Sandbox."""
        image = f"image-of-{container}"
        self.labels[image] = self.alive[container].attempt
        self.images.add(image)
        return image

    def remove(self, container: str) -> None:
        """See Sandbox."""
        self.alive.pop(container, None)

    def clear(self, attempt: str) -> None:
        """See Sandbox."""
        for name in [spec.name for spec in self.alive.values() if spec.attempt == attempt]:
            self.remove(name)
        self.images = {image for image in self.images if self.labels[image] != attempt}

    def sweep(self, keep: Container[str]) -> int:
        """See Sandbox."""
        before = len(self.alive) + len(self.images)
        for attempt in {spec.attempt for spec in self.specs if spec.attempt not in keep}:
            self.clear(attempt)
        return before - len(self.alive) - len(self.images)


def _fits(path: str, pattern: str) -> bool:
    """As in a shell: a `*` never spans a folder."""
    parts, wanted = PurePosixPath(path).parts, PurePosixPath(pattern).parts
    return len(wanted) == len(parts) and all(map(fnmatchcase, parts, wanted))


class FakeImages:
    """See Images: every environment is there already."""

    def __init__(self, base: Base) -> None:
        self.base = base
        self.forgotten: list[tuple[Environment, Arch]] = []

    def ensure(
        self, environment: Environment, arch: Arch, say: Callable[[bytes], None], check: Callable[[], None]
    ) -> Base:
        """See Images."""
        check()
        say(f"{environment.suite} {arch}\n".encode())
        return self.base

    def forget(self, environment: Environment, arch: Arch) -> None:
        """See Images."""
        self.forgotten.append((environment, arch))


class FakeLayers:
    """See Layers, in memory. `mirror` is the state of its indices: nothing where it does not answer."""

    def __init__(self, mirror: str = "as it is today") -> None:
        self.mirror = mirror
        self.kept: dict[str, Layer] = {}
        self.found: list[str] = []

    def key(self, order: Order, base: Base, files: Sequence[tuple[str, Path]]) -> str:
        """See Layers."""
        depends = depends_of(order, files)
        return key_of(order, base, depends, (self.mirror,)) if self.mirror and preparing(order) else ""

    @contextlib.contextmanager
    def making(self, key: str, check: Callable[[], None]) -> Iterator[None]:
        """See Layers."""
        assert key  # noqa: S101  # nothing is made where there is no key
        check()
        yield

    def find(self, key: str) -> Layer | None:
        """See Layers."""
        if key in self.kept:
            self.found.append(key)
        return self.kept.get(key)

    def keep(self, key: str, container: str) -> Layer:
        """See Layers. Where only the mirror's state is another, the packages are the same."""
        made_from = key.rpartition("-")[0]
        same = [layer for other, layer in self.kept.items() if other.rpartition("-")[0] == made_from]
        self.kept[key] = same[0] if same else Layer(f"layer-of-{container}", hashlib.sha256(b"packages").hexdigest())
        return self.kept[key]
