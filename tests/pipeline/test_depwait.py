# SPDX-License-Identifier: GPL-3.0-or-later
"""Dependencies that the archive does not have are waited for, and what comes of that in the map."""

from dataclasses import replace

import pytest

from coordinator.errors import Blame, IllegalMove
from coordinator.model import JobState
from coordinator.model import UpdateState as S
from coordinator.pipeline import (
    DEP_WAITS,
    MAX_FARM_FAULTS,
    MAX_MISSES,
    Cancelled,
    Event,
    Look,
    Retried,
    Ring,
    Withdrawn,
)
from tests.pipeline.walk import AT, BUILD, TEST, Walk, ended
from workers.wire.arch import Arch

BOTH = (Arch.AMD64, Arch.ARM64)


def test_a_job_whose_dependencies_are_missing_waits_and_the_archive_is_looked_at() -> None:
    walk = Walk().plan().miss(BUILD)
    assert walk.now() == (S.BUILDING, (Look(BUILD, Arch.AMD64, 1, DEP_WAITS[0]),))
    assert walk.update.reason == "build on amd64 it dep-wait"
    assert walk.job(BUILD, Arch.AMD64).farm_faults == 0


def test_a_job_whose_dependencies_appear_is_tried_again_and_the_update_says_no_more_of_it() -> None:
    walk = Walk().plan().miss(BUILD).meet(BUILD)
    assert walk.now() == (S.BUILDING, (Ring(BUILD, Arch.AMD64, 2),))
    assert walk.update.reason == ""
    assert walk.do(BUILD).do(TEST).update.state == S.AWAITING_APPROVAL


def test_the_other_architectures_go_on_while_one_waits_for_its_dependencies() -> None:
    walk = Walk().plan(BOTH, BOTH).miss(BUILD).do(BUILD, Arch.ARM64).do(TEST, Arch.ARM64)
    assert (walk.update.state, walk.job(TEST, Arch.AMD64).state) == (S.BUILDING, JobState.WAITING)


def test_what_apt_misses_though_the_archive_has_it_is_waited_for_longer_each_time_and_given_up_in_the_end() -> None:
    walk, looks = Walk().plan(), []
    for _ in DEP_WAITS:
        looks.append(walk.miss(BUILD).said)
        walk.meet(BUILD)
    assert looks == [(Look(BUILD, Arch.AMD64, number, wait),) for number, wait in enumerate(DEP_WAITS, 1)]
    walk.miss(BUILD)
    assert (walk.update.state, walk.update.blame) == (S.FAILED, Blame.PACKAGE)
    assert walk.update.reason == "build on amd64: apt says no, though the archive has what is missing"


def test_each_other_thing_that_is_missing_is_waited_for_anew() -> None:
    walk = Walk().plan().miss(BUILD).meet(BUILD).claim(BUILD)
    said = ended(walk.update, walk.job(BUILD, Arch.AMD64), JobState.DEP_WAIT)
    walk.at(replace(said, report=replace(said.report, missing=("libbar-dev",))))
    assert walk.job(BUILD, Arch.AMD64).dep_waits == 1


def miss_without_an_index(walk: Walk, *missing: str) -> Walk:
    """The attempt had to do without an optional index."""
    said = ended(walk.claim(BUILD).update, walk.job(BUILD, Arch.AMD64), JobState.DEP_WAIT)
    missed = replace(said.report, missing=missing or said.report.missing, left_out=("bookworm-security amd64: late",))
    return walk.at(replace(said, report=missed))


def test_what_is_missing_where_an_index_was_left_out_is_never_the_packages_fault() -> None:
    walk = Walk().plan()
    for _ in range(len(DEP_WAITS) + 2):
        miss_without_an_index(walk).meet(BUILD)
    miss_without_an_index(walk)
    assert walk.job(BUILD, Arch.AMD64).state == JobState.DEP_WAIT
    assert walk.said == (Look(BUILD, Arch.AMD64, len(DEP_WAITS) + 3, DEP_WAITS[-1]),)
    assert walk.meet(BUILD).do(BUILD).do(TEST).update.state == S.AWAITING_APPROVAL


def test_what_was_missing_without_an_index_is_missing_for_the_first_time_with_it() -> None:
    walk = Walk().plan()
    for _ in DEP_WAITS:
        miss_without_an_index(walk).meet(BUILD)
    walk.miss(BUILD)
    assert (walk.job(BUILD, Arch.AMD64).state, walk.job(BUILD, Arch.AMD64).dep_waits) == (JobState.DEP_WAIT, 1)


def test_a_job_that_misses_something_else_every_time_is_given_up_and_not_for_the_packages_fault() -> None:
    walk = Walk().plan()
    for number in range(MAX_MISSES):
        miss_without_an_index(walk, f"libfoo{number}-dev").meet(BUILD)
    miss_without_an_index(walk, "libbar-dev")
    assert (walk.update.state, walk.update.blame) == (S.FAILED, Blame.FARM)
    assert (
        walk.update.reason
        == f"build on amd64: given up after {MAX_MISSES} waits for dependencies; the last: it dep-wait"
    )
    assert walk.at(Retried(AT, "alice")).job(BUILD, Arch.AMD64).misses == 0


def test_retry_does_not_wait_for_the_archive() -> None:
    walk = Walk().plan(BOTH).miss(BUILD).at(Retried(AT, "alice"))
    assert walk.now() == (S.BUILDING, (Ring(BUILD, Arch.AMD64, 2),))
    with pytest.raises(IllegalMove, match="update 12 is building: retried is not possible now"):
        walk.at(Retried(AT, "alice"))


@pytest.mark.parametrize("event", [Cancelled(AT, "alice"), Withdrawn(AT, "alice", "why")])
def test_who_waits_for_dependencies_is_ended_at_once(event: Event) -> None:
    walk = Walk().plan().miss(BUILD).at(event)
    assert {job.state for job in walk.update.jobs} == {JobState.CANCELLED}


def test_faults_of_the_farm_after_a_wait_for_dependencies_blame_the_farm() -> None:
    walk = Walk().plan().miss(BUILD).meet(BUILD)
    for _ in range(MAX_FARM_FAULTS):
        walk.claim(BUILD).lose(BUILD)
    assert (walk.update.state, walk.update.blame) == (S.FAILED, Blame.FARM)
