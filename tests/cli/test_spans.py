# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the time went: each stage's own, and of a job's the part that is the farm's."""

from collections.abc import Iterator
from datetime import timedelta

from coordinator.cli.spans import Share, shares, spans
from coordinator.model import HistoryEntry, JobState, UpdateState
from tests.web.kit import NOW, job, report, update
from workers.wire.arch import Arch
from workers.wire.report import StepTiming

S = UpdateState


def after(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


def past(*moves: tuple[float, UpdateState]) -> list[HistoryEntry]:
    """A history of nothing but times, in seconds, and states."""
    rows: Iterator[tuple[int, tuple[float, UpdateState]]] = enumerate(moves, 1)
    return [HistoryEntry(number, NOW + after(at), state, "", "", "") for number, (at, state) in rows]


def test_a_stage_lasts_from_when_the_update_comes_to_it_until_it_leaves() -> None:
    found = spans(past((0, S.RECEIVED), (2, S.PLANNED), (3, S.SIGNING), (7, S.PUBLISHING)))
    assert found["plan"].length(NOW) == after(2)
    assert found["sign"].length(NOW) == after(4)


def test_a_stage_that_goes_on_has_lasted_until_now() -> None:
    (publish,) = spans(past((7, S.PUBLISHING))).values()
    assert publish.ended is None
    assert publish.length(NOW + after(10)) == after(3)


def test_what_happens_in_a_stage_does_not_begin_it_again() -> None:
    found = spans(past((0, S.AWAITING_APPROVAL), (4, S.AWAITING_APPROVAL), (9, S.SIGNING)))
    assert found["approve"].length(NOW) == after(9)


def test_of_a_stage_that_was_done_again_the_last_time_counts() -> None:
    found = spans(past((0, S.SIGNING), (5, S.FAILED), (50, S.SIGNING), (51, S.PUBLISHING)))
    assert found["sign"].length(NOW) == after(1)


def test_of_a_job_everything_but_its_own_commands_is_the_farms() -> None:
    steps = (StepTiming("depends", 0, 10.0, 1.0), StepTiming("compile", 0, 20.0, 2.0))
    built = job(state=JobState.SUCCEEDED, report=report(steps=steps), ended_at=NOW + after(36))
    done = update(S.PUBLISHED, [built], changed_at=NOW + after(40))
    history = past((-1, S.RECEIVED), (0, S.PLANNED), (36, S.SIGNING), (38, S.PUBLISHING), (40, S.PUBLISHED))
    assert shares(done, history, Arch.AMD64, intake=0.5) == [
        Share("intake", 0.0, 0.5),
        Share("plan", 0.0, 1.0),
        Share("build", 30.0, 6.0),
        Share("sign", 0.0, 2.0),
        Share("publish", 0.0, 2.0),
    ]
