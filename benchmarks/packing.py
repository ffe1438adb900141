# SPDX-License-Identifier: GPL-3.0-or-later
"""Many architectures on one host: how long dispatch lets all their jobs take, beside the lower bound of any schedule.

A simulation in which `dispatch.choose` itself decides; nothing is built (that is `benchmarks.packed`). The bound is the
one that list schedules are measured by: the largest of the longest way (a build and its test), and of all work divided
by the cores, by the memory, and by the slots. No schedule can go below it, and often none can reach it: with few jobs
what begins last ends alone. `--search` says how near one can come at all: for each mix that dispatch takes longer for
it tries so many list schedules that know every length beforehand.

`no past` is a farm's first day, when nobody knows how long anything takes; otherwise the past is wrong by some tenths,
as a real one is. Jobs that together want more cores than there are all go slower; that memory runs short is not
simulated. Compared with first come, first served: the oldest job for whichever slot is free, as a plain queue has it.
"""

import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from benchmarks import kit
from coordinator.dispatch import Board, Piece, Room, choose
from coordinator.expectations import Expectations, expect
from coordinator.model import Clearance, Job, JobState, OpenJob, Origin, Past, Urgency, Worker
from workers.wire.arch import Arch, Tier
from workers.wire.order import JobKind, Limits

#: The target: wall time by lower bound.
RATIO = 1.10
#: A mix is worth a search where dispatch takes more of its bound than this.
FAR = 1.05
_GIB = 1 << 30
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
#: What a host with an x86-64 processor offers. Of qemu-user it was measured: 150 to 300 s where a native host takes 6.
_NATIVE = (Arch.AMD64, Arch.I386)
_EMULATED = (Arch.ARM64, Arch.ARMHF, Arch.PPC64EL, Arch.S390X)
_TIERS = {**dict.fromkeys(_NATIVE, Tier.NATIVE), **dict.fromkeys(_EMULATED, Tier.EMULATED)}


@dataclass(frozen=True)
class Work:
    """A job as it will really turn out."""

    update: int
    kind: JobKind
    arch: Arch
    seconds: float
    cores: int
    memory_bytes: int


Mix = Callable[[random.Random], list[Work]]
Chooser = Callable[[Board, Worker], Piece | None]


