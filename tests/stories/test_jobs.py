# SPDX-License-Identifier: GPL-3.0-or-later
"""People stop work, take it up again, or take the update back; and the plan waits for those who can do it."""

import pytest

from coordinator.errors import Blame, IllegalMove
from coordinator.model import JobState
from coordinator.model import UpdateState as S
from tests.farm import ALICE, BOB, Farm
from workers.errors import Fenced
from workers.sandbox.fake import Play
from workers.wire.arch import Arch
from workers.wire.order import JobKind

BUILD, TEST = JobKind.BUILD, JobKind.TEST


def test_what_nobody_has_begun_is_cancelled_at_once(farm: Farm) -> None:
    number = farm.submit()
    farm.engine.tick()
    farm.coordinator.cancel(number, "alice")
    farm.run()
    update = farm.update(number)
    assert (update.state, update.blame, update.reason) == (S.FAILED, Blame.SUBMITTER, "cancelled by alice")
    assert farm.hosts[0].bench.specs == []


def test_a_worker_hears_of_a_cancelled_job_with_its_next_sign_of_life(farm: Farm) -> None:
    host = farm.hosts[0]
    number = farm.submit(tested=False)

    def cancel() -> None:
        farm.coordinator.cancel(number, "alice")
        assert host.wire.renew(farm.update(number).key(farm.job(number)), 1).cancel

    host.bench.meanwhile = cancel
    farm.run()
    assert farm.job(number).state == JobState.CANCELLED
    assert farm.state(number) == S.FAILED


def test_a_cancelled_job_whose_worker_dies_is_not_tried_again(farm: Farm) -> None:
    farm.hosts[0].dies = True
    number = farm.submit(tested=False)
    farm.run()
    farm.coordinator.cancel(number, "alice")
    farm.wait(61)
    assert (farm.job(number).state, farm.job(number).attempt) == (JobState.CANCELLED, 1)


def test_a_retry_does_only_what_did_not_succeed(farm: Farm) -> None:
    farm.will(BUILD, Arch.ARM64, Play(exit_code=2))
    number = farm.submit()
    farm.run()
    good = farm.job(number)
    farm.mend(salt="other bytes")
    farm.coordinator.retry(number, "sam")
    farm.run()
    assert farm.state(number) == S.AWAITING_APPROVAL
    assert farm.job(number) == good
    assert (farm.job(number, BUILD, Arch.ARM64).attempt, farm.job(number, TEST, Arch.ARM64).attempt) == (2, 1)


def test_a_failed_test_alone_is_retried_without_a_build(farm: Farm) -> None:
    farm.tests_say("greets               FAIL timed out\n", 4)
    number = farm.submit()
    farm.run()
    farm.mend()
    farm.coordinator.retry(number, "sam")
    assert farm.state(number) == S.TESTING
    farm.run()
    assert farm.state(number) == S.AWAITING_APPROVAL
    assert (farm.job(number).attempt, farm.job(number, TEST).attempt) == (1, 2)


def test_a_cancelled_update_can_be_taken_up_again(farm: Farm) -> None:
    number = farm.submit()
    farm.engine.tick()
    farm.coordinator.cancel(number, "alice")
    farm.coordinator.retry(number, "alice")
    farm.run()
    assert farm.state(number) == S.AWAITING_APPROVAL
    assert farm.job(number).attempt == 2


def test_a_failure_that_stays_fails_again(farm: Farm) -> None:
    farm.will(BUILD, Arch.ARM64, Play(exit_code=2))
    number = farm.submit()
    farm.run()
    farm.coordinator.retry(number, "sam")
    farm.run()
    assert farm.state(number) == S.FAILED
    assert farm.job(number, BUILD, Arch.ARM64).attempt == 2


def test_an_update_that_was_taken_back_is_done_with(farm: Farm) -> None:
    number = farm.submit()
    farm.run()
    farm.coordinator.withdraw(number, "sam", "a better patch")
    farm.run()
    assert farm.update(number).reason == "withdrawn by sam: a better patch"
    with pytest.raises(IllegalMove, match=r"is withdrawn.*So far: .*Withdrawn by sam, why a better patch"):
        farm.coordinator.retry(number, "sam")


def test_a_worker_is_not_heard_any_more_when_the_update_was_taken_back(farm: Farm) -> None:
    number = farm.submit(tested=False)
    farm.hosts[0].bench.meanwhile = lambda: farm.coordinator.withdraw(number, "sam", "embargo")
    farm.run()
    job = farm.job(number)
    assert (job.state, job.report) == (JobState.CANCELLED, None)
    with pytest.raises(Fenced):
        farm.hosts[0].wire.claim()


def test_what_is_being_published_cannot_be_taken_back(farm: Farm) -> None:
    farm.target.hides = True
    number = farm.submit()
    farm.run()
    farm.approve(number, ALICE, BOB)
    farm.run()
    with pytest.raises(IllegalMove, match="is publishing: withdrawn is not possible now"):
        farm.coordinator.withdraw(number, "sam", "too late")


def test_the_plan_waits_for_a_worker_and_goes_on_when_one_comes(empty: Farm) -> None:
    number = empty.submit()
    empty.run()
    assert empty.state(number) == S.RECEIVED
    empty.worker("w-amd64", Arch.AMD64)
    empty.pass_time(1)
    empty.run()
    assert empty.state(number) == S.AWAITING_APPROVAL
    assert [job.arch for job in empty.update(number).of_kind(BUILD)] == [Arch.AMD64]


def test_a_worker_that_was_not_heard_of_for_long_is_not_planned_with(farm: Farm) -> None:
    farm.hosts[1].up = False
    farm.wait(121)
    number = farm.submit()
    farm.run()
    assert [job.arch for job in farm.update(number).of_kind(BUILD)] == [Arch.AMD64]
    assert farm.state(number) == S.AWAITING_APPROVAL


def test_the_history_tells_which_architectures_were_left_out(farm: Farm) -> None:
    number = farm.submit(architecture="amd64 i386 s390x")
    farm.run()
    planned = next(entry for entry in farm.store.history(number) if entry.event == "Planned")
    assert planned.detail == "jobs build/amd64 test/amd64, left_out i386 s390x"


def test_a_worker_that_was_silent_for_a_moment_is_planned_with(farm: Farm) -> None:
    farm.hosts[1].up = False
    farm.wait(119)
    number = farm.submit()
    farm.engine.tick()
    assert [job.arch for job in farm.update(number).of_kind(BUILD)] == [Arch.AMD64, Arch.ARM64]


def test_workers_that_all_fell_silent_are_waited_for(farm: Farm) -> None:
    for host in farm.hosts:
        host.up = False
    farm.wait(3600)
    number = farm.submit()
    farm.run()
    assert farm.state(number) == S.RECEIVED
    farm.hosts[0].up = True
    farm.pass_time(1)
    farm.run()
    assert farm.state(number) == S.AWAITING_APPROVAL


def test_a_package_for_none_of_the_farms_architectures_is_rejected(farm: Farm) -> None:
    number = farm.submit(architecture="s390x")
    farm.run()
    update = farm.update(number)
    assert (update.state, update.blame) == (S.REJECTED, Blame.SUBMITTER)
    assert "nothing to build: hello is for s390x" in update.reason


def test_an_update_can_be_taken_back_before_it_is_planned(empty: Farm) -> None:
    number = empty.submit()
    empty.coordinator.withdraw(number, "sam", "wrong suite")
    empty.worker("w-amd64", Arch.AMD64)
    empty.run()
    assert (empty.state(number), empty.update(number).jobs) == (S.WITHDRAWN, ())
