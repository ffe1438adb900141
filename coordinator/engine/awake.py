# SPDX-License-Identifier: GPL-3.0-or-later
"""Time as it passed for the engine: neither a machine that slept nor a clock that was set makes it jump.

Stored times are of the wall's clock, and what they say of others' silence holds only while that runs as it should.
"""

from datetime import datetime, timedelta

#: For how long after a jump stored times say nothing: workers sign on every 15 seconds.
_UNSETTLED = timedelta(seconds=20)


class Awake:
    """Counts the time in which the engine looked at least every `most`; what is beyond that in between is a jump."""

    def __init__(self, now: datetime, most: timedelta) -> None:
        self._last = now
        self._most = most
        self._jumped_at: timedelta | None = None
        #: How long the engine has been awake.
        self.time = timedelta()

    def look(self, now: datetime) -> None:
        """Once a tick."""
        passed, self._last = now - self._last, now
        if self.settled and not timedelta() <= passed <= self._most:
            self._jumped_at = self.time
        self.time += min(max(passed, timedelta()), self._most)

    @property
    def settled(self) -> bool:
        """Whether whoever is there has had the time to say so since the last jump."""
        return self._jumped_at is None or self.time - self._jumped_at > _UNSETTLED
