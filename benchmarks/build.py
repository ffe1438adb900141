# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a build takes here, in patchfarm and without it: the same source, in one run, in turns.

Compared are the package's own commands in a ready tree (the lower bound), sbuild with a chroot tarball (what a
maintainer would use instead), and an attempt of a farm from claim to report: warm, and cold, with neither base image
nor layer.
Targets: warm at most 1.05 of the bare build and 2 s, and at most 0.6 of sbuild. Peers: debusine adds 3.6 s to 1.09,
mini-buildd 2 s to 1.06.
"""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import ImageNotFound

from benchmarks import kit, rooms
from benchmarks.kit import ARCH, Farm
from benchmarks.rooms import Run
from coordinator.model import Job, Update
from workers.wire.order import JobKind

#: The targets: what warm may be of the bare build, with so many seconds on top; what it may be of sbuild; and how many
#: seconds after the claim its own work begins, which what the farm adds in all is an upper bound of.
OF_BARE, ON_TOP, OF_SBUILD, BEGINS = 1.05, 2.0, 0.6, 3.0
_BARE, _SBUILD, _COLD, _WARM = "bare dpkg-buildpackage", "sbuild", "patchfarm cold", "patchfarm warm"


@dataclass(frozen=True)
class Built:
    """An update that was built, and how long that took from claim to report."""

    update: Update
    job: Job
    run: Run

    @property
    def parts(self) -> dict[str, float]:
        """Seconds by the name of the step, with what the farm added to it."""
        steps = self.job.report.steps if self.job.report else ()
        return {step.name: step.seconds + step.overhead for step in steps}

    @property
    def added(self) -> float:
        """Seconds from claim to report in which the package's own commands did not run; most of them before."""
        report = self.job.report
        return self.run.wall - report.steps[-1].seconds if report and report.steps else 0.0


def build(farm: Farm, source: str) -> Built:
    """One update of the archive's source, built and then taken back."""
    said = json.loads(farm.run("submit", source, "--suite", kit.SUITE, "--from-archive", "--json"))
    update = kit.wait_until_built(farm, int(said["id"]))
    farm.run("withdraw", str(update.id), "--why", "measured")
    (job,) = (job for job in update.of_kind(JobKind.BUILD) if job.arch == ARCH)
    if job.started_at is None or job.ended_at is None or job.report is None or job.report.exit_code != 0:
        raise RuntimeError(f"{source} was not built: {job.reason or job.state}")
    wall = (job.ended_at - job.started_at).total_seconds()
    return Built(update, job, Run(wall, job.report.usage.cpu_seconds))


def build_cold(source: str) -> Run:
    """The same on a new farm, with an environment that no base image was ever made of; it leaves none behind."""
    with kit.farm("cold", _unseen, slots="1") as farm:
        built = build(farm, source)
    image = built.job.report.image if built.job.report else ""
    client = docker.from_env()
    _remove(client, image)
    client.close()
    return built.run


def _remove(client: docker.DockerClient, image: str) -> None:
    """An image, and the layers on top of it first."""
    for other in client.api.images(all=True):
        if other["ParentId"] == image:
            _remove(client, str(other["Id"]))
    # One without a name went with the last that stood on it.
    with suppress(ImageNotFound):
        client.api.remove_image(image, force=True)


def _unseen(recipe: str) -> str:
    return kit.only_here(recipe).replace('"fakeroot"]', '"fakeroot", "fakeroot"]')


