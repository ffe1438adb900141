# SPDX-License-Identifier: GPL-3.0-or-later
"""Every architecture that a recipe names and that can run here: bootstrapped by the worker's own code, and looked at.

What a step finds inside is compared with what the architecture is: the machine's name, dpkg's, the size of a pointer of
a program that is compiled and run there. An index that does not match its signed Release is the mirror's weather.
"""

import platform
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import docker

from benchmarks import kit
from coordinator import app
from coordinator.config import load
from coordinator.recipe import Recipe, Recipes
from workers.config import BINFMT, tiers_of
from workers.errors import AttemptEnded
from workers.images import DockerImages
from workers.sandbox.docker import DockerSandbox, owner
from workers.steps import spec_of
from workers.wire.arch import Arch, Tier
from workers.wire.order import Environment, JobKey, JobKind, Order, Step

_FARM, _WORKER = "architectures", "bench"
#: What `uname -m` says in a build of each, and the bits of a pointer.
_TRUTH = {
    Arch.AMD64: ("x86_64", 64),
    Arch.I386: ("i686", 32),
    Arch.ARM64: ("aarch64", 64),
    Arch.ARMHF: ("armv7l", 32),
    Arch.PPC64EL: ("ppc64le", 64),
    Arch.S390X: ("s390x", 64),
    Arch.RISCV64: ("riscv64", 64),
}
_PROGRAM = "int main(void){return 8*sizeof(void*);}"
_LOOK = (
    ("uname", "-m"),
    ("dpkg", "--print-architecture"),
    ("sh", "-c", f"echo '{_PROGRAM}' > a.c && gcc a.c && {{ ./a.out; echo $?; }}"),
)


@dataclass(frozen=True)
class Seen:
    """One architecture. `wrong` is empty where all is as it should be."""

    arch: Arch
    suite: str
    tier: Tier
    bootstrap: float
    look: float
    found: tuple[str, ...]
    left_out: tuple[str, ...]
    wrong: str


def environment_of(recipe: Recipe) -> Environment:
    """What a build of the recipe runs in here."""
    indices = app.Mirrors(load()).indices(recipe)
    return Environment(recipe.family, recipe.suite, indices, recipe.environment.packages)


def see(client: docker.DockerClient, home: Path, recipe: Recipe, arch: Arch, tier: Tier) -> Seen:
    """Bootstrap it, unless the image is there, and run a step of a build in it."""
    mine, environment = owner(_FARM, _WORKER), environment_of(recipe)
    try:
        base = DockerImages(client, home, mine).ensure(environment, arch, lambda _: None, lambda: None)
    except AttemptEnded as ended:
        return Seen(arch, environment.suite, tier, 0.0, 0.0, (), (), ended.reason)
    order = Order(
        job=JobKey(1, JobKind.BUILD, arch),
        attempt=1,
        host=arch,
        environment=environment,
        inputs=(),
        steps=(Step("look", _LOOK),),
        collect=(),
        limits=recipe.limits.limits(),
        lease_seconds=60,
    )
    sandbox = DockerSandbox(client, _FARM, _WORKER)
    sandbox.sweep(())
    printed: list[bytes] = []
    began = time.monotonic()
    container = sandbox.create(spec_of(order, 0, base.image, _FARM, tier))
    sandbox.run(container, printed.append, lambda _: False)
    look = time.monotonic() - began
    sandbox.sweep(())
    lines = b"".join(printed).decode(errors="replace").splitlines()
    found = tuple(line for line in lines if not line.startswith("+ "))
    name, bits = _TRUTH[arch]
    wrong = "" if found == (name, str(arch), str(bits)) else f"expected {name} {arch} {bits}"
    return Seen(arch, environment.suite, tier, base.seconds, look, found, base.left_out, wrong)


def plan() -> dict[Arch, Recipe]:
    """Each architecture with the first recipe that builds for it."""
    known = Recipes(load().recipes)
    recipes = [known.of_suite(suite)[0] for suite in known.suites()]
    return {arch: next(recipe for recipe in recipes if arch in recipe.arch.build) for arch in _TRUTH}


def main() -> None:
    """Bookworm's architectures, and those that only trixie has; the exit code is 1 where one is wrong."""
    parser = kit.arguments(__doc__)
    parser.add_argument("--arch", action="append", type=Arch, help="this one alone; may be repeated")
    parser.add_argument("--fresh", action="store_true", help="bootstrap also what is there already")
    asked = parser.parse_args()
    tiers, seen = tiers_of(platform.machine(), BINFMT), list[Seen]()
    client = docker.from_env()
    with tempfile.TemporaryDirectory() as folder:
        for arch, recipe in plan().items():
            if arch not in (asked.arch or tiers):
                continue
            if asked.fresh:
                DockerImages(client, Path(folder), owner(_FARM, _WORKER)).forget(environment_of(recipe), arch)
            seen.append(see(client, Path(folder), recipe, arch, tiers[arch]))
            print(f"{arch}: {seen[-1].wrong or 'well'}", flush=True)
    client.close()
    heads = ("architecture", "suite", "tier", "bootstrap s", "look s", "found", "left out", "wrong")
    rows = [(s.arch, s.suite, s.tier, s.bootstrap, s.look, " ".join(s.found), len(s.left_out), s.wrong) for s in seen]
    kit.table("uname -m, dpkg --print-architecture, bits of a pointer", heads, rows)
    kit.write(asked.json, {"architectures": [vars(one) for one in seen]})
    sys.exit(1 if any(one.wrong for one in seen) else 0)


if __name__ == "__main__":
    main()
