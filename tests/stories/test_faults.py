# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers die, disks fill, packages fail: the farm's own faults are tried again, a package's never."""

from dataclasses import replace

import pytest

from coordinator.errors import BadRequest, Blame, NotAllowed
from coordinator.errors import Fenced as NotCurrent
from coordinator.model import JobState, Verdict
from coordinator.model import UpdateState as S
from coordinator.pipeline import FAULT_WAITS, MAX_FARM_FAULTS
from tests.farm import LEASE, Farm
from workers.errors import Fenced
from workers.sandbox.fake import Play
from workers.wire.arch import Arch
from workers.wire.order import JobKind
from workers.wire.report import Outcome

BUILD, TEST = JobKind.BUILD, JobKind.TEST
UNMET = Play(b" libnone-dev : Depends: libnone1 (= 2) but 1 is to be installed\n", exit_code=100)
MIRROR = Play(b"E: Failed to fetch http://mirror.invalid/Packages  Hash Sum mismatch\n", exit_code=100)


def last_word(farm: Farm, number: int) -> str:
    """What the history says last."""
    return farm.store.history(number)[-1].detail


def lapse(farm: Farm) -> None:
    """Wait until every lease has run out, and let the engine see it."""
    farm.wait(2 * LEASE)


def test_a_worker_that_dies_loses_its_lease_and_another_takes_over(farm: Farm) -> None:
    farm.hosts[0].dies = True
    number = farm.submit(tested=False)
    farm.run()
    assert farm.job(number).state == JobState.LEASED
    farm.worker("w-second", Arch.AMD64)
    lapse(farm)
    farm.run()
    job = farm.job(number)
    assert (job.attempt, job.farm_faults, job.worker) == (2, 1, "w-second")
    assert farm.state(number) == S.AWAITING_APPROVAL


def test_a_worker_that_keeps_its_lease_may_take_its_time(farm: Farm) -> None:
    host = farm.hosts[0]
    number = farm.submit(tested=False)

    def work_on() -> None:
        for _ in range(10):
            farm.pass_time(LEASE - 1)
            host.wire.renew(farm.update(number).key(farm.job(number)), 1)
            farm.engine.tick()

    host.bench.meanwhile = work_on
    farm.run()
    assert (farm.job(number).attempt, farm.job(number).state) == (1, JobState.SUCCEEDED)


def test_a_worker_that_comes_back_too_late_is_not_heard(farm: Farm) -> None:
    farm.hosts[0].bench.meanwhile = lambda: lapse(farm)
    number = farm.submit(tested=False)
    farm.run()
    assert farm.events(number).count("JobLost") == 1
    assert (farm.job(number).attempt, farm.job(number).state) == (2, JobState.SUCCEEDED)


def test_a_late_report_of_an_old_attempt_is_refused(farm: Farm) -> None:
    farm.hosts[0].dies = True
    number = farm.submit(tested=False)
    farm.run()
    farm.hosts[0].dies, farm.hosts[0].up = False, True
    lapse(farm)
    farm.run()
    report = farm.job(number).report
    assert report is not None
    before = farm.update(number)
    with pytest.raises(Fenced):
        farm.hosts[0].wire.report(replace(report, attempt=1))
    assert farm.update(number) == before


def test_an_old_attempt_does_not_end_or_keep_the_one_that_the_same_worker_has_now(farm: Farm) -> None:
    host = farm.hosts[0]
    host.dies = True
    number = farm.submit(tested=False)
    farm.run()
    lapse(farm)
    key, other = farm.update(number).key(farm.job(number)), farm.job(number, BUILD, Arch.ARM64).report
    host.wire.claim()
    assert other is not None
    with pytest.raises(Fenced):
        host.wire.report(replace(other, job=key, attempt=1, worker="w-amd64"))
    with pytest.raises(Fenced):
        host.wire.renew(key, 1)
    assert (farm.job(number).state, farm.job(number).attempt) == (JobState.LEASED, 2)


def test_nobody_reports_for_another_worker(farm: Farm) -> None:
    number = farm.submit(tested=False)
    farm.run()
    report = farm.job(number).report
    assert report is not None
    with pytest.raises(NotCurrent, match="is not w-arm64's"):
        farm.coordinator.report("w-arm64", report)


