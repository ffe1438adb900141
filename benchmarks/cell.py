# SPDX-License-Identifier: GPL-3.0-or-later
"""One cell of a fault matrix: an update that has come to a stage, a fault, and everything that must hold afterwards.

The update has come to where it belongs; every attempt that was claimed was ended once, and the history says why; the
log has every line once and in order; of the attempts nothing is left in the engine or on a disk.
"""

import re
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from benchmarks import kit, leftovers
from benchmarks.kit import ARCH, SUITE, Farm
from coordinator import embedded
from coordinator.embedded import machine
from coordinator.embedded.supervisor import ServiceState
from coordinator.errors import PatchfarmError
from coordinator.model import ENDED, Job, JobState, Update, UpdateState
from tests.sources import Person, make_source
from workers.wire.order import JobKind

#: Lines that build and test print, one each tenth of a second, and after which of them something happens.
LINES, AMID = 60, 15
#: Seconds of a lease in these farms, and how long an update may take to come to rest.
LEASE, REST = 12, 240.0
#: How long after the last report something may be left that is about to go, in seconds.
TIDY = 15.0
#: The version of a package whose dependencies somebody may have prepared before.
_USUAL = "1.0-1"
_SAYS = f"i=0; while [ $$i -lt {LINES} ]; do i=$$((i+1)); echo line $$i; sleep 0.1; done"
_TEST = f"Test-Command: {_SAYS.replace('$$', '$')}\nDepends:\n"
#: How the history says that an attempt came to nothing: by a fault of the farm's, or by nobody's.
_LOST = ("JobLost", "JobGivenBack")
#: An attempt as the history names it.
_ATTEMPT = re.compile(r"\bkind (\w+), arch (\w+), attempt (\d+)")


@dataclass(frozen=True)
class Fault:
    """What is done to a farm, and what it may lead to.

    `inject` answers what is worth telling of it. `first` happens before the stage is waited for, while the farm's own
    worker takes nothing. `most` is how many attempts it may cost, `restarts` are the services that it ends, `state` is
    where the update comes to rest. With `adopts`, a build in the middle of its own step is gone on with.
    """

    inject: Callable[[Farm, int], str | None]
    first: Callable[[Farm, int, str], None] | None = None
    most: int = 0
    restarts: tuple[str, ...] = ()
    state: UpdateState = UpdateState.AWAITING_APPROVAL
    adopts: bool = False


@dataclass
class Cell:
    """One fault at one stage, and everything that is wrong afterwards. `lost` is what the history says of lost ones."""

    fault: str
    stage: str
    seconds: float = 0.0
    attempts: int = 0
    adopted: int = 0
    told: str = ""
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def queued(farm: Farm, update: int) -> None:
    """A build that no worker has, as the only one there is does not take any."""
    kit.wait_for(lambda: (job := build_of(farm, update)) is not None and job.state == JobState.QUEUED, pause=0.01)


def preparing(farm: Farm, update: int) -> None:
    """The dependencies are being installed."""
    kit.wait_for(lambda: b"preparing" in log_of(farm, update, JobKind.BUILD))


def building(farm: Farm, update: int) -> None:
    """The package's own step is in the middle of it."""
    kit.wait_for(lambda: f"line {AMID}\n".encode() in log_of(farm, update, JobKind.BUILD))


def reporting(farm: Farm, update: int) -> None:
    """The package's own step is at its end: its files come out, and the report goes off."""
    kit.wait_for(lambda: b"dpkg-genchanges" in log_of(farm, update, JobKind.BUILD), pause=0.01)


def testing(farm: Farm, update: int) -> None:
    """The test is in the middle of it."""
    kit.wait_for(lambda: f"line {AMID}\n".encode() in log_of(farm, update, JobKind.TEST))


STAGES: dict[str, Callable[[Farm, int], None]] = {
    stage.__name__: stage for stage in (queued, preparing, building, reporting, testing)
}


@dataclass(frozen=True)
class Asked:
    """The cells that a command line asks for, fault by fault, and where the figures go as well."""

    faults: tuple[str, ...]
    stages: tuple[str, ...]
    json: Path | None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return product(self.faults, self.stages)


def asked(about: str | None, faults: Collection[str]) -> Asked:
    """What the command line says: every fault at every stage, unless some are named."""
    parser = kit.arguments(about)
    parser.add_argument("--fault", action="append", choices=faults, help="this one alone; may be given again")
    parser.add_argument("--stage", action="append", choices=STAGES, help="this one alone; may be given again")
    said = parser.parse_args()
    return Asked(tuple(said.fault or faults), tuple(said.stage or STAGES), said.json)


