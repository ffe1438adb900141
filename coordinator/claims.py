# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives workers their attempts: what dispatch chose for whoever asks, leased, with an order to go by.

Nobody gets an attempt whose order cannot be made, and one such job keeps no other from its worker.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta

from coordinator import dispatch
from coordinator.dispatch import Board, Piece
from coordinator.duty import Held
from coordinator.engine import Engine
from coordinator.errors import Fenced, NotAllowed, PatchfarmError
from coordinator.model import ENDED, OpenJob, Update, Worker
from coordinator.pipeline import Event, JobClaimed
from coordinator.ports import Clock, Store
from coordinator.recipe import Recipe
from coordinator.stages import build, test
from coordinator.work import Site
from workers.wire.order import Index, JobKey, JobKind, Order

_LOG = logging.getLogger(__name__)

_Attempts = frozenset[tuple[JobKey, int]]

#: How often a claim looks again where the worker was given something else meanwhile: more often than it has slots is
#: hardly ever needed, and a worker that got nothing is rung for again.
_LOOKS = 20


class _Outdated(Exception):
    """The worker has been given something by another process since the board was read."""


class Claims:
    """See the module. However many processes give, none gives a worker room that another has given it meanwhile.

    One at a time in each of them: what would be in vain most of the time is not tried.
    """

    def __init__(
        self,
        store: Store,
        engine: Engine,
        clock: Clock,
        indices: Callable[[Recipe], tuple[Index, ...]],
        lease_seconds: int,
    ) -> None:
        self._store = store
        self._engine = engine
        self._clock = clock
        self._indices = indices
        self._lease = lease_seconds
        self._one = threading.Lock()

    def claim(self, worker: str, claim: str) -> Order:
        """What the worker should begin now. Raises Fenced where there is nothing, NotAllowed for one that is not known.

        `claim` is the worker's own name for this request: whoever did not hear the answer asks again by the same, and
        gets the same attempt.
        """
        with self._one:
            for _ in range(_LOOKS):
                with suppress(_Outdated):
                    return self._look(worker, claim)
        raise Fenced(f"{worker} is given one thing after the other by others")

    def _look(self, worker: str, claim: str) -> Order:
        # Before the board: if the board shows more than this, it is only looked at once more.
        had = _of(worker, self._store.held())
        board = self._engine.board()
        mine = next((each.open for each in board.running if _is_of(each.open, worker, claim)), None)
        if mine is not None:
            return self._again(mine)
        return self._first(board, _known(board, worker), claim, had)

    def _again(self, mine: OpenJob) -> Order:
        until = self._clock.now() + timedelta(seconds=self._lease)
        self._store.renew(mine.key, mine.job.attempt, mine.job.worker, until)
        return self._order(self._store.load(mine.update), mine.key)

    def _first(self, board: Board, worker: Worker, claim: str, had: _Attempts) -> Order:
        while (piece := dispatch.choose(board, worker)) is not None:
            try:
                return self._give(piece, worker, claim, had)
            except (PatchfarmError, OSError, ValueError) as error:
                # Somebody else was faster, or it cannot be done now; others can.
                _LOG.warning("action=not-given job=%s worker=%s: %s", piece.open.key, worker.name, error)
                board = board.without(piece)
        raise Fenced(f"there is nothing for {worker.name} to do")

    def _give(self, piece: Piece, worker: Worker, claim: str, had: _Attempts) -> Order:
        job, attempt = piece.open.key, piece.open.job.attempt
        order = self._order(self._store.load(job.update), job)

        def claimed(_: Update) -> Event:
            now = self._clock.now()
            until = now + timedelta(seconds=self._lease)
            tier = worker.tiers[piece.host]
            return JobClaimed(now, job.kind, job.arch, attempt, worker.name, tier, until, claim)

        def check(held: Sequence[Held]) -> None:
            if not _of(worker.name, held) <= had:
                raise _Outdated

        self._engine.handle(job.update, claimed, check)
        return order

    def _order(self, update: Update, job: JobKey) -> Order:
        planned = update.job(job.kind, job.arch)
        if planned is None or update.state in ENDED:
            raise Fenced(f"{job} is not to be done: the update is {update.state}")
        recipe = self._engine.recipe_of(update)
        site = Site(self._indices(recipe), self._lease)
        if job.kind == JobKind.BUILD:
            return build.order(update, planned, recipe, site)
        return test.order(update, planned, recipe, site)


def _of(worker: str, held: Sequence[Held]) -> _Attempts:
    return frozenset((each.job, each.attempt) for each in held if each.worker == worker)


def _is_of(given: OpenJob, worker: str, claim: str) -> bool:
    return (given.job.worker, given.job.claim) == (worker, claim)


def _known(board: Board, name: str) -> Worker:
    """As the worker said when it last signed on."""
    for worker in board.workers:
        if worker.name == name:
            return worker
    raise NotAllowed(f"the worker {name} has not signed on", "Restart the worker; it signs on when it starts.")
