# SPDX-License-Identifier: GPL-3.0-or-later
"""Every architecture that a recipe names: bootstrapped by the worker's own code, and looked at from a build's place.

What a step finds inside is compared with what the architecture is: the names that the kernel and dpkg tell, the size of
a long, and what a program says that was compiled and run there. A mirror whose index does not match its signed Release
is named, and counts neither as wrong nor as well; `--first-index` leaves out all but the one that is bootstrapped. An
architecture that nothing here can run is only named, unless it was asked for.
"""

import platform
import re
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

import docker

from benchmarks import kit
from benchmarks.kit import MIB
from coordinator import app, work
from coordinator.config import load
from coordinator.recipe import Recipe, Recipes
from workers import deb
from workers.config import BINFMT, tiers_of
from workers.errors import AttemptEnded
from workers.images import Base, DockerImages
from workers.proxy import DockerProxy, own_arch
from workers.sandbox import SandboxError
from workers.sandbox.docker import DockerSandbox, engine_errors, owner
from workers.steps import spec_of
from workers.wire.arch import Arch, Tier
from workers.wire.order import Environment, JobKey, JobKind, Network, Order, Step, User

#: Nobody else's and no other run's, so that nobody sweeps what is made here.
_FARM, _WORKER = f"bench{secrets.token_hex(4)}", "architectures"
_OWNER = owner(_FARM, _WORKER)
_LITTLE, _BIG = "little end first", "big end first"
#: What `uname -m` says in a build of each, the bits of a long and of a pointer, and how memory has a number.
_TRUTH = {
    Arch.AMD64: ("x86_64", 64, _LITTLE),
    Arch.I386: ("i686", 32, _LITTLE),
    Arch.ARM64: ("aarch64", 64, _LITTLE),
    Arch.ARMHF: ("armv7l", 32, _LITTLE),
    Arch.PPC64EL: ("ppc64le", 64, _LITTLE),
    Arch.S390X: ("s390x", 64, _BIG),
    Arch.RISCV64: ("riscv64", 64, _LITTLE),
}
_PROGRAM = f"""#include <stdio.h>
int main(void) {{ int one = 1; printf("%zu, %s\\n", 8 * sizeof &one, *(char *)&one ? "{_LITTLE}" : "{_BIG}"); }}
"""
#: As a recipe has them: what needs the mirror first, and then a step of the builder's, who has no network.
_STEPS = (
    Step("update", (("apt-get", "update"),), User.ROOT, Network.MIRROR, prepares=True),
    Step(
        "look",
        (
            ("uname", "-m"),
            ("dpkg", "--print-architecture"),
            ("getconf", "LONG_BIT"),
            ("gcc", "-Wall", "-Werror", "-o", "program", "program.c"),
            ("./program",),
        ),
    ),
)
#: What apt says of an index that its signed Release does not list like this.
_WEATHER = re.compile(r"unexpected size|Hash Sum mismatch|Mirror sync in progress")


class Verdict(StrEnum):
    """What came of an architecture."""

    WELL = "well"
    PARTLY = "well, without an index"
    WRONG = "WRONG"
    WEATHER = "the mirror's weather"
    NOT_HERE = "nothing here runs it"


@dataclass(frozen=True)
class Seen:
    """One architecture: seconds of the bootstrap and of each step, bytes of the image, what was found, and why not."""

    arch: Arch
    suite: str
    tier: Tier | None
    verdict: Verdict
    bootstrap: float = 0.0
    image_bytes: int = 0
    steps: tuple[float, ...] = ()
    found: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Site:
    """The parts of a worker that runs containers, for this alone."""

    client: docker.DockerClient
    images: DockerImages
    sandbox: DockerSandbox
    program: Path
    first_index: bool

    def see(self, recipe: Recipe, arch: Arch, tier: Tier, fresh: bool) -> Seen:
        """Bootstrap it, unless the image is there and good enough, and run the steps of a build in it."""
        environment = environment_of(recipe, self.first_index)
        seen = Seen(arch, recipe.suite, tier, Verdict.WRONG)
        try:
            if fresh:
                self.images.forget(environment, arch)
            base = self.images.ensure(environment, arch, lambda _: None, lambda: None)
            seen = replace(seen, bootstrap=base.seconds, image_bytes=self._size(base), left_out=base.left_out)
            return _judged(self._walk(seen, order_of(recipe, environment, arch), base))
        except (AttemptEnded, SandboxError) as error:
            verdict = Verdict.WEATHER if _WEATHER.search(str(error)) else Verdict.WRONG
            return replace(seen, verdict=verdict, why=str(error))
        finally:
            self.sandbox.sweep(())

    def _walk(self, seen: Seen, order: Order, base: Base) -> Seen:
        """Run each step on what the one before left behind. Raises AttemptEnded, SandboxError."""
        assert seen.tier is not None  # noqa: S101  # it runs here
        image, times, said = base.image, [time.monotonic()], ""
        for number, step in enumerate(order.steps):
            container = self.sandbox.create(spec_of(order, number, image, _FARM, seen.tier))
            if not step.prepares:
                self.sandbox.put(container, [("program.c", self.program)])
            printed: list[bytes] = []
            ended = self.sandbox.run(container, printed.append, lambda _: False)
            said = b"".join(printed).decode(errors="replace")
            if ended.exit_code != 0:
                raise deb.why_unprepared(said, step.name, ended.exit_code)
            image = self.sandbox.commit(container)
            times.append(time.monotonic())
        found = tuple(line for line in said.splitlines() if not line.startswith("+ "))
        return replace(seen, steps=tuple(after - before for before, after in pairwise(times)), found=found)

    @engine_errors()
    def _size(self, base: Base) -> int:
        return int(self.client.images.get(base.image).attrs["Size"])


