# SPDX-License-Identifier: GPL-3.0-or-later
"""What ends an attempt from outside, and what of two such things counts."""

import pytest

from workers.ending import End, Ending
from workers.errors import AttemptEnded, Fenced, LetGo
from workers.lease import Lease
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


def test_a_worker_can_be_told_to_end_harder_and_not_softer() -> None:
    ending = Ending()
    for how, then in ((End.LET_GO, End.LET_GO), (End.STOP, End.STOP), (End.LET_GO, End.STOP)):
        ending.ask(how)
        assert ending.now() is then
