# SPDX-License-Identifier: GPL-3.0-or-later
"""Exceptions that nobody foresaw: the engine outlives them, and an update does not wait for ever because of one."""

from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.errors import Blame
from coordinator.model import UpdateState as S
from coordinator.pipeline import Upload
from tests.farm import ALICE, BOB, Farm
from workers.wire.arch import Arch


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    """A farm that is not looked over at the end: that no mistake was made is what it would be held to."""
    farm = Farm(tmp_path)
    farm.worker("w-amd64", Arch.AMD64)
    return farm


@pytest.fixture
def number(farm: Farm) -> int:
    """An update that is signed, and whose upload ends in a way that nobody foresaw."""
    number = farm.submit_and_build()
    farm.approve(number, ALICE, BOB)
    farm.signer.work()
    farm.uploader.error = OSError("what is this?")
    return number


def test_an_upload_that_keeps_ending_in_a_mistake_is_given_up_after_five_tries(farm: Farm, number: int) -> None:
    farm.uploader.fails = 99
    for _ in range(10):
        farm.engine.tick()
        farm.clock.move(60)
    update = farm.update(number)
    assert (update.state, update.blame, update.reason) == (S.FAILED, Blame.FARM, "OSError: what is this?")
    assert farm.uploader.calls == 5


def test_an_upload_that_ended_in_a_mistake_goes_on_after_a_retry(farm: Farm, number: int) -> None:
    farm.uploader.fails = 5
    for _ in range(10):
        farm.engine.tick()
        farm.clock.move(60)
    farm.coordinator.retry(number, "carol")
    for _ in range(3):
        farm.engine.tick()
    assert farm.state(number) == S.PUBLISHED


def test_an_upload_that_is_not_to_be_any_more_is_not_given_up_by_a_mistake(farm: Farm, number: int) -> None:
    farm.engine.tick()
    farm.engine.tick()
    due = next(row.due for row in farm.store.outbox.values() if row.due.instruction == Upload())
    farm.engine._after_mistake(replace(due, tries=9), "late")
    assert farm.state(number) == S.PUBLISHED
