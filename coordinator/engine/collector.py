# SPDX-License-Identifier: GPL-3.0-or-later
"""Forgets files and logs that nothing refers to: uploads never submitted, what lost attempts and cut uploads left.

It goes in rounds, a small step at a time. First every file that an update refers to is kept anew, update by update;
then what was kept neither since the round began nor for long before is removed. Whoever makes an update refer to a
file keeps it first, so that one that is referred to during a round is new. Where a step fails, or the clock is set
back, the round begins again: nothing is removed that was not looked at. A finished update keeps all of its evidence.
Instructions that were carried out so long ago go with the rest.
"""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

from coordinator.errors import PatchfarmError, UnknownName
from coordinator.model import Update
from coordinator.ports import Blobs, Clock, Logs, Store

_LOG = logging.getLogger(__name__)

#: From the end of a round to the next, and from a step that failed.
_REST, _PAUSE = timedelta(days=1), timedelta(hours=1)
#: How many updates are looked at in one step.
_UPDATES = 10
_DONE = object()
_BEGINNINGS = tuple(f"{number:02x}" for number in range(256))


class Collector:
    """See the module. One is enough; two do no harm. `unused` is how long what nobody refers to may stay."""

    def __init__(self, store: Store, blobs: Blobs, logs: Logs, clock: Clock, unused: timedelta) -> None:
        self._store = store
        self._blobs = blobs
        self._logs = logs
        self._clock = clock
        self._unused = unused
        self._round: Iterator[None] | None = None
        self._began = clock.now()
        self._rests_until = self._began

    def step(self) -> None:
        """A little work, or none."""
        now = self._clock.now()
        # A rest that lasts longer than any was begun by a clock that was wrong.
        if now < self._rests_until <= now + _REST:
            return
        if self._round is None or now < self._began:
            self._round, self._began = self._steps(now - self._unused), now
        try:
            if next(self._round, _DONE) is _DONE:
                self._round, self._rests_until = None, now + _REST
        except (PatchfarmError, OSError) as error:
            _LOG.warning("action=collecting-failed: %s", error)
            self._round, self._rests_until = None, now + _PAUSE

    def _steps(self, before: datetime) -> Iterator[None]:
        newest = max((update.id for update in self._store.updates(limit=1)), default=0)
        for first in range(1, newest + 1, _UPDATES):
            for number in range(first, min(first + _UPDATES, newest + 1)):
                self._keep(number, before)
            yield
        self._store.tidy(before)
        gone = 0
        for beginning in _BEGINNINGS:
            gone += self._blobs.forget(beginning, before)
            yield
        if gone:
            _LOG.info("action=collected files=%s", gone)

    def _keep(self, number: int, before: datetime) -> None:
        try:
            update = self._store.load(number)
        except UnknownName:
            return
        for sha256 in references(update):
            try:
                self._blobs.keep(sha256)
            except UnknownName as error:
                _LOG.warning("action=file-missing update=%s: %s", number, error.message)
        reported = [(update.key(job), job.report.attempt) for job in update.jobs if job.report]
        current = [(update.key(job), job.attempt) for job in update.jobs]
        self._logs.forget(number, (*current, *reported), before)


def references(update: Update) -> frozenset[str]:
    """Every file that an update refers to, by its sha256."""
    built = (artifact.sha256 for job in update.jobs if job.report for artifact in job.report.artifacts)
    files = (file.sha256 for file in (*update.source.files, *update.signed))
    return frozenset((update.recipe_sha256, *files, *built))