def _judged(seen: Seen) -> Seen:
    name, bits, end = _TRUTH[seen.arch]
    wanted = (name, str(seen.arch), str(bits), f"{bits}, {end}")
    if seen.found == wanted:
        return replace(seen, verdict=Verdict.PARTLY if seen.left_out else Verdict.WELL)
    return replace(seen, verdict=Verdict.WRONG, why=f"expected {'; '.join(wanted)}")


def environment_of(recipe: Recipe, first_index: bool) -> Environment:
    """What a build of the recipe runs in here, or what it would with one index alone."""
    indices = app.Mirrors(load()).indices(recipe)[: 1 if first_index else None]
    return work.environment_of(recipe, indices)


def order_of(recipe: Recipe, environment: Environment, arch: Arch) -> Order:
    """What a worker would be told."""
    return Order(
        job=JobKey(1, JobKind.BUILD, arch),
        attempt=1,
        host=arch,
        environment=environment,
        inputs=(),
        steps=_STEPS,
        collect=(),
        limits=recipe.limits.limits(),
        lease_seconds=60,
    )


def plan() -> dict[Arch, Recipe]:
    """Each architecture with the first recipe that builds for it."""
    known = Recipes(load().recipes)
    recipes = [known.of_suite(suite)[0] for suite in known.suites()]
    return {arch: recipe for arch in _TRUTH for recipe in reversed(recipes) if arch in recipe.arch.build}


@contextmanager
def site(tiers: dict[Arch, Tier], first_index: bool) -> Iterator[Site]:
    """A worker's parts, of which nothing is left but base images."""
    client = docker.from_env(timeout=900)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        program = home / "program.c"
        program.write_text(_PROGRAM)
        images = DockerImages(client, home, _OWNER, load().paths.keyrings)
        proxy = DockerProxy(client, images, home, own_arch(platform.machine(), tiers), _OWNER)
        try:
            yield Site(client, images, DockerSandbox(client, _FARM, _WORKER, proxy), program, first_index)
        finally:
            proxy.retire()
            for volume in client.volumes.list(filters={"label": f"patchfarm.farm={_FARM}"}):
                volume.remove()
            client.close()


def show(seen: list[Seen]) -> None:
    """The table, and below it what is not well, or not all there."""
    heads = ("architecture", "suite", "tier", "bootstrap s", "MiB", *(f"{step.name} s" for step in _STEPS), "")
    rows = [
        (
            one.arch,
            one.suite,
            one.tier or "none",
            one.bootstrap,
            one.image_bytes // MIB,
            *(one.steps or ("",) * len(_STEPS)),
            one.verdict,
        )
        for one in seen
    ]
    kit.table("bootstrapped (0 where the image was there), updated by way of the proxy, looked at", heads, rows)
    heads = ("architecture", "uname -m", "dpkg", "LONG_BIT", "a program")
    kit.table("what a build finds", heads, [(one.arch, *one.found) for one in seen if one.found])
    for one in seen:
        for line in (*one.left_out, *([one.why] if one.why else [])):
            print(f"{one.arch}: {line}")


def main() -> None:
    """Bookworm's architectures, and those that only trixie has; the exit code is 1 where one is wrong."""
    parser = kit.arguments(__doc__)
    parser.add_argument("--arch", action="append", type=Arch, choices=_TRUTH, help="this one alone; may be repeated")
    parser.add_argument("--fresh", action="store_true", help="bootstrap also what is there already")
    parser.add_argument("--first-index", action="store_true", help="of each suite's indices the first alone")
    asked = parser.parse_args()
    tiers, seen = tiers_of(platform.machine(), BINFMT), list[Seen]()
    with site(tiers, asked.first_index) as here:
        for arch, recipe in plan().items():
            if asked.arch and arch not in asked.arch:
                continue
            tier = tiers.get(arch)
            missing = Seen(arch, recipe.suite, None, Verdict.WRONG if asked.arch else Verdict.NOT_HERE)
            seen.append(here.see(recipe, arch, tier, asked.fresh) if tier else missing)
            print(f"{arch}: {seen[-1].verdict}", flush=True)
    show(seen)
    kit.write(asked.json, {"architectures": [asdict(one) for one in seen]})
    sys.exit(1 if any(one.verdict is Verdict.WRONG for one in seen) else 0)


if __name__ == "__main__":
    main()
