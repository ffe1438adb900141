# SPDX-License-Identifier: GPL-3.0-or-later
"""A Sandbox in memory, for tests: what each step prints, makes and ends with is written down beforehand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from workers.images import Base
from workers.sandbox import Ended, OutputTooLarge, SandboxError, Spec, Taken, fits
from workers.wire.arch import Arch
from workers.wire.order import Environment


@dataclass(frozen=True)
class Play:
    """What a step does. One that is `endless` prints again and again until it is stopped."""

    prints: bytes = b""
    exit_code: int = 0
    makes: Mapping[str, bytes] = field(default_factory=dict)
    out_of_memory: bool = False
    endless: bool = False
    fails: str = ""


class FakeSandbox:
    """See Sandbox. `plays` go by the step's name, the last part of a container's; `alive` must end up empty."""

    def __init__(self, plays: Mapping[str, Play]) -> None:
        self.plays = plays
        self.specs: list[Spec] = []
        self.alive: dict[str, Spec] = {}
        self.images: set[str] = set()
        self.put_names: list[str] = []

    def _play(self, container: str) -> Play:
        return self.plays.get(container.rpartition("-")[2], Play())

    def create(self, spec: Spec) -> str:
        """See Sandbox."""
        if spec.name in self.alive:
            raise Taken(f"a container {spec.name} exists already")
        self.specs.append(spec)
        self.alive[spec.name] = spec
        return spec.name

    def put(self, container: str, files: Sequence[tuple[str, Path]]) -> None:
        """See Sandbox."""
        self.put_names += [f"{container.rpartition('-')[2]}/{name}" for name, path in files if path.exists()]

    def run(self, container: str, sink: Callable[[bytes], None], stop: Callable[[], bool]) -> Ended:
        """See Sandbox."""
        play = self._play(container)
        if play.fails:
            raise SandboxError(play.fails)
        sink(play.prints)
        while play.endless and not stop():
            sink(play.prints)
        return Ended(137 if play.endless else play.exit_code, play.out_of_memory, 1.0)

    def changed(self, container: str, patterns: Sequence[str]) -> list[str]:
        """See Sandbox."""
        made = self._play(container).makes
        return [path for path in made if any(fits(PurePosixPath(path), pattern) for pattern in patterns)]

    def get(self, container: str, path: str, into: Path, most: int) -> int:
        """See Sandbox."""
        layers = [self._play(name).makes for name in self._until(container)]
        content = next((made[path] for made in reversed(layers) if path in made), None)
        if content is None:
            raise FileNotFoundError(path)
        if len(content) > most:
            raise OutputTooLarge(f"{path} is larger than the {most} bytes that are left")
        into.write_bytes(content)
        return len(content)

    def _until(self, container: str) -> list[str]:
        names = [spec.name for spec in self.specs]
        return names[: names.index(container) + 1]

    def commit(self, container: str) -> str:
        """See Sandbox."""
        image = f"image-of-{container}"
        self.images.add(image)
        return image

    def remove(self, container: str) -> None:
        """See Sandbox."""
        self.alive.pop(container, None)

    def remove_image(self, image: str) -> None:
        """See Sandbox."""
        self.images.discard(image)

    def sweep(self) -> int:
        """See Sandbox."""
        found = len(self.alive) + len(self.images)
        self.alive.clear()
        self.images.clear()
        return found


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
