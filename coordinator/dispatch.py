# SPDX-License-Identifier: GPL-3.0-or-later
"""Dispatch: which worker gets which job, and when. Pure.

Urgent updates first; of the equally urgent what has the longest way before it, then the oldest. While there is much
to do, shape counts beside length, so that a host does not run out of cores while slots stand empty (the alignment of
Grandl et al.: Multi-Resource Packing for Cluster Schedulers, 2014). What waits long becomes more urgent. A job that is
first and does not fit yet keeps its place: others go before it only where they do not make it wait longer (EASY
backfilling: Lifka, 1995). A worker steps back for a short time where another suits a job better.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Container, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import chain

from coordinator.expectations import Expectations, Expected
from coordinator.model import Clearance, OpenJob, Origin, Urgency, Worker
from coordinator.pipeline import LONGEST_DELAY
from workers.wire.arch import Arch, Tier
from workers.wire.order import JobKind, Limits

#: A job that waits so long counts as of the next higher urgency, and again after as long; an emergency stays first.
AGEING = timedelta(hours=1)
#: How long a worker leaves a job to one that suits it better or has room; who does not come in that time never will.
COURTESY = timedelta(seconds=10)
#: How long a worker on which the job has failed leaves it to others, which may be busy.
AVOIDANCE = timedelta(minutes=10)

#: A way of so much of all that is left decides when all is done, whatever its shape.
_DECISIVE = 0.5

_LEVEL = {urgency: level for level, urgency in enumerate(Urgency)}
_TIERS = list(Tier)


@dataclass(frozen=True)
class Piece:
    """An open job with what its recipe says: where it runs and what it may use."""

    open: OpenJob
    host: Arch
    limits: Limits


@dataclass(frozen=True)
class Room:
    """Something of a worker: what is free, or what a job needs."""

    slots: int
    cores: int
    memory_bytes: int

    def __add__(self, other: "Room") -> "Room":
        return Room(self.slots + other.slots, self.cores + other.cores, self.memory_bytes + other.memory_bytes)

    def __sub__(self, other: "Room") -> "Room":
        return Room(self.slots - other.slots, self.cores - other.cores, self.memory_bytes - other.memory_bytes)

    def holds(self, need: "Room") -> bool:
        """Whether there is room for it."""
        return self.slots >= need.slots and self.cores >= need.cores and self.memory_bytes >= need.memory_bytes

    def shares(self, whole: "Room") -> tuple[float, float, float]:
        """How much of each thing there is that is; nothing where it is overdrawn."""
        return (
            max(0.0, self.slots / whole.slots),
            max(0.0, self.cores / whole.cores),
            max(0.0, self.memory_bytes / max(1, whole.memory_bytes)),
        )


@dataclass(frozen=True)
class Board:
    """All that dispatch looks at: every worker, and every job that waits, may begin, or is being done."""

    now: datetime
    workers: tuple[Worker, ...]
    waiting: tuple[Piece, ...] = ()
    queued: tuple[Piece, ...] = ()
    running: tuple[Piece, ...] = ()
    expectations: Expectations = dataclasses.field(default_factory=Expectations)

    @cached_property
    def up(self) -> tuple[Worker, ...]:
        """Those that take work."""
        return tuple(each for each in self.workers if not each.draining and not each.silent(self.now))

    @cached_property
    def free(self) -> dict[str, Room]:
        """What each worker has left; less than nothing where it has more work than it was offered for."""
        left = {each.name: _whole(each) for each in self.workers}
        for worker in self.workers:
            for piece in self._runs.get(worker.name, ()):
                left[worker.name] -= self.need(piece, worker)
        return left

    @cached_property
    def _runs(self) -> dict[str, list[Piece]]:
        runs = defaultdict(list)
        for piece in self.running:
            runs[piece.open.job.worker].append(piece)
        return runs

    @cached_property
    def _follows(self) -> dict[int, list[Piece]]:
        follows = defaultdict(list)
        for piece in self.waiting:
            follows[piece.open.update].append(piece)
        return follows

    def ends(self, worker: Worker) -> list[tuple[float, Room]]:
        """When, in seconds from now, what runs there will probably end, and what that gives back; soonest first."""
        ends = []
        for piece in self._runs.get(worker.name, ()):
            began = piece.open.job.started_at or self.now
            left = self.seconds(piece, worker) - (self.now - began).total_seconds()
            ends.append((max(left, 1.0), self.need(piece, worker)))
        return sorted(ends, key=lambda end: end[0])

    def need(self, piece: Piece, worker: Worker) -> Room:
        """What it needs there: what such jobs used, or a slot's share where nobody knows.

        Never more than its recipe allows or the worker has: so the largest job runs alone, and a limit that is meant
        for the worst of packages keeps no slot empty.
        """
        expected = self._expected(piece, worker)
        cores = expected.cores or max(1, worker.cores // worker.slots)
        memory = expected.memory_bytes or worker.memory_bytes // worker.slots
        limits = piece.limits
        return Room(1, min(cores, limits.cores, worker.cores), min(memory, limits.memory_bytes, worker.memory_bytes))

    def seconds(self, piece: Piece, worker: Worker) -> float:
        """How long it will probably take there."""
        return self._expected(piece, worker).seconds

    def way(self, piece: Piece, worker: Worker) -> float:
        """The same with what has to wait for it: after a build its architecture's test, after `all` every test."""
        after = 0.0
        if piece.open.job.kind == JobKind.BUILD:
            arch = piece.open.job.arch
            tests = self._follows.get(piece.open.update, ())
            held_up = (self.seconds(test, worker) for test in tests if arch in (test.open.job.arch, Arch.ALL))
            after = max(held_up, default=0.0)
        return self.seconds(piece, worker) + after

    def left(self, worker: Worker) -> float:
        """How many seconds of work is left for those that are up, if each were like this one and none ever idle.

        Of slots, cores and memory the scarcest counts.
        """
        hosts = self.up or (worker,)
        whole = sum(map(_whole, hosts), start=Room(0, 0, 0))
        new = ((self.seconds(piece, worker), self.need(piece, worker)) for piece in chain(self.queued, self.waiting))
        work = [*new, *chain.from_iterable(map(self.ends, hosts))]
        return max(
            sum(seconds * need.slots for seconds, need in work) / whole.slots,
            sum(seconds * need.cores for seconds, need in work) / whole.cores,
            sum(seconds * need.memory_bytes for seconds, need in work) / max(1, whole.memory_bytes),
        )

    def given(self, piece: Piece, worker: Worker) -> "Board":
        """What it looks like once the worker has taken that."""
        taken = dataclasses.replace(piece.open.job, worker=worker.name, started_at=self.now)
        running = dataclasses.replace(piece, open=dataclasses.replace(piece.open, job=taken))
        return dataclasses.replace(self.without(piece), running=(*self.running, running))

    def without(self, piece: Piece) -> "Board":
        """The same, as if that job were not to be had."""
        return dataclasses.replace(self, queued=tuple(other for other in self.queued if other is not piece))

    @cached_property
    def _best(self) -> dict[Arch, Tier]:
        """The best tier that each architecture can be had in now."""
        offered = [(arch, tier) for worker in self.up for arch, tier in worker.tiers.items()]
        return dict(sorted(offered, key=lambda each: _TIERS.index(each[1]), reverse=True))

    def _expected(self, piece: Piece, worker: Worker) -> Expected:
        # What follows a job may be for others than who does the job.
        tier = worker.tiers.get(piece.host) or self._best.get(piece.host, Tier.NATIVE)
        return self.expectations.of(piece.open.source, piece.open.job.kind, piece.open.job.arch, tier)


