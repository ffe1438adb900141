# SPDX-License-Identifier: GPL-3.0-or-later
"""How a real farm packs one host: the wall time of many jobs of two architectures, beside the lower bound.

`benchmarks.packing` simulates; here the engine, the worker and the containers are real. A job holds as much memory as
it is told, sleeps as long as it is told, and makes a package: how many processors the machine has is no matter. In a
first round the farm learns what the jobs take. In each round after it the worker is held back until all jobs are
ready; the most urgent ones come in last and have to begin first. The wall time is from letting the worker go to the
end of the last job. The bound is `packing.bound` of the jobs as they were, from claim to report; the stricter one
counts the sleeps alone, as if the farm and the containers took no time.
"""

import math
import re
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import kit, packing
from benchmarks.kit import MIB, SUITE, Farm
from benchmarks.packing import RATIO, Work
from coordinator.model import Job, JobState, Update, Urgency, Worker
from tests.sources import Person, as_files, make_source
from workers.wire.arch import Arch
from workers.wire.order import JobKind

ARCHES = (Arch.AMD64, Arch.I386)
#: What the worker offers: four jobs at once, where their memory allows it.
_SLOTS, _CORES, _MEMORY_MIB = 4, 4, 2400
#: Perl is in every base image. What it holds is written to, so that it is really there.
_HOLD = """perl -e '$$held = "x" x ($$ARGV[0] << 20); sleep $$ARGV[1]' """
_COMMAND = _HOLD + "{mib} $(if $(filter {second},$(DEB_HOST_ARCH)),{there},{here})"
#: How long what dispatch has learned is believed, and a moment more.
_LEARNED = 62.0


@dataclass(frozen=True)
class Package:
    """A source: how many seconds it takes on each of ARCHES, and how much memory."""

    name: str
    seconds: tuple[int, int]
    mib: int
    urgency: Urgency = Urgency.HIGH

    @property
    def rules(self) -> str:
        """Its debian/rules."""
        here, there = self.seconds
        return kit.RULES.format(command=_COMMAND.format(mib=self.mib, second=ARCHES[1], there=there, here=here))


#: In the order they come in: a plain queue would begin the longest and the most urgent last.
MIX = (
    Package("short", (20, 15), 50),
    Package("small", (25, 30), 250),
    Package("mid", (35, 25), 250),
    Package("wide", (30, 40), 600),
    Package("large", (40, 30), 600),
    Package("long", (60, 45), 50),
    Package("urgent", (15, 20), 50, Urgency.CRITICAL),
)


@dataclass(frozen=True)
class Done:
    """A job as it went, in seconds since the worker was let go."""

    package: Package
    work: Work
    slept: int
    began: float
    ended: float


@dataclass(frozen=True)
class Round:
    """All jobs of a round, and the worker that did them."""

    jobs: tuple[Done, ...]
    worker: Worker

    @property
    def wall(self) -> float:
        """Until the last job had ended."""
        return max(each.ended for each in self.jobs)

    def bound(self) -> float:
        """By the jobs as they were."""
        return packing.bound([each.work for each in self.jobs], self.worker)

    def strict(self) -> float:
        """By the sleeps alone."""
        return sum(each.slept for each in self.jobs) / self.worker.slots

    def urgent_first(self) -> bool:
        """Whether nothing began before the urgent ones."""
        urgent = [each.began for each in self.jobs if each.package.urgency == Urgency.CRITICAL]
        return max(urgent) <= min(each.began for each in self.jobs if each.package.urgency != Urgency.CRITICAL)


