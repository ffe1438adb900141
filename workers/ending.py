# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a worker was told to end, and what becomes of the containers that run: shared with the processes it forks."""

import multiprocessing
import signal
from enum import IntEnum


class End(IntEnum):
    """`let go` leaves containers running, for the worker's next process to adopt; `stop` ends them and reports it."""

    NOT_YET = 0
    LET_GO = 1
    STOP = 2


#: TERM comes before an upgrade or a restart, whose process comes soon; INT is a person who wants everything to end.
BY_SIGNAL = {signal.SIGTERM: End.LET_GO, signal.SIGINT: End.STOP}


class Ending:
    """Set once in one process, and seen in all that were forked from it."""

    def __init__(self) -> None:
        # Without the lock that it could have: a process that is killed while it has one keeps it from all others.
        self._how = multiprocessing.Value("i", End.NOT_YET, lock=False)

    def now(self) -> End:
        """What was asked for so far."""
        return End(self._how.value)

    def ask(self, how: End) -> None:
        """End, from now on. A later call may only make it harder."""
        self._how.value = max(self._how.value, how)