def run(farm: Farm, name: str, fault: Fault, stage: str) -> Cell:
    """Inject the fault at the stage of a new update, wait for rest, and look at everything."""
    cell = Cell(name, stage)
    drained = stage == queued.__name__ or fault.first is not None
    if drained:
        farm.client.drain(machine.worker_name())
    before = farm.services()
    # A version that nobody here has had: else its dependencies are found ready, and there is nothing to prepare.
    version = f"1.0-{secrets.randbelow(1 << 30) + 2}" if stage == preparing.__name__ else _USUAL
    update = submit(farm, f"cell-{secrets.token_hex(4)}", version)
    try:
        if fault.first is not None:
            fault.first(farm, update, stage)
        STAGES[stage](farm, update)
        container = leftovers.containers(farm)
        began = time.monotonic()
        cell.told = fault.inject(farm, update) or ""
        if drained:
            kit.wait_for(lambda: resumed(farm), REST)
        kit.wait_for(lambda: at_rest(farm, update), REST, pause=0.2)
        cell.seconds = time.monotonic() - began
        look(farm, update, cell, fault.state)
        cell.wrong += _unlike(fault, cell, len(container))
        kit.wait_for(lambda: not _down(farm, before, fault.restarts), TIDY)
    except (TimeoutError, RuntimeError) as error:
        cell.wrong.append(f"{error}; {story(farm, update)}; not up again: {_down(farm, before, fault.restarts)}")
    return cell


def warm_up(farm: Farm) -> None:
    """One update without a fault: the first may need base images, which takes longer than an update may else take."""
    update = submit(farm, "first")
    kit.wait_for(lambda: at_rest(farm, update), pause=0.5)


def resumed(farm: Farm) -> bool:
    """Whether the worker could be given work again: somebody has to answer for that."""
    with suppress(PatchfarmError):
        farm.client.resume(machine.worker_name())
        return True
    return False


def submit(farm: Farm, name: str, version: str = _USUAL) -> int:
    """A package whose build and test print numbered lines."""
    with tempfile.TemporaryDirectory() as folder:
        person = Person("bench")
        farm.run("submitter", "add", "bench", str(person.write_cert(Path(folder))), "--replace")
        changes = {"rules": kit.RULES.format(command=f"@{_SAYS}"), "tests/control": _TEST}
        dsc = make_source(Path(folder) / "source", name, version, person, changes=changes)[0]
        said = farm.run("submit", str(dsc), "--suite", SUITE, "--json")
    match = re.search(r'"id": *(\d+)', said)
    if match is None:
        raise RuntimeError(said)
    return int(match[1])


def at_rest(farm: Farm, update: int) -> bool:
    """Whether people are asked, or it is over; not while nobody answers."""
    now = known(farm, update)
    return now is not None and (now.state == UpdateState.AWAITING_APPROVAL or now.state in ENDED)


def known(farm: Farm, update: int) -> Update | None:
    """The update, where somebody answers."""
    with suppress(PatchfarmError):
        return farm.client.update(update)
    return None


def build_of(farm: Farm, update: int) -> Job | None:
    """Its build, where somebody answers."""
    now = known(farm, update)
    return now.job(JobKind.BUILD, ARCH) if now else None


def log_of(farm: Farm, number: int, kind: JobKind) -> bytes:
    """The log of the current attempt so far."""
    update = known(farm, number)
    job = update.job(kind, ARCH) if update else None
    if update is None or job is None or job.attempt == 0:
        return b""
    with suppress(PatchfarmError):
        return farm.client.log(update.key(job), job.attempt, 0).data
    return b""


def look(farm: Farm, number: int, cell: Cell, state: UpdateState = UpdateState.AWAITING_APPROVAL) -> None:
    """Write down what is not as it must be."""
    update = farm.client.update(number)
    if update.state != state:
        cell.wrong.append(f"the update is {update.state}: {update.reason}")
    _look_at_history(farm, number, cell)
    for job in update.jobs:
        _look_at_job(farm, update, job, cell)
    with suppress(TimeoutError):
        kit.wait_for(lambda: not leftovers.of_attempts(farm), TIDY, pause=0.2)
    cell.wrong += leftovers.of_attempts(farm)


