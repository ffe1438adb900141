# SPDX-License-Identifier: GPL-3.0-or-later
"""A fault of the farm is tried again elsewhere, as long as there is an elsewhere; what is the package's own is not."""

import pytest

from coordinator.dispatch import AVOIDANCE
from coordinator.errors import Blame
from coordinator.model import JobState
from coordinator.model import UpdateState as S
from coordinator.pipeline import MAX_FARM_FAULTS
from tests.fakes.workshop import Host
from tests.farm import Farm
from workers.sandbox.fake import Play
from workers.wire.arch import Arch
from workers.wire.order import JobKind

BUILD = JobKind.BUILD


def ill(host: Host) -> None:
    """Whatever it gets, its engine is gone."""
    gone = Play(fails="the engine is gone")
    host.wire.given = lambda order: setattr(host.bench, "plays", {order.steps[0].name: gone})


def workers_of(farm: Farm, number: int) -> list[str]:
    """Who had the attempts at the build on amd64, in order."""
    claims = [entry.detail for entry in farm.store.history(number) if entry.event == "JobClaimed"]
    told = [dict(fact.split(" ", 1) for fact in claim.split(", ")) for claim in claims]
    return [claim["worker"] for claim in told if (claim["kind"], claim["arch"]) == ("build", "amd64")]


@pytest.mark.parametrize("healthy", ["a-healthy", "z-healthy"])
def test_a_job_that_failed_on_a_worker_goes_to_one_on_which_it_has_not(farm: Farm, healthy: str) -> None:
    ill(farm.hosts[0])
    farm.worker(healthy, Arch.AMD64).up = False
    number = farm.submit(tested=False)
    farm.engine.tick()
    farm.hosts[0].answer()
    farm.hosts[2].up = True
    farm.pass_time(0)
    farm.run()
    assert workers_of(farm, number) == ["w-amd64", healthy]
    assert farm.state(number) == S.AWAITING_APPROVAL


def test_a_job_goes_from_one_ill_worker_to_the_next_and_to_none_of_them_twice(farm: Farm) -> None:
    for name in ("w-second", "w-third", "w-fourth"):
        farm.worker(name, Arch.AMD64)
    for host in farm.hosts:
        ill(host)
    number = farm.submit(tested=False, architecture="amd64")
    farm.run_out()
    assert len(set(workers_of(farm, number))) == MAX_FARM_FAULTS == 4
    assert farm.update(number).blame == Blame.FARM


def test_where_there_is_no_elsewhere_the_same_worker_tries_again(farm: Farm) -> None:
    ill(farm.hosts[0])
    number = farm.submit(tested=False)
    farm.run_out()
    assert workers_of(farm, number) == ["w-amd64"] * MAX_FARM_FAULTS


def test_a_worker_that_is_silent_is_no_elsewhere(farm: Farm) -> None:
    ill(farm.hosts[0])
    farm.worker("w-gone", Arch.AMD64).up = False
    farm.wait(60)
    number = farm.submit(tested=False)
    farm.run_out()
    assert workers_of(farm, number) == ["w-amd64"] * MAX_FARM_FAULTS


def test_a_fault_of_the_package_is_tried_nowhere_else(farm: Farm) -> None:
    farm.worker("w-second", Arch.AMD64)
    farm.will(BUILD, Arch.AMD64, Play(exit_code=2))
    number = farm.submit(tested=False)
    farm.run_out()
    assert len(workers_of(farm, number)) == 1
    assert (farm.job(number).state, farm.job(number).farm_faults) == (JobState.FAILED, 0)


def test_an_ill_worker_leaves_a_job_to_a_healthy_one_that_is_busy_but_not_for_ever(farm: Farm) -> None:
    farm.worker("w-second", Arch.AMD64).up = False
    farm.submit(name="other", tested=False)
    farm.engine.tick()
    busy = farm.coordinator.claim("w-second", "a" * 16)
    ill(farm.hosts[0])
    number = farm.submit(tested=False)
    farm.engine.tick()
    for _ in range(5):
        farm.hosts[0].answer()
        farm.pass_time(60)
        farm.hosts[2].sign_on()
        farm.coordinator.renew(busy.job, 1, "w-second")
    assert workers_of(farm, number) == ["w-amd64"]
    farm.pass_time(AVOIDANCE.total_seconds())
    farm.hosts[0].answer()
    assert workers_of(farm, number)[:2] == ["w-amd64"] * 2