class Bench:
    """A farm, and the person who hands in the mix again and again."""

    def __init__(self, farm: Farm, folder: Path) -> None:
        self._farm = farm
        self._folder = folder
        self._person = Person("bench")
        farm.run("submitter", "add", "bench", str(self._person.write_cert(folder)), "--replace")

    def round(self, number: int) -> Round:
        """Hand in everything while the worker is held back, let it go, and wait for the last."""
        client, worker = self._farm.client, self._farm.client.workers()[0].worker
        client.drain(worker.name)
        updates = {self._submit(package, number): package for package in MIX}
        kit.wait_for(lambda: all(self._jobs(update, JobState.QUEUED) for update in updates))
        began = datetime.now(UTC)
        client.resume(worker.name)
        ended = [kit.wait_until_built(self._farm, update) for update in updates]
        for update in updates:
            client.withdraw(update, "measured")
        return Round(tuple(done(each, updates[each.id], job, began) for each in ended for job in each.jobs), worker)

    def _submit(self, package: Package, number: int) -> int:
        folder = self._folder / f"{package.name}-{number}"
        paths = make_source(
            folder, package.name, f"1.0-{number}", self._person, tested=False, changes={"rules": package.rules}
        )
        for path, file in zip(paths, as_files(paths), strict=True):
            self._farm.client.store(file, path)
        return self._farm.client.submit(SUITE, as_files(paths), package.urgency).id

    def _jobs(self, update: int, state: JobState) -> bool:
        jobs = self._farm.client.update(update).jobs
        return len(jobs) == len(ARCHES) and all(job.state == state for job in jobs)


def done(update: Update, package: Package, job: Job, began: datetime) -> Done:
    """One job. Raises RuntimeError for one that did not succeed."""
    if job.state != JobState.SUCCEEDED or job.report is None or job.started_at is None or job.ended_at is None:
        raise RuntimeError(f"{update.key(job)} is {job.state}: {job.reason}")
    begun, ended = ((at - began).total_seconds() for at in (job.started_at, job.ended_at))
    usage = job.report.usage
    cores = max(1, math.floor(usage.cpu_seconds / (ended - begun)))
    work = Work(update.id, JobKind.BUILD, job.arch, ended - begun, cores, usage.memory_bytes)
    return Done(package, work, package.seconds[ARCHES.index(job.arch)], begun, ended)


def bare(recipe: str) -> str:
    """The recipe for two architectures, without a preparing step: nothing depends on anything.

    Of the indices only the first, which does not change: one that does has a base image made anew in mid-round.
    """
    recipe = re.sub(r"(?ms)^(indices = \[\n[^\n]*\n).*?^\]", r"\1]", recipe)
    arches = ", ".join(f'"{arch}"' for arch in ARCHES)
    recipe = re.sub(r"(?m)^(build +=).*$", rf"\1 [{arches}]", recipe)
    before, _, rest = recipe.partition('[[build.step]]\nname     = "depends"')
    return before + "[[build.step]]" + rest.partition("[[build.step]]")[2]


def show(number: int, measured: Round) -> None:
    """When each job ran, and how well all of them filled the host."""
    rows = [
        (
            f"{each.package.name} {each.work.arch}",
            each.package.urgency,
            each.slept,
            each.work.memory_bytes // MIB,
            each.began,
            each.ended,
        )
        for each in sorted(measured.jobs, key=lambda each: each.began)
    ]
    kit.table(f"round {number}", ("job", "urgency", "sleeps s", "memory MiB", "began s", "ended s"), rows)
    wall, bound, strict = measured.wall, measured.bound(), measured.strict()
    print(f"wall {wall:.1f} s; bound {bound:.1f} s, of the sleeps alone {strict:.1f} s")
    kit.verdict("wall by bound", wall / bound, RATIO, "")
    kit.verdict("wall by the bound of the sleeps alone", wall / strict, RATIO, "")
    print(f"the urgent ones began first: {'met' if measured.urgent_first() else 'MISSED'}")


def main() -> None:
    """Measure and print."""
    parser = kit.arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="how many rounds after the first (2)")
    asked = parser.parse_args()
    with (
        kit.farm("packed", bare, slots=str(_SLOTS), cores=str(_CORES), memory_mib=str(_MEMORY_MIB)) as farm,
        tempfile.TemporaryDirectory() as folder,
    ):
        bench = Bench(farm, Path(folder))
        bench.round(0)
        time.sleep(_LEARNED)
        rounds = []
        for number in range(1, asked.rounds + 1):
            rounds.append(bench.round(number))
            show(number, rounds[-1])
    kit.write(asked.json, {"ratios": [each.wall / each.bound() for each in rounds]})


if __name__ == "__main__":
    main()
