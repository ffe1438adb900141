# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks between a worker's processes: one at a time, and nobody waits longer than need be."""

from pathlib import Path

import pytest

from workers.errors import LetGo
from workers.lock import hold, hold_if_free


def end() -> None:
    raise LetGo("the worker ends")


def test_who_waits_for_a_lock_can_be_told_to_stop(tmp_path: Path) -> None:
    with hold(tmp_path / "lock", lambda: None), pytest.raises(LetGo), hold(tmp_path / "lock", end):
        pytest.fail("somebody else has it")


def test_a_lock_is_free_again_however_its_holder_ended(tmp_path: Path) -> None:
    with pytest.raises(LetGo), hold(tmp_path / "lock", lambda: None):
        end()
    with hold_if_free(tmp_path / "lock") as free:
        assert free


def test_a_lock_that_somebody_has_is_not_free(tmp_path: Path) -> None:
    with hold(tmp_path / "lock", lambda: None), hold_if_free(tmp_path / "lock") as free:
        assert not free