@contextmanager
def ways(farm: Farm, first: Built, chosen: list[str]) -> Iterator[dict[str, Callable[[], Run]]]:
    """What builds the source without a farm, in each of the chosen ways; what a way has beforehand is prepared."""
    client = docker.from_env(timeout=900)
    image = first.job.report.image if first.job.report else ""
    found: dict[str, Callable[[], Run]] = {}
    with ExitStack() as stack:
        stack.callback(client.close)
        files = fetch(farm, first.update, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        if _BARE in chosen:
            tree = stack.enter_context(rooms.ready_tree(client, image, files))
            found[_BARE] = lambda: rooms.build_bare(tree)
        if _SBUILD in chosen:
            room = stack.enter_context(rooms.sbuild_room(client, image, files, ARCH))
            found[_SBUILD] = lambda: rooms.build_sbuild(room)
        yield found


def fetch(farm: Farm, update: Update, folder: Path) -> list[Path]:
    """The source's files, the .dsc first."""
    paths = [folder / file.name for file in update.source.files]
    for path, file in zip(paths, update.source.files, strict=True):
        with path.open("wb") as into:
            farm.client.fetch(file, into)
    return paths


def in_turns(source: str, repetitions: int, chosen: list[str]) -> tuple[dict[str, list[Run]], list[Built]]:
    """The builds of every way but cold, in turns that begin with another way each time; and what the warm ones were."""
    runs: dict[str, list[Run]] = {}
    warm: list[Built] = []
    with kit.farm("build", kit.only_here, slots="1") as farm:
        first = build(farm, source)

        def once_more() -> Run:
            warm.append(build(farm, source))
            return warm[-1].run

        with ways(farm, first, chosen) as others:
            found = others | ({_WARM: once_more} if _WARM in chosen else {})
            order = list(found)
            for turn in range(repetitions):
                for way in order[turn % len(order) :] + order[: turn % len(order)]:
                    runs.setdefault(way, []).append(_told(way, found[way]()))
    return runs, warm


def _told(way: str, run: Run) -> Run:
    print(f"{way}: {run.wall:.2f} s, {run.cpu:.2f} s of a processor", flush=True)
    return run


def show(source: str, runs: dict[str, list[Run]], warm: list[Built]) -> None:
    """The medians, what they are of each other, and the targets."""
    wall = {way: kit.median([run.wall for run in own]) for way, own in runs.items()}
    bare, sbuild = wall.get(_BARE, 0.0), wall.get(_SBUILD, 0.0)
    rows = [
        (
            way,
            ", ".join(f"{run.wall:.1f}" for run in own),
            wall[way],
            kit.median([run.cpu for run in own]) or "not told",
            wall[way] / bare if bare else "",
            wall[way] / sbuild if sbuild else "",
        )
        for way, own in runs.items()
    ]
    kit.table(f"{source} on {ARCH}: seconds", ("", "wall, each", "median", "processor", "of bare", "of sbuild"), rows)
    for built in warm[-1:]:
        kit.table("the last warm build: seconds", ("step", "wall"), list(built.parts.items()))
        kit.verdict("warm, all but the package's own commands", kit.median([one.added for one in warm]), BEGINS, "s")
        if bare:
            kit.verdict("warm", wall[_WARM], OF_BARE * bare + ON_TOP, "s")
        if sbuild:
            kit.verdict("warm of sbuild", wall[_WARM] / sbuild, OF_SBUILD, "")


def main() -> None:
    """All of it, or the ways that are named."""
    parser = kit.arguments(__doc__)
    parser.add_argument("--source", default="hello", help="a source package of the archive (hello)")
    parser.add_argument("--repetitions", type=int, default=3, help="builds of each way; cold has one (3)")
    names = {"bare": _BARE, "sbuild": _SBUILD, "cold": _COLD, "warm": _WARM}
    parser.add_argument("--only", nargs="+", choices=names, default=list(names), help="these ways alone")
    asked = parser.parse_args()
    chosen = [names[name] for name in asked.only]
    in_turn = [way for way in chosen if way != _COLD]
    runs, warm = in_turns(asked.source, asked.repetitions, in_turn) if in_turn else ({}, [])
    if _COLD in chosen:
        runs[_COLD] = [_told(_COLD, build_cold(asked.source))]
    show(asked.source, runs, warm)
    kit.write(asked.json, {way: [[run.wall, run.cpu] for run in own] for way, own in runs.items()})


if __name__ == "__main__":
    main()
