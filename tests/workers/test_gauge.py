# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container uses: how often the engine is asked, what its answers mean, and when a limit was reached."""

import dataclasses

import pytest
from docker.errors import NotFound

from tests.workers.kit import LIMITS
from workers.sandbox.gauge import REFUSED, Paced, counted, exceeded, peak
from workers.wire.report import UNKNOWN, Outcome, Usage

SOME = Usage(1.5, 100, 3, 0)


class Engine:
    """Answers after `takes` seconds by its own clock, or not at all."""

    def __init__(self, takes: float = 0.0, gone: bool = False) -> None:
        self.now = 0.0
        self.asked = 0
        self._takes = takes
        self._gone = gone

    def clock(self) -> float:
        return self.now

    def answer(self) -> Usage:
        self.asked += 1
        self.now += self._takes
        if self._gone:
            raise NotFound("no such container")
        return SOME

    def watched(self, seconds: int, every: float) -> list[Usage]:
        """What is seen by somebody who looks ten times a second."""
        paced = Paced(self.answer, every, self.clock)
        seen = []
        while self.now < seconds:
            seen.append(paced.look())
            self.now += 0.1
        return seen


def test_however_often_one_looks_the_engine_is_asked_every_two_seconds() -> None:
    engine = Engine()
    assert SOME in engine.watched(60, every=2.0)
    assert engine.asked == pytest.approx(30, abs=2)


def test_an_engine_that_takes_long_to_answer_is_asked_a_twentieth_of_the_time() -> None:
    engine = Engine(takes=4.0)
    engine.watched(840, every=2.0)
    assert engine.asked == pytest.approx(10, abs=1)


def test_a_container_that_has_just_ended_used_nothing_more() -> None:
    assert set(Engine(gone=True).watched(10, every=2.0)) == {UNKNOWN}


def test_the_peak_is_of_each_by_itself() -> None:
    assert peak(Usage(1.0, 9, 1, 9), Usage(2.0, 3, 4, 0)) == Usage(2.0, 9, 4, 9)


@pytest.mark.parametrize("idle", ["total_inactive_file", "inactive_file"])
def test_both_versions_of_control_groups_are_understood(idle: str) -> None:
    stats = {
        "cpu_stats": {"cpu_usage": {"total_usage": 1_500_000_000}},
        "memory_stats": {"usage": 300, "stats": {idle: 200}},
        "pids_stats": {"current": 3},
    }
    assert counted(stats) == SOME


@pytest.mark.parametrize("stats", [{}, {"cpu_stats": {}, "memory_stats": {}, "pids_stats": None}])
def test_what_the_engine_does_not_say_is_not_known(stats: dict[str, object]) -> None:
    assert counted(stats) == UNKNOWN


FULL = dataclasses.replace(SOME, disk_bytes=LIMITS.disk_bytes + 1)
CROWDED = dataclasses.replace(SOME, processes=LIMITS.processes)


@pytest.mark.parametrize(
    ("usage", "exit_code", "printed", "outcome"),
    [
        (SOME, 1, "", None),
        (FULL, 137, "", Outcome.OUT_OF_DISK),
        (FULL, 0, "", Outcome.OUT_OF_DISK),
        (CROWDED, 2, "", Outcome.OUT_OF_PROCESSES),
        (CROWDED, 0, "", None),
        (SOME, 2, f"sh: 0: Cannot fork\n{REFUSED}\n", Outcome.OUT_OF_PROCESSES),
        (SOME, 0, f"{REFUSED}\n", None),
    ],
)
def test_a_limit_that_was_reached_is_named(usage: Usage, exit_code: int, printed: str, outcome: Outcome | None) -> None:
    assert exceeded(usage, LIMITS, exit_code, printed) is outcome
