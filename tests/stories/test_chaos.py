# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever goes wrong, and in whatever order: every promise is kept on the way, and all comes home once all is well.

The promises are in tests/invariants.py; the store and `run` hold the farm to them at every step.
"""

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.depends import Package
from coordinator.engine.collector import references
from coordinator.errors import ArchiveUnreachable, BadSignature, DiskFull, IllegalMove
from coordinator.model import UpdateState as S
from tests.farm import ALICE, BOB, CAROL, LEASE, Farm
from workers.ending import End
from workers.images import Base
from workers.sandbox.fake import Play
from workers.wire.arch import Arch
from workers.wire.order import JobKind

HOME = {S.PUBLISHED, S.REJECTED, S.WITHDRAWN}
#: More rounds than the longest way takes: what failed is retried, and a lease or a confirmation runs out in between.
ROUNDS = 20


def submit(farm: Farm) -> None:
    """One more package; it is refused where there is no room, or no target to ask."""
    with suppress(DiskFull, ArchiveUnreachable):
        farm.submit(name=f"hello{len(farm.store.updates())}", architecture="any all")


def newest(happens: Callable[[Farm, int], object]) -> Callable[[Farm], None]:
    """Something that a person does to the update that came last, or is told why not."""

    def do(farm: Farm) -> None:
        for update in farm.store.updates(limit=1):
            with suppress(IllegalMove, BadSignature, ArchiveUnreachable):
                happens(farm, update.id)

    return do


def carry_out_again(farm: Farm) -> None:
    """The engine died after everything it did and before it wrote that down."""
    for row in tuple(farm.store.outbox.values()):
        farm.engine.carry_out(row.due)


def toggle(where: str, what: str) -> Callable[[Farm], object]:
    """Something breaks, or is whole again."""

    def turn(farm: Farm) -> None:
        thing = getattr(farm, where)
        setattr(thing, what, not getattr(thing, what))

    return turn


def worker(number: int, what: str) -> Callable[[Farm], object]:
    """A worker goes away, or comes back; or will die of its next job."""
    return lambda farm: setattr(farm.hosts[number], what, not getattr(farm.hosts[number], what))


def shut_down_at_work(farm: Farm) -> None:
    """The first worker is told to end in the midst of its next job."""
    host = farm.hosts[0]
    host.bench.meanwhile = lambda: setattr(host, "ending", End.STOP)


HAPPENINGS: dict[str, Callable[[Farm], object]] = {
    "a source comes": submit,
    "all that can happen happens": Farm.run,
    "the engine looks once": lambda farm: farm.engine.tick(),
    "a second passes": lambda farm: farm.pass_time(1),
    "a lease passes": lambda farm: farm.pass_time(LEASE + 1),
    "an hour passes": lambda farm: farm.pass_time(3600),
    "a week passes": lambda farm: farm.pass_time(7 * 24 * 3600),
    "the clock is set back": lambda farm: farm.clock.move(-3600),
    "somebody uploads and goes away": lambda farm: farm.blobs.full or farm.blobs.add(b"never submitted"),
    "files are collected": Farm.collect,
    "a dependency is missing": lambda farm: farm.misses("libfoo-dev (>= 2)"),
    "the archive has it": lambda farm: farm.archive.has.update({"bookworm": [Package("libfoo-dev", "2")]}),
    "the archive is away": lambda farm: setattr(farm.archive, "unreachable", "away"),
    "alice approves": newest(lambda farm, number: farm.approve(number, ALICE)),
    "bob approves": newest(lambda farm, number: farm.approve(number, BOB)),
    "bob leaves": lambda farm: (farm.people / "bob.asc").unlink(missing_ok=True),
    "carol cancels": newest(lambda farm, number: farm.coordinator.cancel(number, "carol")),
    "carol retries": newest(lambda farm, number: farm.coordinator.retry(number, "carol")),
    "sam withdraws": newest(lambda farm, number: farm.coordinator.withdraw(number, "sam", "a better patch")),
    "the broker is wiped": lambda farm: farm.bell.wipe(),
    "the broker is up or down": toggle("bell", "down"),
    "bells are lost or not": toggle("bell", "loses"),
    "bells ring twice or once": toggle("bell", "echoes"),
    "the disk is full or not": toggle("blobs", "full"),
    "the signer is away or not": toggle("signer", "away"),
    "the signer refuses": lambda farm: setattr(farm.signer, "refuses", "not today"),
    "the signer lies": lambda farm: setattr(farm.signer, "alters", ".deb"),
    "uploads fail": lambda farm: setattr(farm.uploader, "fails", 6),
    "uploads are cut": lambda farm: farm.uploader.cuts.append(1),
    "the target hides or not": toggle("target", "hides"),
    "the target is away or not": toggle("target", "unreachable"),
    "a worker is up or down": worker(0, "up"),
    "the other worker is up or down": worker(1, "up"),
    "a worker will die": worker(0, "dies"),
    "a worker will be shut down": shut_down_at_work,
    "an index was left out": lambda farm: setattr(farm.hosts[0].images, "base", Base("sha256:base", ("late",))),
    "a container engine breaks": lambda farm: farm.will(JobKind.BUILD, Arch.AMD64, Play(fails="no engine")),
    "a package does not build": lambda farm: farm.will(JobKind.BUILD, Arch.ARM64, Play(exit_code=2)),
    "a test fails": lambda farm: farm.tests_say("greets FAIL\n", 4),
    "the engine starts anew": Farm.restart_engine,
    "the engine does all again": carry_out_again,
}


def all_is_well(farm: Farm) -> None:
    """Everything that broke is whole again."""
    farm.bell.down = farm.bell.loses = farm.bell.echoes = farm.blobs.full = False
    farm.signer.away, farm.signer.refuses, farm.signer.alters = False, "", ""
    farm.uploader.fails, farm.uploader.cuts = 0, []
    farm.target.hides = farm.target.unreachable = False
    farm.archive.unreachable, farm.archive.has = "", {"bookworm": [Package("libfoo-dev", "2")]}
    for host in farm.hosts:
        host.up, host.dies, host.ending, host.bench.meanwhile = True, False, End.NOT_YET, None
        host.images.base = Base("sha256:base")
    farm.mend()


def bring_home(farm: Farm) -> None:
    """People do what is theirs to do, until nothing is left."""
    for _ in range(ROUNDS):
        farm.wait(2 * LEASE)
        farm.run()
        for update in farm.store.updates():
            if update.state == S.FAILED:
                farm.coordinator.retry(update.id, "carol")
            for person in (ALICE, CAROL):
                if farm.state(update.id) == S.AWAITING_APPROVAL:
                    farm.approve(update.id, person)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(sorted(HAPPENINGS)), max_size=30))
def test_whatever_happens_every_update_comes_home(tmp_path_factory: pytest.TempPathFactory, story: list[str]) -> None:
    farm = Farm(tmp_path_factory.mktemp("chaos"))
    farm.worker("w-amd64", Arch.AMD64)
    farm.worker("w-arm64", Arch.ARM64)
    submit(farm)
    for chapter in story:
        HAPPENINGS[chapter](farm)
    all_is_well(farm)
    bring_home(farm)
    assert {update.state for update in farm.store.updates()} <= HOME
    farm.collect()
    assert all(farm.blobs.has(sha256) for update in farm.store.updates() for sha256 in references(update))
