# SPDX-License-Identifier: GPL-3.0-or-later
"""Rings for what a worker could begin now, once for each job, and again where nobody comes.

Where nobody has room no bell is rung: a worker asks by itself when it has done what it has. Whoever did not come is
rung for last, so that one that is up and deaf keeps no job from the others.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from coordinator.dispatch import matches
from coordinator.engine.boards import Boards
from coordinator.ports import Bell
from workers.wire.order import JobKey

#: How long a bell that is rung again and again is left alone at most; the waits double up to this. A worker that is
#: up and does not come is ill, and messages must not pile up for it.
_LONGEST_SILENCE = timedelta(minutes=1)


@dataclass(frozen=True)
class _Rung:
    """Whom a bell woke, when it is rung again, and how much later once more."""

    worker: str
    due: datetime
    wait: timedelta


class Bells:
    """See the module. What it rang is forgotten with the process, and then rung once more."""

    def __init__(self, bell: Bell, boards: Boards, ring_again: int) -> None:
        self._bell = bell
        self._boards = boards
        self._patience = timedelta(seconds=ring_again)
        self._rung: dict[tuple[JobKey, int], _Rung] = {}

    def ring(self) -> None:
        """Ring whatever is due. Raises BrokerDown; what was not rung then is rung next time."""
        board = self._boards.now()
        # What is due later than ever was rung by a clock that was wrong.
        latest = board.now + max(self._patience, _LONGEST_SILENCE)
        before, self._rung = {key: rung for key, rung in self._rung.items() if rung.due <= latest}, {}
        deaf = {rung.worker for rung in before.values() if rung.due <= board.now}
        for worker, piece in matches(board, deaf):
            attempt = piece.open.key, piece.open.job.attempt
            rung = before.get(attempt)
            if rung is None or rung.due <= board.now:
                self._bell.ring(worker.name, *attempt)
                wait = rung.wait if rung else self._patience
                rung = _Rung(worker.name, board.now + wait, min(2 * wait, _LONGEST_SILENCE))
            self._rung[attempt] = rung