def test_a_worker_that_never_signed_on_gets_nothing(farm: Farm) -> None:
    number = farm.submit()
    farm.engine.tick()
    with pytest.raises(NotAllowed, match="has not signed on"):
        farm.coordinator.claim("w-stranger", "a" * 16)
    assert farm.job(number).state == JobState.QUEUED


@pytest.mark.parametrize(
    ("step", "play", "why"),
    [("", Play(fails="the engine is gone"), "the engine is gone"), ("depends", MIRROR, "Hash Sum mismatch")],
)
def test_a_fault_of_the_farm_is_tried_again_and_given_up_in_the_end(
    farm: Farm, step: str, play: Play, why: str
) -> None:
    farm.will(BUILD, Arch.AMD64, play, step)
    number = farm.submit(tested=False)
    farm.run_out()
    job, update = farm.job(number), farm.update(number)
    assert (job.state, job.attempt) == (JobState.FAILED, MAX_FARM_FAULTS)
    assert why in job.reason
    assert (update.state, update.blame) == (S.FAILED, Blame.FARM)


def test_after_a_second_fault_of_the_farm_its_cause_is_given_time_to_pass(farm: Farm) -> None:
    farm.will(BUILD, Arch.AMD64, Play(fails="the mirror is away"))
    number = farm.submit(tested=False)
    farm.run()
    assert (farm.job(number).state, farm.job(number).attempt) == (JobState.QUEUED, 3)
    farm.mend()
    farm.pass_time(FAULT_WAITS[1])
    farm.run()
    assert farm.state(number) == S.AWAITING_APPROVAL


def test_a_fault_of_the_farm_that_passes_is_forgotten(farm: Farm) -> None:
    farm.will(BUILD, Arch.AMD64, Play(fails="the engine is gone"))
    farm.hosts[0].bench.meanwhile = farm.mend
    number = farm.submit(tested=False)
    farm.run()
    assert farm.state(number) == S.AWAITING_APPROVAL


def test_a_full_disk_is_a_fault_of_the_farm_and_the_work_goes_on_when_there_is_room(farm: Farm) -> None:
    number = farm.submit(tested=False)
    farm.blobs.full = True
    farm.run_out()
    assert farm.update(number).blame == Blame.FARM
    assert farm.job(number).attempt == MAX_FARM_FAULTS
    farm.blobs.full = False
    farm.coordinator.retry(number, "sam")
    farm.run()
    assert farm.state(number) == S.AWAITING_APPROVAL


def test_a_package_that_does_not_build_is_not_tried_again(farm: Farm) -> None:
    farm.will(BUILD, Arch.ARM64, Play(b"cc1: error\n", exit_code=2))
    number = farm.submit()
    farm.run()
    update, job = farm.update(number), farm.job(number, BUILD, Arch.ARM64)
    assert (job.state, job.attempt) == (JobState.FAILED, 1)
    assert (update.state, update.blame) == (S.FAILED, Blame.PACKAGE)
    assert update.reason == "build on arm64: step compile ended with exit code 2"


def test_dependencies_that_cannot_be_met_though_none_is_missing_are_told_and_not_tried_again(farm: Farm) -> None:
    farm.will(BUILD, Arch.AMD64, UNMET, "depends")
    number = farm.submit()
    farm.run()
    job = farm.job(number)
    assert (job.state, job.attempt) == (JobState.UNINSTALLABLE, 1)
    assert "libnone-dev" in farm.update(number).reason


def test_a_test_whose_build_failed_is_never_begun(farm: Farm) -> None:
    farm.will(BUILD, Arch.ARM64, Play(exit_code=2))
    number = farm.submit()
    farm.run()
    test = farm.job(number, TEST, Arch.ARM64)
    assert (test.state, test.attempt, test.reason) == (JobState.CANCELLED, 0, "its build did not succeed")
    assert farm.job(number, TEST, Arch.AMD64).state == JobState.SUCCEEDED


