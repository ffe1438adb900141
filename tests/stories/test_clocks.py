# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines sleep, clocks are set, disks are full: no attempt is taken from a worker that lives.

Nothing waits for ever either.
"""

import pytest

from coordinator.model import JobState
from coordinator.model import UpdateState as S
from tests.farm import LEASE, Farm
from workers.sandbox.fake import Play
from workers.wire.arch import Arch
from workers.wire.order import JobKind, Order

BUILD = JobKind.BUILD
HOUR, DAY = 3600, 24 * 3600


@pytest.fixture
def order(farm: Farm) -> Order:
    """What the worker on amd64 works on, for as long as a test likes."""
    farm.submit(tested=False)
    farm.engine.tick()
    order = farm.hosts[0].wire.claim()
    farm.engine.tick()
    return order


def held(farm: Farm, order: Order) -> bool:
    job = farm.job(order.job.update)
    return (job.state, job.attempt) == (JobState.LEASED, 1)


@pytest.mark.parametrize("seconds", [LEASE + 1, DAY, -HOUR, -DAY])
def test_a_jump_of_the_clock_takes_no_attempt_from_a_worker_that_lives(
    farm: Farm, order: Order, seconds: float
) -> None:
    farm.clock.move(seconds)
    farm.engine.tick()
    farm.wait(LEASE - 15)
    farm.hosts[0].wire.renew(order.job, 1)
    farm.wait(LEASE - 15)
    assert held(farm, order)


@pytest.mark.parametrize("seconds", [0, DAY, -HOUR, -DAY])
def test_a_worker_that_died_loses_its_attempt_within_two_leases_of_any_jump(
    farm: Farm, order: Order, seconds: float
) -> None:
    farm.clock.move(seconds)
    farm.engine.tick()
    farm.wait(2 * LEASE)
    assert not held(farm, order)


def test_nobody_loses_an_attempt_because_nothing_can_be_written_down(farm: Farm, order: Order) -> None:
    farm.store.full = True
    farm.wait(2 * LEASE)
    farm.store.full = False
    farm.wait(15)
    farm.hosts[0].wire.renew(order.job, 1)
    farm.wait(LEASE - 15)
    assert held(farm, order)


def test_an_engine_that_is_always_late_still_takes_attempts_back(farm: Farm, order: Order) -> None:
    for _ in range(5):
        farm.clock.move(LEASE)
        farm.engine.tick()
    assert not held(farm, order)


def test_what_was_put_off_before_the_clock_was_set_back_is_done_in_its_time(farm: Farm) -> None:
    farm.will(BUILD, Arch.AMD64, Play(fails="the mirror is away"))
    number = farm.submit(tested=False)
    farm.run()
    assert farm.job(number).state == JobState.QUEUED
    farm.mend()
    farm.clock.move(-DAY)
    farm.wait(30)
    farm.run()
    assert farm.state(number) == S.AWAITING_APPROVAL


@pytest.mark.parametrize("seconds", [DAY, -DAY])
def test_after_a_jump_an_update_is_planned_with_every_worker_that_lives_and_no_other(
    farm: Farm, seconds: float
) -> None:
    farm.worker("w-dead", Arch.S390X).up = False
    farm.engine.tick()
    number = farm.submit(tested=False, architecture="any")
    farm.clock.move(seconds)
    farm.hosts[0].sign_on()
    farm.run()
    assert farm.state(number) == S.RECEIVED
    farm.wait(30)
    farm.run()
    assert {job.arch for job in farm.update(number).of_kind(BUILD)} == {Arch.AMD64, Arch.ARM64}
