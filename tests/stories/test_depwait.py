# SPDX-License-Identifier: GPL-3.0-or-later
"""A build whose dependencies the archive does not have yet waits for them, and goes on by itself when they appear."""

import pytest

from coordinator.buildd import Word, word
from coordinator.depends import Package
from coordinator.errors import Blame, IllegalMove
from coordinator.model import JobState
from coordinator.model import UpdateState as S
from coordinator.pipeline import DEP_WAITS, MAX_FARM_FAULTS
from tests.farm import TIMING, Farm
from workers.images import Base
from workers.sandbox.fake import Play
from workers.wire.arch import Arch
from workers.wire.order import JobKind

NEEDED = "libfoo-dev (>= 2)"
FIRST_LOOK = DEP_WAITS[0]


def published(farm: Farm, version: str, name: str = "libfoo-dev") -> None:
    """The archive has this now."""
    farm.archive.has["bookworm"] = [Package(name, version)]


@pytest.fixture
def number(farm: Farm) -> int:
    """An update whose build on amd64 misses something."""
    published(farm, "1.0-1")
    farm.misses(NEEDED)
    number = farm.submit(tested=False)
    farm.run()
    return number


def test_a_job_in_dep_wait_says_what_it_waits_for_and_fails_nothing(farm: Farm, number: int) -> None:
    update, job = farm.update(number), farm.job(number)
    assert (update.state, job.state, job.farm_faults) == (S.BUILDING, JobState.DEP_WAIT, 0)
    assert (word(update, job), job.reason) == (Word.DEP_WAIT, "waits for libfoo-dev (>= 2)")
    assert update.reason == "build on amd64 waits for libfoo-dev (>= 2)"
    assert farm.job(number, arch=Arch.ARM64).state == JobState.SUCCEEDED


def test_it_goes_on_by_itself_when_the_archive_has_what_it_needs(farm: Farm, number: int) -> None:
    farm.wait(3600)
    assert farm.job(number).state == JobState.DEP_WAIT
    published(farm, "2.0-1")
    farm.mend()
    farm.wait(TIMING.look)
    farm.run()
    assert (farm.state(number), farm.job(number).attempt) == (S.AWAITING_APPROVAL, 2)
    assert farm.update(number).reason == ""
    assert "DependenciesMet" in farm.events(number)


def test_what_another_package_provides_is_there_too(farm: Farm, number: int) -> None:
    farm.archive.has["bookworm"] = [Package("libfoo2-dev", "7", (("libfoo-dev", "2.1"),))]
    farm.mend()
    farm.wait(FIRST_LOOK + 15)
    farm.run()
    assert farm.state(number) == S.AWAITING_APPROVAL


def test_an_engine_that_starts_anew_goes_on_looking(farm: Farm, number: int) -> None:
    published(farm, "2.0-1")
    farm.restart_engine()
    farm.wait(FIRST_LOOK + 15)
    assert farm.job(number).attempt == 2


def test_while_the_archive_does_not_answer_the_job_waits_and_says_why(farm: Farm, number: int) -> None:
    farm.archive.unreachable = "the mirror is away"
    farm.wait(3600)
    assert [waiting.last_error for waiting in farm.store.waiting(number)] == ["the mirror is away"]
    farm.archive.unreachable = ""
    published(farm, "2.0-1")
    farm.wait(120)
    assert farm.job(number).attempt == 2


def test_a_slow_archive_is_looked_at_for_two_jobs_at_a_time_and_leaves_room_for_uploads(farm: Farm) -> None:
    farm.misses(NEEDED)
    numbers = [farm.submit(name=f"hello{each}", tested=False) for each in range(3)]
    farm.run()
    assert {farm.job(number).state for number in numbers} == {JobState.DEP_WAIT}
    farm.slow_target = []
    farm.wait(FIRST_LOOK + 15)
    looks, farm.slow_target = farm.slow_target, None
    assert len(looks) == 2
    for look in looks:
        look()
    farm.wait(TIMING.look)
    assert all(farm.store.waiting(number)[0].tries for number in numbers)