def choose(board: Board, worker: Worker) -> Piece | None:
    """The job that the worker should begin now, or none. Whoever asks is believed to be there."""
    return _choose(board, worker, board.left(worker))


def _choose(board: Board, worker: Worker, left: float) -> Piece | None:
    """`left` is what Board.left says, or said before some of it was given away: it is to be done all the same."""
    free = board.free[worker.name]
    if worker.draining or free.slots < 1:
        return None
    order = _Order(board, worker, left * _DECISIVE)
    able = (piece for piece in board.queued if _ready(piece, board.now) and _may(worker, piece))
    kept: _Place | None = None
    for piece in sorted(able, key=order.rank):
        need = board.need(piece, worker)
        if not free.holds(need):
            if kept is None and not _elsewhere(board, worker, piece):
                kept = _place(board, worker, need)
        elif not (kept and kept.hindered_by(need, board.seconds(piece, worker))) and not _leaves(board, worker, piece):
            return piece
    return None


def cleared(worker: Worker, origin: Origin) -> bool:
    """Whether it may see a source that came in so: what an archive had is public."""
    return worker.clearance == Clearance.EMBARGOED or origin == Origin.ARCHIVE


def matches(board: Board, last: Container[str] = ()) -> Iterator[tuple[Worker, Piece]]:
    """Who should begin what now, as if each worker that is up asked until there is nothing for it.

    The emptiest asks first; those named in `last` do after all others.
    """
    for worker in sorted(board.up, key=lambda each: (each.name in last, -board.free[each.name].cores)):
        left = board.left(worker)
        while (piece := _choose(board, worker, left)) is not None:
            yield worker, piece
            board = board.given(piece, worker)