def update(number: int, native: float, cores: int, memory: int, chance: random.Random) -> Iterator[Work]:
    """A build of every architecture, and a test of each that is of one core."""
    for arch, tier in _TIERS.items():
        slower = 1.0 if tier is Tier.NATIVE else chance.uniform(25, 50)
        yield Work(number, JobKind.BUILD, arch, native * slower, cores, memory)
        yield Work(number, JobKind.TEST, arch, native * chance.uniform(0.3, 2) * slower**0.7, 1, memory // 2)


def libmodbus(chance: random.Random) -> list[Work]:
    """One small library."""
    return list(update(1, 6, 1, _GIB // 2, chance))


def several(updates: int) -> Mix:
    """So many packages of very different sizes."""

    def mix(chance: random.Random) -> list[Work]:
        return [
            work
            for number in range(1, updates + 1)
            for work in update(
                number,
                chance.lognormvariate(3, 1),
                chance.choice((1, 1, 2, 4)),
                chance.choice((1, 2, 4)) * _GIB,
                chance,
            )
        ]

    return mix


def learned(works: list[Work], chance: random.Random) -> Expectations:
    """A past in which the same jobs took about as long."""
    return expect(
        Past(
            f"s{work.update}",
            work.kind,
            work.arch,
            _TIERS[work.arch],
            seconds := work.seconds * chance.uniform(0.8, 1.25),
            work.cores * seconds * 0.95,
            int(work.memory_bytes / 1.25),
        )
        for work in works
    )


@dataclass
class Running:
    """A job that goes on: how many seconds of it are left, if it has all the cores it wants."""

    given: Piece
    cores: int
    left: float


def first_come(board: Board, worker: Worker) -> Piece | None:
    """What a plain queue gives."""
    return board.queued[0] if board.queued and board.free[worker.name].slots > 0 else None


def simulate(works: list[Work], host: Worker, expectations: Expectations, chooses: Chooser = choose) -> float:
    """Seconds until the last job has ended."""
    now = 0.0
    real = {key_of(given): work for work in works for given in [piece(work)]}
    waiting = [piece(work) for work in works if work.kind == JobKind.TEST]
    queued = [piece(work) for work in works if work.kind == JobKind.BUILD]
    running: list[Running] = []
    while queued or running:
        at = _BEGIN + timedelta(seconds=now)
        begun = tuple(each.given for each in running)
        seen = replace(host, last_seen_at=at)
        board = Board(at, (seen,), tuple(waiting), tuple(queued), begun, expectations)
        found = chooses(board, seen)
        if found is not None:
            queued.remove(found)
            work = real[key_of(found)]
            running.append(Running(board.given(found, host).running[-1], work.cores, work.seconds))
            continue
        now += go_on(running, host.cores)
        for done in [each for each in running if each.left <= 0]:
            running.remove(done)
            for test in [each for each in waiting if follows(each, done.given)]:
                waiting.remove(test)
                queued.append(ready(test, _BEGIN + timedelta(seconds=now)))
    return now


def go_on(running: list[Running], cores: int) -> float:
    """Let time pass until the next one ends; answers how much."""
    pace = min(1.0, cores / sum(min(each.cores, cores) for each in running))
    least = min(each.left for each in running)
    for each in running:
        each.left -= least
    return least / pace


def follows(test: Piece, done: Piece) -> bool:
    """Whether a test may begin now."""
    build = done.open.job.kind == JobKind.BUILD
    return build and (test.open.update, test.open.job.arch) == (done.open.update, done.open.job.arch)


def ready(test: Piece, at: datetime) -> Piece:
    """The test, queued from then on."""
    return replace(test, open=replace(test.open, job=replace(test.open.job, queued_at=at)))


def key_of(given: Piece) -> tuple[int, JobKind, Arch]:
    """Which job it is."""
    return given.open.update, given.open.job.kind, given.open.job.arch


def piece(work: Work) -> Piece:
    """The job as dispatch sees it, from the beginning."""
    job = Job(work.kind, work.arch, JobState.QUEUED, attempt=1, queued_at=_BEGIN)
    open_job = OpenJob(work.update, f"s{work.update}", Origin.UPLOAD, Urgency.HIGH, "recipe", "0" * 64, job)
    return Piece(open_job, work.arch, Limits(14400, 4, 8 * _GIB, 4096, 32 * _GIB, _GIB, _GIB, 2000))


def bound(works: list[Work], host: Worker) -> float:
    """What no schedule can go below."""
    ways: dict[tuple[int, Arch], float] = {}
    for work in works:
        key = work.update, work.arch
        ways[key] = ways.get(key, 0.0) + work.seconds
    return max(
        *ways.values(),
        sum(work.seconds * min(work.cores, host.cores) for work in works) / host.cores,
        sum(work.seconds * min(work.memory_bytes, host.memory_bytes) for work in works) / host.memory_bytes,
        sum(work.seconds for work in works) / host.slots,
    )


def listed(works: list[Work], host: Worker, ranks: list[float]) -> float:
    """Seconds that a list schedule takes: whatever is ready and fits begins, the least rank first."""
    tests = {(work.update, work.arch): at for at, work in enumerate(works) if work.kind == JobKind.TEST}
    ready = [(ranks[at], at) for at, work in enumerate(works) if work.kind == JobKind.BUILD]
    running: list[tuple[float, int]] = []
    free, now = Room(host.slots, host.cores, host.memory_bytes), 0.0
    while ready or running:
        for entry in sorted(ready):
            work = works[entry[1]]
            if free.holds(need := room(work, host)):
                free -= need
                ready.remove(entry)
                heapq.heappush(running, (now + work.seconds, entry[1]))
        now, done = heapq.heappop(running)
        free += room(works[done], host)
        if works[done].kind == JobKind.BUILD:
            test = tests[works[done].update, works[done].arch]
            ready.append((ranks[test], test))
    return now


def room(work: Work, host: Worker) -> Room:
    """What it takes of a host, which may be all."""
    return Room(1, min(work.cores, host.cores), min(work.memory_bytes, host.memory_bytes))


def searched(works: list[Work], host: Worker, chance: random.Random, tries: int) -> float:
    """The best of so many list schedules, of which each is like the best before it; the first goes by length."""
    ranks = [-work.seconds for work in works]
    best = listed(works, host, ranks)
    for _ in range(tries):
        tried = [rank * chance.lognormvariate(0, chance.choice((0.05, 0.2, 0.6))) for rank in ranks]
        if (seconds := listed(works, host, tried)) <= best:
            best, ranks = seconds, tried
    return best


def show_search(mixes: dict[str, Mix], hosts: dict[str, Worker], count: int, tries: int) -> None:
    """Each mix that dispatch takes more than FAR of its bound for, and how near the search comes."""
    rows = []
    for name, mix in mixes.items():
        for place, machine in hosts.items():
            for seed in range(count):
                took, *_, least = compare(mix, machine, seed)
                if took > FAR * least:
                    works = mix(random.Random(seed))  # noqa: S311  # as above
                    found = searched(works, machine, random.Random(seed), tries)  # noqa: S311
                    rows.append((f"{name}, number {seed}; {place}", took / least, found / least))
    kit.table(f"mixes beyond {FAR} of their bound", ("mix; host", "dispatch", "best found"), rows)


def host(cores: int, slots: int, gib: int) -> Worker:
    """One that is always up."""
    return Worker("w1", _TIERS, slots, _BEGIN, "host", cores, gib * _GIB, "w1", Clearance.EMBARGOED, False)


WAYS = ("dispatch", "dispatch, no past", "first come")


def compare(mix: Mix, machine: Worker, seed: int) -> tuple[float, ...]:
    """Seconds by each of WAYS, and the bound."""
    chance = random.Random(seed)  # noqa: S311  # a simulation that can be repeated
    works = mix(chance)
    return (
        simulate(works, machine, learned(works, chance)),
        simulate(works, machine, Expectations()),
        simulate(works, machine, Expectations(), first_come),
        bound(works, machine),
    )


def main() -> None:
    """Simulate and print."""
    parser = kit.arguments(__doc__)
    parser.add_argument("--mixes", type=int, default=50, help="how many random mixes of each kind (50)")
    parser.add_argument("--search", type=int, default=0, metavar="N", help="try so many list schedules of mixes (0)")
    asked = parser.parse_args()
    mixes: dict[str, Mix] = {
        "libmodbus": libmodbus,
        **{f"packages: {number}": several(number) for number in (1, 5, 30)},
    }
    hosts = {
        "2 cores, 2 slots, 8 GiB": host(2, 2, 8),
        "4 cores, 4 slots, 16 GiB": host(4, 4, 16),
        "8 cores, 4 slots, 32 GiB": host(8, 4, 32),
        "16 cores, 8 slots, 32 GiB": host(16, 8, 32),
    }
    if asked.search:
        small = {name: mix for name, mix in mixes.items() if not name.endswith("30")}
        show_search(small, hosts, asked.mixes, asked.search)
        return
    rows, shares = [], {}
    for place, machine in hosts.items():
        for name, mix in mixes.items():
            figures = [compare(mix, machine, seed) for seed in range(asked.mixes)]
            for number, way in enumerate(WAYS):
                ratios = [each[number] / each[-1] for each in figures]
                shares[f"{name}, {way}; {place}"] = ratios
                wall, least = (kit.median([each[column] for each in figures]) for column in (number, -1))
                rows.append((f"{name}, {way}; {place}", wall, least, kit.median(ratios), max(ratios)))
    heads = ("mix, way; host", "wall s", "bound s", "ratio, median", "worst")
    kit.table(f"{asked.mixes} mixes of each kind", heads, rows)
    worst = max(kit.median(ratios) for what, ratios in shares.items() if f", {WAYS[0]};" in what)
    kit.verdict("median ratio with a past, of the worst kind", worst, RATIO, "")
    single = max(max(ratios) for what, ratios in shares.items() if f", {WAYS[0]};" in what)
    print(f"the worst single mix with a past: {single:.2f}")
    kit.write(asked.json, {"ratios": shares})


if __name__ == "__main__":
    main()
