# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetches what dispatch looks at: workers and open jobs in one query each, recipes and the past from memory.

A job whose recipe cannot be read is left out with a warning: it must keep no other from its worker.
"""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta

from coordinator.dispatch import Board, Piece
from coordinator.errors import PatchfarmError
from coordinator.expectations import Expectations, expect
from coordinator.model import JobState, OpenJob
from coordinator.ports import Blobs, Clock, Store
from coordinator.recipe import Recipe
from coordinator.recipe_before import parse_kept
from coordinator.work import host_of

_LOG = logging.getLogger(__name__)

#: Of how many updates the past is looked at, and how long what was learned from it is believed.
_UPDATES = 100
_BELIEVED = timedelta(minutes=1)
#: How many recipes are remembered; there are as many as suites, and one more for each change of one.
_RECIPES = 256


class Boards:
    """See the module. May be used by many threads."""

    def __init__(self, store: Store, blobs: Blobs, clock: Clock) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._recipes: dict[str, Recipe] = {}
        self._said: set[tuple[int, str]] = set()
        self._learned: tuple[datetime, Expectations] | None = None

    def now(self) -> Board:
        """As it is now. One without a queued job tells nothing of how long the others take."""
        open_jobs = self._store.open_jobs()
        now, workers = self._clock.now(), tuple(self._store.workers())
        if not any(each.job.state == JobState.QUEUED for each in open_jobs):
            return Board(now, workers, running=self._pieces(open_jobs, JobState.LEASED))
        return Board(
            now,
            workers,
            waiting=self._pieces(open_jobs, JobState.WAITING),
            queued=self._pieces(open_jobs, JobState.QUEUED),
            running=self._pieces(open_jobs, JobState.LEASED),
            expectations=self.expectations(),
        )

    def expectations(self) -> Expectations:
        """What the last updates teach; looked up once a minute."""
        now = self._clock.now()
        if self._learned is None or not now - _BELIEVED < self._learned[0] <= now:
            self._learned = now, expect(self._store.past(_UPDATES))
        return self._learned[1]

    def _pieces(self, open_jobs: Iterable[OpenJob], state: JobState) -> tuple[Piece, ...]:
        pieces = []
        for each in open_jobs:
            if each.job.state == state:
                try:
                    recipe = self._recipe(each.recipe_sha256, each.recipe)
                except (PatchfarmError, OSError, ValueError) as error:
                    self._say_once(each.update, str(error))
                    continue
                pieces.append(Piece(each, host_of(recipe, each.job.arch), recipe.limits.limits()))
        return tuple(pieces)

    def _say_once(self, update: int, why: str) -> None:
        """A board is made every second, and by every claim."""
        if (update, why) not in self._said:
            self._said.add((update, why))
            _LOG.warning("action=not-dispatched update=%s: %s", update, why)

    def _recipe(self, sha256: str, name: str) -> Recipe:
        if sha256 not in self._recipes:
            if len(self._recipes) >= _RECIPES:
                self._recipes.clear()
            self._recipes[sha256] = parse_kept(self._blobs.path(sha256).read_text(), name)
        return self._recipes[sha256]
