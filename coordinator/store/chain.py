# SPDX-License-Identifier: GPL-3.0-or-later
"""The chained history: each entry's digest covers its own fields and the digest before. Pure; anybody can check it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from coordinator.model import HistoryEntry, Update, UpdateState, sha256_of
from coordinator.store.text import storable


def begin_entry(update: Update, event: str, detail: str) -> HistoryEntry:
    """The first entry of an update."""
    return _entry(update.id, "", 1, update.changed_at, update.state, event, detail)


def next_entry(update: Update, event: str, detail: str, previous: HistoryEntry) -> HistoryEntry:
    """What follows `previous`: at the time and in the state that the update has now."""
    sequence = previous.sequence + 1
    return _entry(update.id, previous.digest, sequence, update.changed_at, update.state, event, detail)


def first_break(update: int, entries: Sequence[HistoryEntry], revision: int = 0) -> int | None:
    """The sequence of the first entry that was changed, lost or put in between; None for a whole chain.

    An update's revision is the number of its entries: give it to see a lost end, which no chain shows by itself.
    """
    digest = ""
    for sequence, entry in enumerate(entries, start=1):
        expected = _entry(update, digest, sequence, entry.at, entry.state, entry.event, entry.detail)
        if entry != replace(expected, at=entry.at):
            return sequence
        digest = entry.digest
    return len(entries) + 1 if len(entries) < revision else None


def _entry(
    update: int, previous: str, sequence: int, at: datetime, state: UpdateState, event: str, detail: str
) -> HistoryEntry:
    event, detail = storable(event), storable(detail)
    moment = at.astimezone(UTC).isoformat(timespec="microseconds")
    digest = sha256_of(json.dumps([previous, update, sequence, moment, state, event, detail]))
    return HistoryEntry(sequence, at, state, event, detail, digest)
