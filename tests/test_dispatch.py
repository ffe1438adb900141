# SPDX-License-Identifier: GPL-3.0-or-later
"""Dispatch: who gets what, and when. Pure."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from coordinator.dispatch import AGEING, AVOIDANCE, COURTESY, Board, Piece, choose, matches
from coordinator.expectations import expect
from coordinator.model import Clearance, Job, JobState, OpenJob, Origin, Past, Urgency, Worker
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


def test_a_build_counts_with_the_test_that_waits_for_it() -> None:
    lessons = expect([past("s1", 10), past("s2", 20), past("s1", 60, kind=JobKind.TEST)])
    test = piece(1, JobKind.TEST)
    assert chosen(board(piece(2), piece(1), waiting=(test,), expectations=lessons)) == 1
    assert chosen(board(piece(2), piece(1, arch=Arch.ALL), waiting=(test,), expectations=lessons)) == 1


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
    assert chosen(board(piece(waited=timedelta(seconds=-1)))) is None


def test_unknown_jobs_share_a_host_by_its_slots_whatever_their_limits() -> None:
    given = board(*map(piece, range(1, 9)))
    assert [found.open.update for _, found in matches(given)] == [1, 2, 3, 4]


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


def test_a_short_job_goes_before_a_large_one_that_cannot_begin_so_soon() -> None:
    busy = (running(piece(2), since=timedelta(seconds=60)),)
    given = board(piece(1), piece(3), running=busy, expectations=expect(LARGE))
    assert chosen(given) == 3


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


def test_each_job_is_matched_once_and_workers_that_are_down_with_none() -> None:
    workers = worker("w1"), worker("w2"), worker("down", last_seen_at=NOW - timedelta(hours=1))
    found = [(each.name, given.open.update) for each, given in matches(board(*map(piece, range(20)), workers=workers))]
    assert sorted(update for _, update in found) == list(range(8))
    assert {name for name, _ in found} == {"w1", "w2"}