def _look_at_history(farm: Farm, number: int, cell: Cell) -> None:
    """Whatever was claimed has ended once, each loss has a reason, and the chain of entries is whole."""
    history = farm.client.history(number)
    claimed = Counter(_attempts(entry.detail) for entry in history if entry.event == "JobClaimed")
    ended = Counter(_attempts(entry.detail) for entry in history if entry.event in ("JobEnded", *_LOST))
    twice = {*(claimed - Counter(set(claimed))), *(ended - Counter(set(ended)))}
    cell.wrong += [f"{' '.join(attempt)} was claimed or ended twice" for attempt in twice]
    cell.wrong += [f"{' '.join(attempt)} was never ended" for attempt in claimed - ended]
    cell.wrong += [f"{' '.join(attempt)} was ended and never claimed" for attempt in ended - claimed]
    for entry in history:
        if entry.event in _LOST:
            reason = entry.detail.partition("reason ")[2]
            cell.lost.append(f"{' '.join(_attempts(entry.detail))}: {reason}")
            cell.wrong += [] if reason else ["the history does not say why an attempt was lost"]
    # It ends with an exit code of its own where a link of the chain does not hold, and that is raised.
    farm.run("history", str(number))


def _attempts(detail: str) -> tuple[str, ...]:
    match = _ATTEMPT.search(detail)
    return match.groups() if match else ("?",)


def _look_at_job(farm: Farm, update: Update, job: Job, cell: Cell) -> None:
    """It succeeded, unless it was cancelled; and the log of the attempt that counted is whole."""
    cell.attempts += job.attempt
    cell.adopted += job.report.adopted if job.report else 0
    if job.state == JobState.CANCELLED and update.state == UpdateState.FAILED:
        return
    if job.state != JobState.SUCCEEDED:
        cell.wrong.append(f"{job.kind} is {job.state}: {job.reason}")
    log = farm.client.log(update.key(job), job.attempt, 0).data.decode(errors="replace")
    if re.findall(r"^line (\d+)$", log, re.MULTILINE) != [str(line) for line in range(1, LINES + 1)]:
        cell.wrong.append(f"the log of {job.kind} has other lines than were printed")


def _unlike(fault: Fault, cell: Cell, containers: int) -> list[str]:
    """What the fault cost more than it may."""
    wrong = []
    if len(cell.lost) > fault.most:
        wrong.append(f"{len(cell.lost)} attempts were lost, {fault.most} at most should be")
    if fault.adopts and containers and cell.stage in (building.__name__, testing.__name__) and cell.adopted != 1:
        wrong.append(f"the attempt was adopted {cell.adopted} times, not once")
    return wrong


def _down(farm: Farm, before: Mapping[str, int], restarts: Sequence[str]) -> list[str]:
    """The services that do not run, or run on though the fault should have ended them."""
    rows = embedded.status(farm.home)
    return [
        row.name
        for row in rows
        if row.state != ServiceState.RUNNING or (row.name in restarts and row.pid == before[row.name])
    ] or ([] if rows else ["supervisord"])


def story(farm: Farm, update: int) -> str:
    """The end of what happened, as the farm tells it."""
    if known(farm, update) is None:
        return "nobody answers"
    return "; ".join(f"{entry.event} {entry.detail}" for entry in farm.client.history(update)[-6:])


def with_a_slow_preparation(recipe: str) -> str:
    """The recipe for one architecture; its dependencies take a few seconds, and are found ready for a known version."""
    slow = '["apt-get", "update"],'
    return kit.only_here(recipe).replace(slow, f'["sh", "-c", "echo preparing {{version}}; sleep 3"],\n    {slow}')


def tell(cell: Cell) -> Cell:
    """Print a cell as soon as it is over."""
    more = [*([cell.told] if cell.told else []), *(f"lost {attempt}" for attempt in cell.lost)]
    found = "; ".join(cell.wrong) or "well"
    print("; ".join([f"{cell.fault} {cell.stage}: {found} ({cell.seconds:.1f} s)", *more]), flush=True)
    return cell


def conclude(farm: Farm, title: str, cells: Sequence[Cell], path: Path | None) -> None:
    """Put the farm down, see that nothing is left of it, print the table; the exit code is 1 where a cell is wrong."""
    end = Cell("down", "afterwards")
    files = leftovers.collect(farm)
    end.wrong += [f"the collector does not take {name}" for name in files.kept]
    end.wrong += [f"an update refers to {name}, which is gone" for name in files.missing]
    print(f"files: {files.referred} belong to updates; the collector took {files.gone} that nobody refers to")
    farm.run("down")
    end.wrong += leftovers.of_the_farm(farm)
    every = [*cells, tell(end)]
    heads = ("fault", "stage", "seconds to rest", "attempts", "lost", "adopted", "wrong")
    rows = [(c.fault, c.stage, c.seconds, c.attempts, len(c.lost), c.adopted, len(c.wrong)) for c in every]
    kit.table(title, heads, rows)
    kit.write(path, {"cells": [vars(cell) for cell in every]})
    sys.exit(1 if any(cell.wrong for cell in every) else 0)
