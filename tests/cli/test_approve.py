# SPDX-License-Identifier: GPL-3.0-or-later
"""`approve`: exactly what was shown is signed, and only where there is something to approve."""

from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.cli.main import run
from coordinator.cli.session import Session
from coordinator.client import Client
from coordinator.model import JobState, UpdateState
from tests.cli.conftest import Shell
from tests.web.kit import FakeFarm, job, report, update, web


@pytest.fixture
def waiting(farm: FakeFarm) -> FakeFarm:
    built = job(state=JobState.SUCCEEDED, report=report())
    farm.store.known = update(UpdateState.AWAITING_APPROVAL, [built])
    return farm


def test_exactly_the_digest_set_is_shown_signed_and_handed_in(shell: Shell, waiting: FakeFarm) -> None:
    text = waiting.store.known.digest_set()
    said = shell("approve", "1", "--key", "ALICE", "--gnupg-home", "/keys")
    assert said.code == 0
    assert text in said.err
    assert shell.asked_to_sign == [(text, "ALICE", Path("/keys"))]
    assert waiting.asked == [("approve", 1, b"signed: " + text.encode())]


def test_nothing_is_signed_unless_it_waits_for_approval(shell: Shell) -> None:
    assert shell("approve", "1").code == 16
    assert shell.asked_to_sign == []


def test_what_failed_for_want_of_approvals_alone_can_be_approved(shell: Shell, waiting: FakeFarm) -> None:
    waiting.store.known = replace(waiting.store.known, state=UpdateState.FAILED)
    assert shell("approve", "1").code == 0
    assert len(waiting.asked) == 1


def test_a_text_that_the_facts_do_not_make_is_not_signed(waiting: FakeFarm, shell: Shell) -> None:
    class Lying(Client):
        def digests(self, number: int) -> str:
            return super().digests(number).replace("hello", "hullo")

    session = Session(lambda: Lying(web(waiting, "p-token")), sign=shell._sign)
    assert run(["approve", "1"], session) == 1
    assert (shell.asked_to_sign, waiting.asked) == ([], [])
