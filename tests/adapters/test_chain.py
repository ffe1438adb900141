# SPDX-License-Identifier: GPL-3.0-or-later
"""A changed past shows."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from coordinator.model import HistoryEntry, UpdateState
from coordinator.store.chain import begin_entry, first_break, next_entry
from tests.adapters.store_kit import NOW, update

MADE = replace(update(), id=1)


def story() -> list[HistoryEntry]:
    entries = [begin_entry(MADE, "SourceAccepted", "hello 1.1")]
    for event in ("Planned", "JobClaimed", "JobEnded"):
        entries.append(next_entry(MADE, event, "", entries[-1]))
    return entries


def test_a_whole_chain_has_no_break() -> None:
    assert first_break(1, story(), revision=4) is None
    assert first_break(1, []) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"at": NOW + timedelta(microseconds=1)},
        {"state": UpdateState.PUBLISHED},
        {"event": "Approved"},
        {"detail": "by nobody"},
        {"digest": "0" * 64},
        {"sequence": 7},
    ],
)
def test_a_changed_entry_is_found(changed: dict[str, Any]) -> None:
    entries = story()
    entries[1] = replace(entries[1], **changed)
    assert first_break(1, entries) == 2


def test_an_entry_changed_together_with_its_digest_breaks_the_next() -> None:
    entries = story()
    entries[1] = next_entry(MADE, "Approved", "", entries[0])
    assert first_break(1, entries) == 3


def test_a_lost_beginning_or_middle_is_found() -> None:
    assert first_break(1, story()[1:]) == 1
    assert first_break(1, [*story()[:1], *story()[2:]]) == 2


def test_a_lost_end_is_found_by_the_revision() -> None:
    assert first_break(1, story()[:-1], revision=4) == 4
    assert first_break(1, [], revision=1) == 1


def test_entries_in_another_order_are_found() -> None:
    first, second, third, last = story()
    assert first_break(1, [first, third, second, last]) == 2


def test_words_cannot_move_from_one_field_to_the_next() -> None:
    one, other = begin_entry(MADE, "ab", "c"), begin_entry(MADE, "a", "bc")
    assert one.digest != other.digest
