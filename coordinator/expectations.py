# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job will probably take, judged by what others took before it. Pure.

A guess and no promise: it orders work and fills hosts, and a wrong one costs time, never a result. What workers said of
their past is a stranger's word: whatever the numbers are, something is made of them.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from statistics import median

from coordinator.model import Past
from workers.wire.arch import Arch, Tier
from workers.wire.order import JobKind
from workers.wire.report import IMAGE, Report

#: How much longer than a native host each tier takes; of qemu-user it was measured for libmodbus (6 s, 150 to 300 s).
SLOWNESS = {Tier.NATIVE: 1.0, Tier.ACCELERATED: 3.0, Tier.EMULATED: 25.0}
#: Of a farm without a past, in seconds on a native host.
_UNHEARD_OF = 120.0
#: What is added to the greatest memory seen, so that the next one, which is seldom alike, has room.
_ROOM = 1.25
#: More bytes and seconds than any job uses.
_MOST = 1 << 50

_Key = tuple[object, ...]


@dataclass(frozen=True)
class Expected:
    """Of one job on one tier. `cores` and `memory_bytes` are 0 where nobody knows."""

    seconds: float
    cores: int
    memory_bytes: int


@dataclass(frozen=True)
class Expectations:
    """Made of a past of bounded length; see `of`."""

    past: tuple[Past, ...] = ()

    def of(self, source: str, kind: JobKind, arch: Arch, tier: Tier) -> Expected:
        """By the most alike there was: the same job on that tier, the same elsewhere, such jobs of any source.

        Times that come from another tier are scaled by SLOWNESS. Cores and memory are the source's own or not known.
        """
        asked = source, kind, arch, tier
        if asked not in self._found:
            self._found[asked] = self._of(source, kind, arch, tier)
        return self._found[asked]

    def _of(self, source: str, kind: JobKind, arch: Arch, tier: Tier) -> Expected:
        keys = [(source, kind, arch, tier), (source, kind, arch), (source, kind), (kind, arch), (kind,)]
        native = next((self._seconds[key] for key in keys if key in self._seconds), _UNHEARD_OF)
        used = next((self._usage[key] for key in keys[1:3] if key in self._usage), (0, 0))
        return Expected(native * SLOWNESS[tier], *used)

    @cached_property
    def _found(self) -> dict[_Key, Expected]:
        """What was asked before: dispatch asks for every job that waits, again and again."""
        return {}

    @cached_property
    def _seconds(self) -> dict[_Key, float]:
        """Medians, as if all had been native."""
        found: dict[_Key, list[float]] = defaultdict(list)
        for past in self.past:
            kind, arch = past.kind, past.arch
            exact = (past.source, kind, arch, past.tier)
            for key in (exact, exact[:3], exact[:2], (kind, arch), (kind,)):
                found[key].append(max(past.seconds, 0.0) / SLOWNESS[past.tier])
        return {key: median(seconds) for key, seconds in found.items()}

    @cached_property
    def _usage(self) -> dict[_Key, tuple[int, int]]:
        """The most cores and memory that jobs alike used."""
        found: dict[_Key, tuple[int, int]] = {}
        for past in self.past:
            for key in ((past.source, past.kind, past.arch), (past.source, past.kind)):
                cores, memory = found.get(key, (0, 0))
                found[key] = max(cores, _cores(past)), max(memory, math.ceil(min(past.memory_bytes, _MOST) * _ROOM))
        return found


def expect(past: Iterable[Past]) -> Expectations:
    """What is to be expected after that past."""
    return Expectations(tuple(past))


def own_seconds(report: Report, whole: timedelta) -> float:
    """How long a job's own commands ran, of the whole from its claim to its report.

    What else an attempt did, a base image and the way to the mirror above all, the next one finds ready. Workers say
    so, and none says more than the whole.
    """
    steps = sum(step.seconds for step in report.steps if step.name != IMAGE)
    return steps if 0 < steps < whole.total_seconds() else whole.total_seconds()


def _cores(past: Past) -> int:
    """How many it kept busy, on the average over its length; 0 where the engine told nothing."""
    if past.cpu_seconds <= 0:
        return 0
    return max(1, math.ceil(min(past.cpu_seconds, _MOST) / max(past.seconds, 1.0) - 0.1))
