# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker that is told to end gives back what it has: nothing is lost by that, and nothing counted."""

from functools import partial

from coordinator.model import JobState
from coordinator.model import UpdateState as S
from coordinator.pipeline import MAX_FARM_FAULTS, MAX_GIVEN_BACK
from tests.fakes.workshop import Host
from tests.farm import TIMING, Farm
from workers.ending import End
from workers.sandbox.fake import Play
from workers.wire.arch import Arch
from workers.wire.order import JobKind

BUILD = JobKind.BUILD


def shut_down(host: Host) -> None:
    host.ending, host.up = End.STOP, False


def down_in_the_midst(farm: Farm) -> None:
    """`patchfarm down` while a build runs, and `patchfarm up` some time later."""
    host = farm.hosts[0]
    host.ending, host.up = End.NOT_YET, True
    farm.wait(60)
    host.bench.meanwhile = partial(shut_down, host)
    farm.run()


def test_a_farm_may_be_put_down_more_often_than_a_job_may_fail_and_the_update_still_arrives(farm: Farm) -> None:
    farm.will(BUILD, Arch.AMD64, Play(endless=True))
    number = farm.submit(tested=False)
    for _ in range(MAX_FARM_FAULTS + 1):
        down_in_the_midst(farm)
    job = farm.job(number)
    assert (job.state, job.farm_faults, job.failed_on) == (JobState.QUEUED, 0, ())
    assert farm.events(number).count("JobGivenBack") == MAX_FARM_FAULTS + 1
    assert "reason the worker was shut down" in farm.store.history(number)[-1].detail
    farm.mend()
    farm.hosts[0].ending, farm.hosts[0].up = End.NOT_YET, True
    farm.pass_time(60)
    farm.run()
    assert farm.state(number) == S.AWAITING_APPROVAL


def test_another_worker_has_the_job_at_once(farm: Farm) -> None:
    farm.worker("w-second", Arch.AMD64)
    farm.will(BUILD, Arch.AMD64, Play(endless=True))
    host = farm.hosts[0]

    def taken_down() -> None:
        shut_down(host)
        farm.mend()

    host.bench.meanwhile = taken_down
    number = farm.submit(tested=False)
    farm.hosts[2].up = False
    farm.engine.tick()
    host.answer()
    farm.hosts[2].up = True
    farm.pass_time(TIMING.ring_again)
    farm.run()
    assert (farm.job(number).worker, farm.job(number).attempt) == ("w-second", 2)
    assert farm.state(number) == S.AWAITING_APPROVAL


def test_a_worker_that_gives_back_whatever_it_gets_does_not_do_so_for_ever(farm: Farm) -> None:
    farm.will(BUILD, Arch.AMD64, Play(endless=True))
    number = farm.submit(tested=False)
    for _ in range(MAX_GIVEN_BACK + MAX_FARM_FAULTS):
        down_in_the_midst(farm)
        farm.wait(120)
    assert (farm.state(number), farm.job(number).attempt) == (S.FAILED, MAX_GIVEN_BACK + MAX_FARM_FAULTS)


def test_what_a_removed_worker_had_counts_as_nobodys_fault(farm: Farm) -> None:
    farm.hosts[0].dies = True
    number = farm.submit(tested=False)
    farm.run()
    farm.coordinator.dismiss("w-amd64", force=True)
    job = farm.job(number)
    assert (job.state, job.farm_faults, job.given_back) == (JobState.QUEUED, 0, 1)
    assert "the worker w-amd64 was removed" in farm.store.history(number)[-1].detail
