# SPDX-License-Identifier: GPL-3.0-or-later
"""Dispatch: who gets what, and when. Pure."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from coordinator.dispatch import AGEING, AVOIDANCE, COURTESY, Board, Piece, Room, choose, matches
from coordinator.expectations import SLOWNESS, expect
from coordinator.model import Clearance, Job, JobState, OpenJob, Origin, Past, Urgency, Worker
from coordinator.pipeline import LONGEST_DELAY
from workers.wire.arch import Arch, Tier
from workers.wire.order import JobKind, Limits

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
GIB = 1 << 30
NATIVE, EMULATED = {Arch.AMD64: Tier.NATIVE}, {Arch.AMD64: Tier.EMULATED}


def worker(name: str = "w1", tiers: dict[Arch, Tier] = NATIVE, **changed: Any) -> Worker:
    """A worker with four slots in four cores and 16 GiB."""
    made = Worker(name, tiers, 4, NOW, name, 4, 16 * GIB, name, Clearance.EMBARGOED, False)
    return dataclasses.replace(made, **changed)


def piece(
    update: int = 1,
    kind: JobKind = JobKind.BUILD,
    arch: Arch = Arch.AMD64,
    *,
    waited: timedelta = timedelta(0),
    urgency: Urgency = Urgency.HIGH,
    origin: Origin = Origin.UPLOAD,
    source: str = "",
    cores: int = 4,
    **job: Any,
) -> Piece:
    """A queued job whose source is called like its update, `s1`, unless said."""
    made = dataclasses.replace(Job(kind, arch, JobState.QUEUED, attempt=1, queued_at=NOW - waited), **job)
    host = Arch.AMD64 if arch == Arch.ALL else arch
    open_job = OpenJob(update, source or f"s{update}", origin, urgency, "recipe", "0" * 64, made)
    return Piece(open_job, host, Limits(3600, cores, 8 * GIB, 100, GIB, GIB, GIB, 9))


def past(source: str, seconds: float, cores: int = 0, memory: int = 0, kind: JobKind = JobKind.BUILD) -> Past:
    return Past(source, kind, Arch.AMD64, Tier.NATIVE, seconds, cores * seconds, memory)


def board(*queued: Piece, workers: tuple[Worker, ...] = (worker(),), **changed: Any) -> Board:
    return dataclasses.replace(Board(NOW, workers, queued=queued), **changed)


def running(given: Piece, name: str = "w1", since: timedelta = timedelta(0)) -> Piece:
    job = dataclasses.replace(given.open.job, worker=name, started_at=NOW - since)
    return dataclasses.replace(given, open=dataclasses.replace(given.open, job=job))


def chosen(given: Board, name: str = "w1") -> int | None:
    """The update of the job that the worker is to begin."""
    found = choose(given, next(each for each in given.workers if each.name == name))
    return found.open.update if found else None


def test_the_more_urgent_goes_first_however_short() -> None:
    lessons = expect([past("s1", 1000), past("s2", 1)])
    assert chosen(board(piece(1), piece(2, urgency=Urgency.CRITICAL), expectations=lessons)) == 2


def test_of_the_equally_urgent_the_longest_goes_first_and_then_the_oldest() -> None:
    lessons = expect([past("s1", 10), past("s2", 30), past("s3", 30)])
    jobs = piece(1), piece(2), piece(3, waited=timedelta(seconds=1))
    assert chosen(board(*jobs, expectations=lessons)) == 3


def several(first: int, number: int, seconds: float, cores: int) -> tuple[list[Piece], list[Past]]:
    """So many jobs that are alike, and a past that knows them."""
    updates = range(first, first + number)
    return [piece(update) for update in updates], [past(f"s{update}", seconds, cores=cores) for update in updates]


def test_while_there_is_much_to_do_wide_jobs_and_narrow_ones_share_a_host() -> None:
    (wide, of_wide), (narrow, of_narrow) = several(1, 20, 100, cores=4), several(101, 60, 90, cores=1)
    host = worker(slots=8, cores=16, memory_bytes=64 * GIB)
    given = board(*wide, *narrow, workers=(host,), expectations=expect([*of_wide, *of_narrow]))
    taken = [found.open.update for _, found in matches(given)]
    assert (sum(update < 100 for update in taken), sum(update > 100 for update in taken)) == (3, 4)


def test_at_the_end_the_longest_goes_first_whatever_its_shape() -> None:
    (wide, of_wide), (narrow, of_narrow) = several(1, 2, 100, cores=4), several(101, 2, 60, cores=2)
    lessons = expect([*of_wide, *of_narrow, past("s201", 1, cores=1)])
    busy = (running(piece(201)),)
    given = board(*wide, *narrow, running=busy, workers=(worker(cores=5),), expectations=lessons)
    assert chosen(given) == 1


def test_the_end_is_near_for_many_hosts_while_it_is_far_for_one() -> None:
    """Twenty jobs that have the shape of a host, and one that is longer and has not."""
    (wide, of_wide), (narrow, of_narrow) = several(1, 20, 95, cores=4), several(101, 1, 100, cores=1)
    hosts = tuple(worker(f"w{number}", cores=16) for number in range(1, 21))
    given = board(*wide, *narrow, workers=hosts, expectations=expect([*of_wide, *of_narrow]))
    assert chosen(dataclasses.replace(given, workers=hosts[:1])) == 1
    assert chosen(given) == 101


def test_a_way_of_half_of_what_is_left_decides_whatever_its_shape() -> None:
    lessons = expect([past("s1", 60, cores=1), past("s2", 60, cores=4), past("s3", 1, cores=1)])
    given = board(piece(1), piece(2), workers=(worker(slots=1),), expectations=lessons)
    assert chosen(given) == 1
    assert chosen(dataclasses.replace(given, queued=(*given.queued, piece(3)))) == 2


def test_a_share_is_of_each_thing_and_nothing_of_what_is_overdrawn() -> None:
    whole = Room(4, 8, 16)
    assert Room(1, 4, 16).shares(whole) == (0.25, 0.5, 1)
    assert Room(-1, -4, -16).shares(whole) == (0, 0, 0)
    assert Room(1, 1, 1).shares(Room(1, 1, 0)) == (1, 1, 1)


@pytest.mark.parametrize("scarce", [{"cores": 4}, {"memory": 8 * GIB}, {"slots": 1}])
def test_of_slots_cores_and_memory_the_scarcest_says_how_much_is_left(scarce: dict[str, int]) -> None:
    lessons = [past(f"s{number}", 60, scarce.get("cores", 1), scarce.get("memory", GIB) * 4 // 5) for number in (1, 2)]
    host = worker(slots=scarce.get("slots", 4), memory_bytes=8 * GIB)
    assert board(piece(1), piece(2), workers=(host,), expectations=expect(lessons)).left(host) == pytest.approx(120)


def test_what_runs_is_left_too_and_nothing_is_of_nothing() -> None:
    host = worker(slots=1)
    busy = (running(piece(1), since=timedelta(seconds=20)),)
    assert board(running=busy, expectations=expect([past("s1", 60)])).left(host) == pytest.approx(10)
    assert board().left(host) == 0


def test_a_build_counts_with_the_test_that_waits_for_it() -> None:
    lessons = expect([past("s1", 10), past("s2", 20), past("s1", 60, kind=JobKind.TEST)])
    test = piece(1, JobKind.TEST)
    assert chosen(board(piece(2), piece(1), waiting=(test,), expectations=lessons)) == 1
    assert chosen(board(piece(2), piece(1, arch=Arch.ALL), waiting=(test,), expectations=lessons)) == 1


def test_of_the_tests_that_wait_for_it_the_longest_counts() -> None:
    lessons = expect([past("s1", 10), past("s2", 30), past("s1", 40, kind=JobKind.TEST)])
    fast, slow = piece(1, JobKind.TEST), piece(1, JobKind.TEST, Arch.ARM64)
    workers = worker(tiers=NATIVE | {Arch.ARM64: Tier.EMULATED}), worker("w2")
    given = board(piece(2), piece(1, arch=Arch.ALL), waiting=(fast, slow), workers=workers, expectations=lessons)
    assert given.way(given.queued[1], workers[0]) == 10 + 40 * SLOWNESS[Tier.EMULATED]


def test_a_build_counts_with_a_test_that_only_others_can_do_and_how_they_do_it() -> None:
    lessons = expect([past("s1", 10), past("s2", 60), past("s1", 10, kind=JobKind.TEST)])
    test = piece(1, JobKind.TEST, Arch.ARM64)
    workers = worker(), worker("other", {Arch.ARM64: Tier.EMULATED}), worker("native", {Arch.ARM64: Tier.NATIVE})
    jobs = board(piece(2), piece(1, arch=Arch.ALL), waiting=(test,), workers=workers[:2], expectations=lessons)
    assert chosen(jobs) == 1
    assert chosen(dataclasses.replace(jobs, workers=workers)) == 2


def test_what_waited_long_is_as_urgent_as_what_came_just_now() -> None:
    old = piece(1, urgency=Urgency.LOW, waited=2 * AGEING)
    assert chosen(board(piece(2, urgency=Urgency.CRITICAL), old)) == 2
    assert chosen(board(piece(2, urgency=Urgency.HIGH), old)) == 1


def test_nothing_goes_before_an_emergency_however_long_it_waited() -> None:
    assert chosen(board(piece(1, waited=99 * AGEING), piece(2, urgency=Urgency.EMERGENCY))) == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"draining": True},
        {"tiers": {Arch.ARM64: Tier.NATIVE}},
        {"clearance": Clearance.PUBLIC},
    ],
)
def test_a_worker_gets_nothing_that_is_not_for_it(changed: dict[str, Any]) -> None:
    assert chosen(board(piece(), workers=(worker(**changed),))) is None


def test_a_worker_for_public_sources_gets_what_an_archive_has_already() -> None:
    public = worker(clearance=Clearance.PUBLIC)
    assert chosen(board(piece(1), piece(2, origin=Origin.ARCHIVE), workers=(public,))) == 2


def test_a_job_that_is_to_wait_after_a_fault_waits() -> None:
    for seconds in (1, LONGEST_DELAY):
        assert chosen(board(piece(waited=timedelta(seconds=-seconds)))) is None


def test_unknown_jobs_share_a_host_by_its_slots_whatever_their_limits() -> None:
    given = board(*map(piece, range(1, 9)))
    assert [found.open.update for _, found in matches(given)] == [1, 2, 3, 4]


def test_an_unknown_job_takes_a_slots_share_of_the_cores_too() -> None:
    host = worker(slots=2)
    assert board(workers=(host,)).need(piece(), host) == Room(1, 2, 8 * GIB)


def test_known_jobs_take_what_they_took() -> None:
    lessons = expect([past("s1", 60, cores=2, memory=GIB), past("s2", 60, cores=2, memory=GIB), past("s3", 1, cores=1)])
    given = board(piece(1), piece(2), piece(3), expectations=lessons)
    assert [found.open.update for _, found in matches(given)] == [1, 2]


def test_memory_is_not_promised_twice() -> None:
    lessons = expect([past(f"s{number}", 60, cores=1, memory=6 * GIB) for number in (1, 2, 3)])
    given = board(piece(1), piece(2), piece(3), expectations=lessons)
    assert [found.open.update for _, found in matches(given)] == [1, 2]


def test_a_job_that_is_larger_than_its_worker_runs_alone() -> None:
    lessons = expect([past("s1", 60, cores=16, memory=64 * GIB)])
    small = worker(cores=2, memory_bytes=4 * GIB)
    given = board(piece(1), piece(2), workers=(small,), expectations=lessons)
    assert [found.open.update for _, found in matches(given)] == [1]


LARGE = [past("s1", 100, cores=4), past("s2", 100, cores=1), past("s3", 30, cores=1)]


def test_small_jobs_do_not_keep_a_large_one_out_for_ever() -> None:
    busy = (running(piece(2), since=timedelta(seconds=60)),)
    given = board(piece(1), piece(2), running=busy, expectations=expect(LARGE))
    assert chosen(given) is None


@pytest.mark.parametrize(("cores", "after"), [(4, 40), (3, 20)])
def test_a_place_is_there_when_enough_of_what_runs_has_ended(cores: int, after: int) -> None:
    """Two jobs of one core run for 20 and 40 seconds more; what begins now beside them must not end later."""
    busy = tuple(running(piece(number)) for number in (4, 5))
    lessons = [past("s1", 100, cores), past("s4", 20, cores=1), past("s5", 40, cores=1)]
    for seconds, gets in ((after, 3), (after + 1, None)):
        expected = expect([*lessons, past("s3", seconds, cores=1)])
        assert chosen(board(piece(1), piece(3), running=busy, expectations=expected)) == gets


def test_a_short_job_goes_before_a_large_one_that_cannot_begin_so_soon() -> None:
    busy = (running(piece(2), since=timedelta(seconds=60)),)
    given = board(piece(1), piece(3), running=busy, expectations=expect(LARGE))
    assert chosen(given) == 3


def test_a_place_is_kept_where_another_that_has_room_does_not_come() -> None:
    """It is up, and gives signs of life, and claims nothing."""
    busy = (running(piece(2), since=timedelta(seconds=60)),)
    both = worker(), worker("deaf")
    for waited, gets in ((timedelta(0), 2), (COURTESY, None)):
        given = board(piece(1, waited=waited), piece(2), running=busy, workers=both, expectations=expect(LARGE))
        assert chosen(given) == gets


@pytest.mark.parametrize("changed", [{"draining": True}, {"last_seen_at": NOW - timedelta(hours=1)}])
def test_a_place_is_kept_at_once_where_the_other_takes_no_work(changed: dict[str, Any]) -> None:
    busy = (running(piece(2), since=timedelta(seconds=60)),)
    both = worker(), worker("other", **changed)
    given = board(piece(1), piece(2), running=busy, workers=both, expectations=expect(LARGE))
    assert chosen(given) is None


def test_an_emulating_worker_leaves_a_job_for_a_moment_to_a_native_one_that_has_room() -> None:
    both = worker("native"), worker("slow", EMULATED)
    assert chosen(board(piece(), workers=both), "slow") is None
    assert chosen(board(piece(), workers=both), "native") == 1
    assert chosen(board(piece(waited=COURTESY), workers=both), "slow") == 1


@pytest.mark.parametrize("changed", [{"draining": True}, {"last_seen_at": NOW - timedelta(hours=1)}, {"slots": 0}])
def test_it_leaves_nothing_to_one_that_cannot_take_it(changed: dict[str, Any]) -> None:
    both = worker("native"), worker("slow", EMULATED)
    full = {"running": tuple(map(running, map(piece, range(2, 6)), ["native"] * 4))} if "slots" in changed else {}
    changed.pop("slots", None)
    given = board(piece(), workers=(dataclasses.replace(both[0], **changed), both[1]), **full)
    assert chosen(given, "slow") == 1


def test_a_worker_leaves_what_failed_on_it_to_others_for_a_while_even_busy_ones() -> None:
    both = worker("bad"), worker("good", slots=1)
    busy = (running(piece(2), "good"),)
    assert chosen(board(piece(failed_on=("bad",)), workers=both, running=busy), "bad") is None
    assert chosen(board(piece(failed_on=("bad",), waited=AVOIDANCE), workers=both, running=busy), "bad") == 1
    assert chosen(board(piece(failed_on=("bad", "good")), workers=both, running=busy), "bad") == 1
    clock_was_ahead = piece(failed_on=("bad",), waited=timedelta(days=-1))
    assert chosen(board(clock_was_ahead, workers=both, running=busy), "bad") == 1


def test_one_other_that_can_do_it_is_enough_to_leave_it_to() -> None:
    able, failed, arm = worker("able"), worker("bad2"), worker("arm", {Arch.ARM64: Tier.NATIVE})
    job = piece(failed_on=("w1", "bad2"))
    assert chosen(board(job, workers=(worker(), failed, arm))) == 1
    assert chosen(board(job, workers=(worker(), failed, arm, able))) is None


def test_the_emptiest_worker_is_asked_first_and_a_deaf_one_last() -> None:
    workers = worker("w1", cores=2), worker("w2", cores=8), worker("w3", cores=4)
    for deaf, first in (((), "w2"), (("w2",), "w3"), (("w3", "w1"), "w2")):
        assert next(matches(board(piece(), workers=workers), deaf))[0].name == first


def test_each_job_is_matched_once_and_workers_that_are_down_with_none() -> None:
    workers = worker("w1"), worker("w2"), worker("down", last_seen_at=NOW - timedelta(hours=1))
    found = [(each.name, given.open.update) for each, given in matches(board(*map(piece, range(20)), workers=workers))]
    assert sorted(update for _, update in found) == list(range(8))
    assert {name for name, _ in found} == {"w1", "w2"}
