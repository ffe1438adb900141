# SPDX-License-Identifier: GPL-3.0-or-later
"""Dispatch: which worker gets which job, and when. Pure.

Urgent updates first; of the equally urgent what has the longest way before it, then the oldest. What waits long becomes
more urgent. A job that is first and does not fit yet keeps its place: others go before it only where they do not make
it wait longer (EASY backfilling: Lifka, 1995). A worker steps back for a short time where another suits a job better.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Container, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from coordinator.expectations import Expectations, Expected
from coordinator.model import Clearance, OpenJob, Origin, Urgency, Worker
from coordinator.pipeline import LONGEST_DELAY
from workers.wire.arch import Arch, Tier
from workers.wire.order import JobKind, Limits

#: A job that waits so long counts as of the next higher urgency, and again after as long; an emergency stays first.
AGEING = timedelta(hours=1)
#: How long a worker leaves a job to a free one of a better tier; one that does not come in that time never will.
COURTESY = timedelta(seconds=10)
#: How long a worker on which the job has failed leaves it to others, which may be busy.
AVOIDANCE = timedelta(minutes=10)

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
        left = {each.name: Room(each.slots, each.cores, each.memory_bytes) for each in self.workers}
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

    def given(self, piece: Piece, worker: Worker) -> "Board":
        """What it looks like once the worker has taken that."""
        taken = dataclasses.replace(piece.open.job, worker=worker.name, started_at=self.now)
        running = dataclasses.replace(piece, open=dataclasses.replace(piece.open, job=taken))
        return dataclasses.replace(self.without(piece), running=(*self.running, running))

    def without(self, piece: Piece) -> "Board":
        """The same, as if that job were not to be had."""
        return dataclasses.replace(self, queued=tuple(other for other in self.queued if other is not piece))

    def _expected(self, piece: Piece, worker: Worker) -> Expected:
        tier = worker.tiers.get(piece.host, Tier.NATIVE)
        return self.expectations.of(piece.open.source, piece.open.job.kind, piece.open.job.arch, tier)


def choose(board: Board, worker: Worker) -> Piece | None:
    """The job that the worker should begin now, or none. Whoever asks is believed to be there."""
    free = board.free[worker.name]
    if worker.draining or free.slots < 1:
        return None
    able = (piece for piece in board.queued if _ready(piece, board.now) and _may(worker, piece))
    kept: _Place | None = None
    for piece in sorted(able, key=lambda piece: _rank(board, piece, worker)):
        need = board.need(piece, worker)
        if not free.holds(need):
            if kept is None and not any(_has_room(board, other, piece) for other in _others(board, worker, piece)):
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
        while (piece := choose(board, worker)) is not None:
            yield worker, piece
            board = board.given(piece, worker)


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


def _rank(board: Board, piece: Piece, worker: Worker) -> tuple[float, float, datetime, int]:
    since, urgency = _since(piece, board.now), _LEVEL[piece.open.urgency]
    level = max(urgency, min(urgency + (board.now - since) // AGEING, _LEVEL[Urgency.CRITICAL]))
    return -level, -board.way(piece, worker), since, piece.open.update


def _since(piece: Piece, now: datetime) -> datetime:
    return piece.open.job.queued_at or now


def _ready(piece: Piece, now: datetime) -> bool:
    """After a fault a job is queued for a time to come; one that is too far was written by a clock that was wrong."""
    return not now < _since(piece, now) <= now + timedelta(seconds=LONGEST_DELAY)


def _may(worker: Worker, piece: Piece) -> bool:
    """Whether it can run the job and may see its source."""
    return cleared(worker, piece.open.origin) and piece.host in worker.tiers


def _others(board: Board, worker: Worker, piece: Piece) -> Iterator[Worker]:
    return (other for other in board.up if other.name != worker.name and _may(other, piece))


def _has_room(board: Board, worker: Worker, piece: Piece) -> bool:
    return board.free[worker.name].holds(board.need(piece, worker))


def _leaves(board: Board, worker: Worker, piece: Piece) -> bool:
    """Whether the worker leaves the job to another that suits it better, for now."""
    # What is ready and of the future was written by a clock that was wrong, and is left to nobody for so long.
    waited = abs(board.now - _since(piece, board.now))
    failed_on = piece.open.job.failed_on
    spared = any(other.name not in failed_on for other in _others(board, worker, piece))
    if worker.name in failed_on and spared and waited < AVOIDANCE:
        return True
    tier = _TIERS.index(worker.tiers[piece.host])
    return waited < COURTESY and any(
        _TIERS.index(other.tiers[piece.host]) < tier and other.name not in failed_on and _has_room(board, other, piece)
        for other in _others(board, worker, piece)
    )
