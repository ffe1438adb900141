# SPDX-License-Identifier: GPL-3.0-or-later
"""The lease of an attempt: a thread that keeps it, and the one place that says whether the attempt must stop.

A coordinator that does not answer stops nothing: the fencing number protects the result, not this thread.
"""

import logging
import threading
from collections.abc import Callable
from typing import Final

import requests

from workers.ending import End
from workers.errors import AttemptEnded, Fenced, LetGo, Refused, broken
from workers.wire.codec import WireError
from workers.wire.report import Heartbeat, Outcome

_LOG = logging.getLogger(__name__)

#: Seconds between heartbeats at most: a cancelled container is to stop within ten.
_LONGEST: Final = 5.0
#: Seconds that the end of an attempt waits for a renewal.
_PARTING: Final = 0.5


class Lease:
    """Renewed every third of its length while used as a context manager; `ending` is the worker's own end.

    `done` is set when nothing is to be renewed any more, and waited for between two renewals.
    """

    def __init__(
        self,
        seconds: int,
        renew: Callable[[], Heartbeat],
        ending: Callable[[], End],
        done: threading.Event | None = None,
    ) -> None:
        self._seconds = seconds
        self._renew = renew
        self._ending = ending
        self._stop: Fenced | AttemptEnded | None = None
        self._done = done or threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> "Lease":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        # A renewal that is under way may take a minute, and does no harm when it arrives late.
        self._thread.join(_PARTING)

    def stopping(self) -> bool:
        """Whether what runs is to be killed; raises LetGo where it is to be left alone."""
        how = self._ending()
        if self._stop is None and how is End.LET_GO:
            raise LetGo("the worker ends")
        if self._stop is None and how is End.STOP:
            self._stop = AttemptEnded(Outcome.GIVEN_BACK, "the worker was shut down")
        return self._stop is not None

    def check(self) -> None:
        """Raise what ends the attempt from outside: Fenced, LetGo, or AttemptEnded where it was cancelled."""
        if self.stopping() and self._stop is not None:
            raise self._stop

    def give_up(self, why: str) -> None:
        """End the attempt: without this its work would be for nothing."""
        if self._stop is None:
            self._stop = broken(why)

    def lost(self) -> None:
        """Another call was told that the attempt belongs to somebody else."""
        self._stop = Fenced("the lease is lost")

    def _keep(self) -> None:
        while not self._done.wait(min(self._seconds / 3, _LONGEST)):
            try:
                answer = self._renew()
            except Fenced:
                self.lost()
                return
            except (requests.RequestException, Refused, WireError) as error:
                _LOG.warning("the lease was not renewed: %s", error)
                continue
            self._seconds = answer.lease_seconds
            if answer.cancel and self._stop is None:
                self._stop = AttemptEnded(Outcome.CANCELLED, "cancelled")
