# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the attempts whose workers are silent: their leases' ends have not moved for the length of a lease.

It compares no end of a lease with the time of day: after a jump of the clock, a sleep of the machine or a start of the
engine, those that are at work have one lease to say so; and one whose end is far away, as a wrong clock wrote it,
lapses like any other.
"""

from collections.abc import Sequence
from datetime import timedelta

from coordinator.ports import Lease


class Leases:
    """What the engine saw of leases; a process that has just started has seen nothing."""

    def __init__(self, length: timedelta) -> None:
        self._length = length
        self._seen: dict[Lease, timedelta] = {}

    def forget(self) -> None:
        """Whatever was seen says nothing: all have one lease to be renewed."""
        self._seen = {}

    def lapsed(self, held: Sequence[Lease], awake: timedelta) -> list[Lease]:
        """Those of the leases that are held now which nobody renewed for longer than one lasts; `awake` is Awake's."""
        self._seen = {lease: self._seen.get(lease, awake) for lease in held}
        return [lease for lease, since in self._seen.items() if awake - since > self._length]
