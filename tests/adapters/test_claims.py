# SPDX-License-Identifier: GPL-3.0-or-later
"""Several web services give work at the same time: no job is given twice, and no worker more than it has room for."""

from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from coordinator.claims import Claims
from coordinator.engine import Destination, Engine
from coordinator.engine.collector import Collector
from coordinator.engine.depwait import Supply
from coordinator.errors import Fenced
from coordinator.model import Clearance, Role
from coordinator.ports import Store
from coordinator.store.blobs import FolderBlobs
from tests.adapters.store_kit import at_once, job, update
from tests.fakes.archive import MemoryArchive, MemoryTarget, MemoryUploader
from tests.fakes.store import MemoryLogs
from tests.fakes.world import HandBell, HandClock
from tests.farm import LEASE, RECIPES, TIMING
from workers.wire.arch import Arch, Tier
from workers.wire.order import Index, Order
from workers.wire.report import Offer

JOBS = 6
INDEX = Index("http://mirror.invalid/debian", "bookworm", ("main",))


class Webs:
    """Two web services on one store, and a worker that has signed on; there are some updates to build."""

    def __init__(self, store: Store, home: Path, slots: int) -> None:
        self.clock, self.blobs = HandClock(), FolderBlobs(home / "blobs")
        self.clock.move(1)
        recipe = self.blobs.add((RECIPES / "debian" / "bookworm-security.toml").read_bytes())
        store.grant("w1", Role.WORKER, "1" * 64)
        store.admit("w1", None, Clearance.EMBARGOED)
        store.seen(Offer("w1", {Arch.AMD64: Tier.NATIVE}, slots, "host", 8, 16 << 30), self.clock.now())
        for _ in range(JOBS):
            store.add(update(job(), recipe_sha256=recipe), "SourceAccepted", "", ())
        self.both = [self._claims(store), self._claims(store)]

    def _claims(self, store: Store) -> Claims:
        target = MemoryTarget()
        engine = Engine(
            store=store,
            blobs=self.blobs,
            bell=HandBell(),
            clock=self.clock,
            destinations=lambda name: Destination(MemoryUploader(target), target),
            supply=Supply(MemoryArchive(), lambda recipe: (INDEX,), lambda name: RECIPES),
            collector=Collector(store, self.blobs, MemoryLogs(), self.clock, timedelta(days=7)),
            timing=TIMING,
        )
        return Claims(store, engine, self.clock, lambda recipe: (INDEX,), LEASE)

    def claim(self, *names: str) -> list[object]:
        """What claims of these names are answered that are made at once, of one service and the other by turns."""
        return at_once(*(partial(self.both[turn % 2].claim, "w1", name) for turn, name in enumerate(names)))


def names(count: int) -> list[str]:
    return [f"{number:016x}" for number in range(count)]


@pytest.mark.parametrize("slots", [1, 3])
def test_a_worker_is_given_what_it_has_room_for_however_many_services_it_asks(
    store: Store, tmp_path: Path, slots: int
) -> None:
    webs = Webs(store, tmp_path, slots)
    answers = webs.claim(*names(JOBS))
    assert sum(isinstance(answer, Order) for answer in answers) == slots
    assert sum(isinstance(answer, Fenced) for answer in answers) == JOBS - slots
    assert len(store.held()) == slots


def test_a_claim_that_is_made_twice_at_once_gets_one_attempt(store: Store, tmp_path: Path) -> None:
    webs = Webs(store, tmp_path, 4)
    first, *others = webs.claim(*["a" * 16] * 4)
    assert isinstance(first, Order)
    assert others == [first] * 3
    assert [(each.job, each.attempt) for each in store.held()] == [(first.job, 1)]


def test_no_job_is_given_twice(store: Store, tmp_path: Path) -> None:
    webs = Webs(store, tmp_path, JOBS)
    given = [answer for answer in webs.claim(*names(JOBS)) if isinstance(answer, Order)]
    assert len({order.job for order in given}) == len(given) == JOBS
