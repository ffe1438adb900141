# SPDX-License-Identifier: GPL-3.0-or-later
"""The broker is a doorbell: it may lose, double, or refuse every message, and nothing is lost but time."""

import pytest

from coordinator.model import JobState
from coordinator.model import UpdateState as S
from tests.farm import LEASE, TIMING, Farm
from workers.errors import Fenced
from workers.wire.arch import Arch, Tier


def patience(farm: Farm) -> None:
    """Wait until a bell that nobody answered is rung again."""
    farm.pass_time(TIMING.ring_again + 1)


def test_a_lost_bell_is_rung_again(farm: Farm) -> None:
    farm.bell.loses = True
    number = farm.submit()
    farm.run()
    assert farm.state(number) == S.PLANNED
    farm.bell.loses = False
    patience(farm)
    farm.run()
    assert farm.state(number) == S.AWAITING_APPROVAL


def test_a_wiped_broker_loses_nothing(farm: Farm) -> None:
    for host in farm.hosts:
        host.up = False
    number = farm.submit()
    farm.run()
    farm.bell.wipe()
    for host in farm.hosts:
        host.up = True
    patience(farm)
    farm.run()
    assert farm.state(number) == S.AWAITING_APPROVAL


def test_a_bell_that_nobody_answers_is_rung_ever_more_seldom_but_for_ever(farm: Farm) -> None:
    farm.bell.loses = True
    number = farm.submit(tested=False)
    farm.run()
    key = farm.update(number).key(farm.job(number))
    farm.clock.move(1)
    rung = []
    for second in range(0, 3600, 10):
        before = farm.bell.times(key, 1)
        farm.engine.tick()
        rung += [second] * (farm.bell.times(key, 1) - before)
        farm.clock.move(10)
    assert rung == [30, 90, 210, 450, 930, 1530, 2130, 2730, 3330]


def test_a_bell_that_rings_twice_is_claimed_once(farm: Farm) -> None:
    farm.bell.echoes = True
    number = farm.submit()
    farm.run()
    assert farm.state(number) == S.AWAITING_APPROVAL
    assert farm.events(number).count("JobClaimed") == len(farm.update(number).jobs) == 4


def test_an_attempt_belongs_to_the_first_that_claims_it(farm: Farm) -> None:
    other = farm.worker("w-other", Arch.AMD64)
    number = farm.submit()
    farm.engine.tick()
    farm.engine.tick()
    key = farm.update(number).key(farm.job(number))
    farm.hosts[0].wire.claim(key, 1, Tier.NATIVE)
    with pytest.raises(Fenced):
        other.wire.claim(key, 1, Tier.NATIVE)
    assert farm.job(number).worker == "w-amd64"


def test_a_broker_that_is_down_delays_and_no_more(farm: Farm) -> None:
    farm.bell.down = True
    number = farm.submit()
    farm.run()
    assert farm.job(number).state == JobState.QUEUED
    farm.bell.down = False
    farm.pass_time(1)
    farm.run()
    assert farm.state(number) == S.AWAITING_APPROVAL


def test_a_bell_that_was_held_up_is_not_rung_for_an_attempt_that_is_over(farm: Farm) -> None:
    farm.bell.down = True
    number = farm.submit(tested=False)
    farm.run()
    key = farm.update(number).key(farm.job(number))
    farm.hosts[0].wire.claim(key, 1, Tier.NATIVE)
    farm.pass_time(LEASE + 1)
    farm.run()
    farm.bell.down = False
    farm.pass_time(60)
    farm.run()
    assert farm.bell.times(key, 1) == 0
    assert farm.job(number).report is not None


def test_a_broker_that_comes_back_is_rung_at_once_for_what_waited_long(farm: Farm) -> None:
    farm.bell.loses = True
    number = farm.submit()
    farm.run()
    farm.bell.loses, farm.bell.down = False, True
    patience(farm)
    farm.run()
    farm.bell.down = False
    farm.run()
    assert farm.state(number) == S.AWAITING_APPROVAL


def test_an_engine_that_forgot_what_it_rang_rings_once_more(farm: Farm) -> None:
    number = farm.submit(tested=False)
    farm.engine.tick()
    farm.engine.tick()
    key = farm.update(number).key(farm.job(number))
    farm.bell.wipe()
    farm.restart_engine()
    patience(farm)
    farm.run()
    assert farm.bell.times(key, 1) == 2
    assert farm.state(number) == S.AWAITING_APPROVAL


def test_one_update_that_cannot_be_read_keeps_the_bell_from_no_other(farm: Farm) -> None:
    farm.bell.loses = True
    lost, other = farm.submit(), farm.submit(suite="trixie-security")
    farm.run()
    farm.blobs.path(farm.update(lost).recipe_sha256).unlink()
    farm.bell.loses = False
    patience(farm)
    farm.engine.tick()
    assert {message.job.update for message in farm.bell.waiting} == {other}