def test_a_failing_test_fails_the_update_and_is_named(farm: Farm) -> None:
    farm.tests_say("greets               FAIL non-zero exit status 1\n", 4, Arch.ARM64)
    number = farm.submit()
    farm.run()
    update = farm.update(number)
    assert (update.state, update.blame) == (S.FAILED, Blame.PACKAGE)
    assert update.reason == "test on arm64: greets (autopkgtest exit code 4)"
    assert farm.job(number, TEST, Arch.ARM64).tests[0].detail == "non-zero exit status 1"


def test_a_skipped_test_passes_and_stays_skipped(farm: Farm) -> None:
    farm.tests_say("greets               SKIP needs a machine of its own\n", 2)
    number = farm.submit()
    farm.run()
    assert farm.state(number) == S.AWAITING_APPROVAL
    assert farm.job(number, TEST).tests[0].verdict == Verdict.SKIP


def test_a_testbed_that_fails_is_a_fault_of_the_farm(farm: Farm) -> None:
    farm.tests_say("", 16)
    number = farm.submit()
    farm.run_out()
    assert (farm.job(number, TEST).attempt, farm.update(number).blame) == (MAX_FARM_FAULTS, Blame.FARM)


def test_a_worker_that_lies_about_a_file_loses_its_attempt_and_the_history_says_so(farm: Farm) -> None:
    farm.hosts[0].dies = True
    number = farm.submit(tested=False)
    farm.run()
    key, other = farm.update(number).key(farm.job(number)), farm.job(number, BUILD, Arch.ARM64).report
    assert other is not None
    forged = replace(other.artifacts[0], sha256="0" * 64)
    said = replace(other, job=key, outcome=Outcome.FINISHED, worker="w-amd64", artifacts=(forged,))
    with pytest.raises(BadRequest, match="was not brought by this attempt"):
        farm.coordinator.report("w-amd64", said)
    job = farm.job(number)
    assert (job.state, job.attempt, job.farm_faults, job.failed_on) == (JobState.QUEUED, 2, 1, ("w-amd64",))
    assert f"the worker w-amd64 reported what is not so: '{forged.name}' was not brought" in last_word(farm, number)


def asleep(farm: Farm) -> int:
    """An update whose build a worker began, and then the whole coordinator was down until its lease had ended."""
    number = farm.submit(tested=False)
    farm.engine.tick()
    farm.engine.tick()
    farm.hosts[0].wire.claim()
    farm.clock.move(3600)
    farm.restart_engine()
    farm.engine.tick()
    return number


def test_a_build_outlives_a_coordinator_that_was_down_for_longer_than_its_lease(farm: Farm) -> None:
    number = asleep(farm)
    assert farm.job(number).state == JobState.LEASED
    farm.hosts[0].wire.renew(farm.update(number).key(farm.job(number)), 1)
    farm.wait(LEASE)
    assert (farm.job(number).state, farm.job(number).attempt) == (JobState.LEASED, 1)


def test_a_worker_that_died_while_the_coordinator_was_down_loses_its_lease_a_lease_later(farm: Farm) -> None:
    number = asleep(farm)
    farm.wait(LEASE)
    assert farm.job(number).state == JobState.LEASED
    farm.wait(1)
    assert (farm.job(number).state, farm.job(number).attempt) == (JobState.QUEUED, 2)


def test_a_lease_that_is_renewed_at_the_last_moment_is_not_taken_back(farm: Farm) -> None:
    host = farm.hosts[0]
    host.dies = True
    number = farm.submit(tested=False)
    farm.run()
    key = farm.update(number).key(farm.job(number))
    farm.wait(LEASE)
    farm.store.meanwhile = lambda: host.wire.renew(key, 1)
    farm.wait(1)
    assert (farm.job(number).state, farm.job(number).attempt) == (JobState.LEASED, 1)


def test_a_lease_of_an_update_that_is_changed_without_a_pause_is_taken_back_later(farm: Farm) -> None:
    farm.hosts[0].dies = True
    number = farm.submit(tested=False)
    farm.run()
    farm.store.busy = {number}
    farm.wait(LEASE + 1)
    assert farm.job(number).state == JobState.LEASED
    farm.store.busy = set()
    farm.engine.tick()
    assert (farm.job(number).state, farm.job(number).attempt) == (JobState.QUEUED, 2)
