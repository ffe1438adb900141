# SPDX-License-Identifier: GPL-3.0-or-later
"""An attempt that was stopped on purpose counts against nobody; only not for ever."""

import pytest

from coordinator.errors import Blame
from coordinator.model import JobState
from coordinator.model import UpdateState as S
from coordinator.pipeline import FAULT_WAITS, MAX_FARM_FAULTS, MAX_GIVEN_BACK, Cancelled, Retried, Ring
from tests.pipeline.walk import AT, BUILD, TEST, Walk
from workers.wire.arch import Arch

AMD64 = Arch.AMD64


def given_back_often(times: int) -> Walk:
    walk = Walk().plan()
    for _ in range(times):
        walk.claim(BUILD).give_back(BUILD)
    return walk


def test_an_attempt_that_was_given_back_may_be_claimed_again_at_once_and_was_nobodys_fault() -> None:
    walk = Walk().plan().claim(BUILD).give_back(BUILD)
    job = walk.job(BUILD, AMD64)
    assert walk.said == (Ring(BUILD, AMD64, 2),)
    assert (job.state, job.farm_faults, job.failed_on, job.worker) == (JobState.QUEUED, 0, (), "")
    assert walk.do(BUILD).claim(TEST).give_back(TEST).do(TEST).update.state == S.AWAITING_APPROVAL


def test_a_job_outlives_more_restarts_than_faults() -> None:
    job = given_back_often(MAX_GIVEN_BACK).job(BUILD, AMD64)
    assert (job.state, job.farm_faults, job.given_back) == (JobState.QUEUED, 0, MAX_GIVEN_BACK)
    assert MAX_GIVEN_BACK > MAX_FARM_FAULTS


def test_what_is_given_back_again_and_again_counts_as_a_fault_of_the_farm_and_comes_to_an_end() -> None:
    walk = given_back_often(MAX_GIVEN_BACK + 1)
    assert (walk.job(BUILD, AMD64).farm_faults, walk.job(BUILD, AMD64).failed_on) == (1, ("host-1",))
    for _ in FAULT_WAITS:
        walk.claim(BUILD).give_back(BUILD)
    assert (walk.update.state, walk.update.blame) == (S.FAILED, Blame.FARM)
    often = MAX_GIVEN_BACK + MAX_FARM_FAULTS
    assert f"the last: given back {often} times; the last: the worker was shut down" in walk.update.reason


def test_retry_forgives_that_it_was_given_back() -> None:
    walk = given_back_often(MAX_GIVEN_BACK).do(BUILD, state=JobState.FAILED).at(Retried(AT, "alice"))
    assert walk.job(BUILD, AMD64).given_back == 0


@pytest.mark.parametrize("times", [0, MAX_GIVEN_BACK])
def test_what_is_given_back_after_a_cancel_is_not_begun_again(times: int) -> None:
    walk = given_back_often(times).claim(BUILD).at(Cancelled(AT, "alice")).give_back(BUILD)
    assert (walk.update.state, walk.update.blame, walk.said) == (S.FAILED, Blame.SUBMITTER, ())