@dataclass(frozen=True)
class _Order:
    """In which order a worker looks at the jobs. A way of `decisive` seconds decides when all is done."""

    board: Board
    worker: Worker
    decisive: float

    def rank(self, piece: Piece) -> tuple[float, bool, float, datetime, int]:
        """What comes first has the least."""
        now, since, urgency = self.board.now, _since(piece, self.board.now), _LEVEL[piece.open.urgency]
        level = max(urgency, min(urgency + (now - since) // AGEING, _LEVEL[Urgency.CRITICAL]))
        way = self.board.way(piece, self.worker)
        decides = way >= self.decisive
        return -level, not decides, -(way if decides else way * self._alike(piece) ** 2), since, piece.open.update

    def _alike(self, piece: Piece) -> float:
        """How much of the shape of what is free its need has: the cosine between the two, squared; 1 is all of it."""
        wanted = self.board.need(piece, self.worker).shares(_whole(self.worker))
        along = sum(one * other for one, other in zip(self._free, wanted, strict=True))
        return along**2 / (sum(one**2 for one in self._free) * sum(one**2 for one in wanted))

    @cached_property
    def _free(self) -> tuple[float, float, float]:
        return self.board.free[self.worker.name].shares(_whole(self.worker))


@dataclass(frozen=True)
class _Place:
    """What is kept for a job that has to wait: from when on it has room, in seconds, and what is to spare then."""

    seconds: float
    spare: Room

    def hindered_by(self, need: Room, seconds: float) -> bool:
        """Whether another that begins now would make it wait longer."""
        return seconds > self.seconds and not self.spare.holds(need)


def _place(board: Board, worker: Worker, need: Room) -> _Place:
    free, at = board.free[worker.name], 0.0
    for seconds, room in board.ends(worker):
        if free.holds(need):
            break
        free, at = free + room, seconds
    return _Place(at, free - need)


def _whole(worker: Worker) -> Room:
    """What it offers."""
    return Room(worker.slots, worker.cores, worker.memory_bytes)


def _since(piece: Piece, now: datetime) -> datetime:
    return piece.open.job.queued_at or now


def _waited(piece: Piece, now: datetime) -> timedelta:
    """For how long; what is ready and of the future was written by a clock that was wrong, and waited long."""
    return abs(now - _since(piece, now))


def _ready(piece: Piece, now: datetime) -> bool:
    """After a fault a job is queued for a time to come; one that is too far was written by a clock that was wrong."""
    return not now < _since(piece, now) <= now + timedelta(seconds=LONGEST_DELAY)


def _may(worker: Worker, piece: Piece) -> bool:
    """Whether it can run the job and may see its source."""
    return cleared(worker, piece.open.origin) and piece.host in worker.tiers


def _others(board: Board, worker: Worker, piece: Piece) -> Iterator[Worker]:
    return (other for other in board.up if other.name != worker.name and _may(other, piece))


def _elsewhere(board: Board, worker: Worker, piece: Piece) -> bool:
    """Whether another has room for it and may be on its way. One that is up and never comes costs it no place."""
    return _waited(piece, board.now) < COURTESY and any(
        _has_room(board, other, piece) for other in _others(board, worker, piece)
    )


def _has_room(board: Board, worker: Worker, piece: Piece) -> bool:
    return board.free[worker.name].holds(board.need(piece, worker))


def _leaves(board: Board, worker: Worker, piece: Piece) -> bool:
    """Whether the worker leaves the job to another that suits it better, for now."""
    waited = _waited(piece, board.now)
    failed_on = piece.open.job.failed_on
    spared = any(other.name not in failed_on for other in _others(board, worker, piece))
    if worker.name in failed_on and spared and waited < AVOIDANCE:
        return True
    tier = _TIERS.index(worker.tiers[piece.host])
    return waited < COURTESY and any(
        _TIERS.index(other.tiers[piece.host]) < tier and other.name not in failed_on and _has_room(board, other, piece)
        for other in _others(board, worker, piece)
    )
