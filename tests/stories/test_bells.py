# SPDX-License-Identifier: GPL-3.0-or-later
"""The broker is a doorbell: it may lose, double, or refuse every message, and nothing is lost but time."""

from datetime import timedelta
from functools import partial

import pytest

from coordinator.errors import Fenced as NotCurrent
from coordinator.model import Clearance, JobState
from coordinator.model import UpdateState as S
from tests.adapters.store_kit import at_once
from tests.farm import LEASE, TIMING, Farm
from workers.errors import Fenced
from workers.wire.arch import Arch, Tier
from workers.wire.order import Order
from workers.wire.report import Outcome, Report


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
    rung = []
    for second in range(1, 300):
        farm.pass_time(1)
        before = farm.bell.times(key, 1)
        farm.engine.tick()
        rung += [second] * (farm.bell.times(key, 1) - before)
    assert rung == [2, 6, 14, 30, 62, 122, 182, 242]


def test_no_bell_is_rung_while_nobody_has_room_and_at_once_when_somebody_has(farm: Farm) -> None:
    farm.hosts[0].wire.given = lambda order: None
    first, second = farm.submit(tested=False), farm.submit(name="other", tested=False)
    farm.engine.tick()
    order = farm.hosts[0].wire.claim()
    later = second if order.job.update == first else first
    key = farm.update(later).key(farm.job(later))
    rung = farm.bell.times(key, 1)
    for _ in range(5):
        farm.pass_time(10)
        farm.hosts[0].wire.renew(order.job, 1)
        farm.engine.tick()
    assert farm.bell.times(key, 1) == rung == 0
    farm.coordinator.cancel(order.job.update, "sam")
    farm.hosts[0].wire.report(
        Report(order.job, 1, Outcome.CANCELLED, "", (), (), "0" * 64, "image", Tier.NATIVE, "w-amd64")
    )
    farm.engine.tick()
    assert farm.bell.times(key, 1) == 1


def test_one_ring_wakes_one_worker(farm: Farm) -> None:
    farm.worker("w-other", Arch.AMD64)
    number = farm.submit(tested=False)
    farm.engine.tick()
    key = farm.update(number).key(farm.job(number))
    assert farm.bell.times(key, 1) == 1


def test_a_worker_that_lives_and_does_not_come_keeps_a_job_from_no_other(farm: Farm) -> None:
    farm.worker("w-other", Arch.AMD64)
    number = farm.submit(tested=False)
    farm.engine.tick()
    deaf = next(message.worker for message in farm.bell.waiting if message.job.arch == Arch.AMD64)
    farm.bell.deaf.add(deaf)
    farm.bell.wipe()
    for _ in range(20):
        farm.pass_time(2)
        farm.run()
    assert farm.job(number).state == JobState.SUCCEEDED


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
    farm.hosts[0].wire.claim()
    with pytest.raises(Fenced):
        other.wire.claim()
    assert farm.job(number).worker == "w-amd64"


def test_of_workers_that_claim_at_the_same_moment_one_gets_the_job(farm: Farm) -> None:
    names = ["w-amd64", *(farm.worker(f"w-{number}", Arch.AMD64).name for number in range(3))]
    farm.submit(tested=False)
    farm.engine.tick()
    answers = at_once(*(partial(farm.coordinator.claim, name, "a" * 16) for name in names))
    assert sum(isinstance(answer, Order) for answer in answers) == 1
    assert sum(isinstance(answer, NotCurrent) for answer in answers) == 3


def test_a_claim_whose_answer_was_lost_gets_the_same_attempt_again_and_a_whole_lease(farm: Farm) -> None:
    number = farm.submit()
    farm.engine.tick()
    order = farm.coordinator.claim("w-amd64", "a" * 16)
    farm.pass_time(LEASE - 1)
    assert farm.coordinator.claim("w-amd64", "a" * 16) == order
    assert farm.job(number).lease_expires_at == farm.clock.now() + timedelta(seconds=LEASE)
    with pytest.raises(Fenced):
        farm.hosts[0].wire.claim()


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
    farm.hosts[0].wire.claim()
    farm.wait(LEASE + 1)
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
    lost, other = farm.submit(), farm.submit(suite="trixie-security")
    farm.engine.tick()
    farm.blobs.path(farm.update(lost).recipe_sha256).unlink()
    farm.bell.wipe()
    farm.restart_engine()
    farm.engine.tick()
    assert {message.job.update for message in farm.bell.waiting} == {other}


def test_an_update_that_cannot_be_read_is_complained_of_once_and_not_every_second(
    farm: Farm, caplog: pytest.LogCaptureFixture
) -> None:
    lost = farm.submit()
    farm.engine.tick()
    farm.blobs.path(farm.update(lost).recipe_sha256).unlink()
    farm.restart_engine()
    for _ in range(5):
        farm.engine.tick()
    said = [record.getMessage() for record in caplog.records if "not-dispatched" in record.getMessage()]
    assert len(said) == 1
    assert f"update={lost}" in said[0]


def test_one_job_that_cannot_be_given_keeps_no_other_from_the_worker(farm: Farm) -> None:
    lost, other = farm.submit(), farm.submit(suite="trixie-security")
    farm.engine.tick()
    farm.blobs.path(farm.update(lost).recipe_sha256).unlink()
    assert farm.hosts[0].wire.claim().job.update == other


def test_what_is_not_public_yet_waits_for_a_worker_that_may_see_it(farm: Farm) -> None:
    for host in farm.hosts:
        farm.store.admit(host.name, "elsewhere", Clearance.PUBLIC)
    number = farm.submit()
    farm.run()
    assert "--clearance embargoed` lets one" in farm.store.waiting(number)[0].last_error
    farm.store.admit("w-amd64", "here", Clearance.EMBARGOED)
    farm.pass_time(2)
    farm.run()
    update = farm.update(number)
    assert ({job.arch for job in update.jobs}, {job.worker for job in update.jobs}) == ({Arch.AMD64}, {"w-amd64"})