def test_what_apt_does_not_take_though_the_archive_has_it_is_given_up_in_the_end(farm: Farm, number: int) -> None:
    published(farm, "2.0-1")
    for _ in DEP_WAITS:
        farm.wait(max(DEP_WAITS) + 15)
        farm.run()
    update, job = farm.update(number), farm.job(number)
    assert (job.state, job.attempt) == (JobState.UNINSTALLABLE, len(DEP_WAITS) + 1)
    assert (update.state, update.blame) == (S.FAILED, Blame.PACKAGE)
    assert word(update, job) == Word.BD_UNINSTALLABLE


def test_what_is_in_an_index_that_a_worker_had_to_do_without_is_waited_for_as_long_as_it_takes(farm: Farm) -> None:
    host = farm.hosts[0]
    host.images.base = Base("sha256:base", ("bookworm-security amd64: Hash Sum mismatch",))
    farm.archive.has["bookworm-security"] = [Package("libfoo-dev", "2.0-1")]
    farm.misses(NEEDED)
    number = farm.submit(tested=False)
    for _ in range(len(DEP_WAITS) + 3):
        farm.run()
        assert farm.job(number).state == JobState.DEP_WAIT
        farm.wait(max(DEP_WAITS) + 15)
    assert len(host.images.forgotten) == farm.job(number).misses == len(DEP_WAITS) + 3
    host.images.base = Base("sha256:base")
    farm.mend()
    farm.run()
    assert farm.state(number) == S.AWAITING_APPROVAL


def test_an_index_that_nobody_can_read_has_nothing_that_is_waited_for(farm: Farm, number: int) -> None:
    farm.archive.has["bookworm-security"] = [Package("libfoo-dev", "2.0-1")]
    farm.archive.broken = {"bookworm-security"}
    farm.wait(max(DEP_WAITS))
    assert (farm.job(number).state, farm.job(number).attempt) == (JobState.DEP_WAIT, 1)
    farm.archive.broken = set()
    farm.wait(TIMING.look + 15)
    assert farm.job(number).attempt == 2


def test_what_cannot_be_installed_without_an_index_is_tried_again_and_then_the_farms_fault(farm: Farm) -> None:
    farm.hosts[0].images.base = Base("sha256:base", ("bookworm-security amd64: Hash Sum mismatch",))
    farm.will(
        JobKind.BUILD, Arch.AMD64, Play(b"E: Unable to correct problems, you have held\n", exit_code=100), "depends"
    )
    number = farm.submit(tested=False)
    farm.run_out()
    assert (farm.update(number).blame, farm.job(number).attempt) == (Blame.FARM, MAX_FARM_FAULTS)
    assert "without bookworm-security amd64: Hash Sum mismatch" in farm.update(number).reason


def test_a_person_who_knows_better_does_not_wait(farm: Farm, number: int) -> None:
    farm.mend()
    farm.coordinator.retry(number, "carol")
    farm.run()
    assert farm.state(number) == S.AWAITING_APPROVAL
    with pytest.raises(IllegalMove):
        farm.coordinator.retry(number, "carol")


def test_a_job_in_dep_wait_can_be_cancelled_and_taken_up_again(farm: Farm, number: int) -> None:
    farm.coordinator.cancel(number, "carol")
    assert (farm.state(number), farm.job(number).state) == (S.FAILED, JobState.CANCELLED)
    farm.mend()
    farm.coordinator.retry(number, "carol")
    farm.run()
    assert farm.state(number) == S.AWAITING_APPROVAL


def test_a_withdrawn_update_waits_for_nothing(farm: Farm, number: int) -> None:
    farm.coordinator.withdraw(number, "sam", "a better patch")
    published(farm, "2.0-1")
    farm.wait(FIRST_LOOK + 15)
    assert (farm.state(number), farm.store.waiting(number)) == (S.WITHDRAWN, [])


def test_a_worker_that_names_no_dependency_that_could_be_one_is_not_waited_for(farm: Farm) -> None:
    farm.misses("../../etc/passwd (>= 2)")
    number = farm.submit(tested=False)
    farm.run()
    assert farm.job(number).state == JobState.UNINSTALLABLE


def test_a_test_whose_dependencies_are_missing_waits_as_a_build_does(farm: Farm) -> None:
    farm.misses(NEEDED, JobKind.TEST)
    number = farm.submit()
    farm.run()
    assert farm.job(number, JobKind.TEST).state == JobState.DEP_WAIT
    published(farm, "2.0-1")
    farm.mend()
    farm.wait(FIRST_LOOK + 15)
    farm.run()
    assert farm.state(number) == S.AWAITING_APPROVAL
