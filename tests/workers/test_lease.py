# SPDX-License-Identifier: GPL-3.0-or-later
"""What ends an attempt from outside, and what of two such things counts."""

import threading

import pytest

from workers.ending import End, Ending
from workers.errors import AttemptEnded, Fenced, LetGo, Refused
from workers.lease import Lease
from workers.wire.codec import WireError
from workers.wire.report import Heartbeat, Outcome


def lease(how: End = End.NOT_YET) -> Lease:
    return Lease(60, lambda: Heartbeat(False, 60), lambda: how)


def test_nothing_stops_an_attempt_that_nobody_ends() -> None:
    assert not lease().stopping()
    lease().check()


def test_a_worker_that_lets_go_stops_nothing_and_says_so() -> None:
    with pytest.raises(LetGo):
        lease(End.LET_GO).stopping()


def test_a_lost_lease_counts_more_than_anything_before() -> None:
    lost = lease(End.STOP)
    assert lost.stopping()
    lost.lost()
    with pytest.raises(Fenced):
        lost.check()


def test_an_attempt_that_has_to_end_is_not_left_to_the_next_process() -> None:
    ended = lease(End.LET_GO)
    ended.give_up("the log did not arrive")
    assert ended.stopping()
    with pytest.raises(AttemptEnded, match="the log did not arrive"):
        ended.check()


def test_the_first_reason_stays() -> None:
    ended = lease()
    ended.give_up("first")
    ended.give_up("second")
    with pytest.raises(AttemptEnded) as raised:
        ended.check()
    assert (raised.value.outcome, raised.value.reason) == (Outcome.BROKEN, "first")


class Waits(threading.Event):
    """Remembers for how long it was waited for; is set, and over, after so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.seconds: list[float | None] = []
        self.over = threading.Event()
        self._times = times

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout)
        if len(self.seconds) > self._times:
            self.over.set()
        return self.over.is_set()


def test_a_lease_is_renewed_every_third_of_its_length_as_the_coordinator_last_said_and_every_five_seconds() -> None:
    lengths = [3, 15, 60]
    waits = Waits(times=len(lengths))
    with Lease(9, lambda: Heartbeat(False, lengths.pop(0)), lambda: End.NOT_YET, waits):
        assert waits.over.wait(30)
    assert waits.seconds == [3.0, 1.0, 5.0, 5.0]


def test_what_cannot_be_renewed_now_is_renewed_later() -> None:
    answers: list[Exception | Heartbeat] = [WireError("not JSON"), Refused("503"), Heartbeat(True, 3)]
    waits = Waits(times=len(answers))

    def renew() -> Heartbeat:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with Lease(3, renew, lambda: End.NOT_YET, waits) as kept:
        assert waits.over.wait(30)
    assert (waits.seconds, kept.stopping()) == ([1.0] * 4, True)


def test_the_end_of_an_attempt_does_not_wait_for_a_coordinator_that_is_away() -> None:
    asked, back = threading.Event(), threading.Event()

    def renew() -> Heartbeat:
        asked.set()
        assert back.wait(60)
        return Heartbeat(False, 60)

    with Lease(0, renew, lambda: End.NOT_YET):
        assert asked.wait(30)
    assert not back.is_set()
    back.set()


def test_a_worker_can_be_told_to_end_harder_and_not_softer() -> None:
    ending = Ending()
    for how, then in ((End.LET_GO, End.LET_GO), (End.STOP, End.STOP), (End.LET_GO, End.STOP)):
        ending.ask(how)
        assert ending.now() is then
