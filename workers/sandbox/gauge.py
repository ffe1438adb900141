# SPDX-License-Identifier: GPL-3.0-or-later
"""What a running container uses, looked at often enough to stop it and seldom enough not to slow it down.

The engine cannot limit the size of a container's layer on most file systems, so it is watched here; memory, processes
and cores the kernel limits by itself. Nothing here raises because a container has ended.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import docker
import requests
from docker.errors import DockerException
from urllib3.exceptions import HTTPError

from workers.wire.order import Limits
from workers.wire.report import UNKNOWN, Outcome, Usage

#: What run-step.sh prints when the kernel refused to start a process. A package that prints it itself is believed: it
#: is at fault either way.
REFUSED: Final = "run-step: the limit of processes was reached"

#: Seconds between two looks: at the kernel's counters, and at the layer, whose files the engine counts one by one.
COUNTERS_EVERY: Final = 2.0
LAYER_EVERY: Final = 5.0

#: A look that took long is not repeated before it is this share of the time.
_SHARE: Final = 0.05
_NANOSECONDS: Final = 1e9


class Paced:
    """One thing to ask the engine, asked again only when it is time."""

    def __init__(self, ask: Callable[[], Usage], every: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._every = every
        self._clock = clock
        self._next = clock()

    def look(self) -> Usage:
        """The answer, or UNKNOWN in between and where there is none: a container may end at any moment."""
        began = self._clock()
        if began < self._next:
            return UNKNOWN
        try:
            return self._ask()
        except (DockerException, requests.RequestException, HTTPError, LookupError):
            return UNKNOWN
        finally:
            now = self._clock()
            self._next = now + max(self._every, (now - began) / _SHARE)


class Gauge:
    """What one container used so far: peaks, and processor time. Each process that watches has one of its own."""

    def __init__(self, client: docker.DockerClient, container: str) -> None:
        self._counters = Paced(
            lambda: counted(client.api.stats(container, stream=False, one_shot=True)), COUNTERS_EVERY
        )
        self._layer = Paced(lambda: _layer(client, container), LAYER_EVERY)
        self.usage = UNKNOWN

    def look(self) -> Usage:
        """What is known now, as often as it is asked for."""
        for paced in (self._counters, self._layer):
            self.usage = peak(self.usage, paced.look())
        return self.usage


def peak(one: Usage, other: Usage) -> Usage:
    """The larger of each."""
    return Usage(
        cpu_seconds=max(one.cpu_seconds, other.cpu_seconds),
        memory_bytes=max(one.memory_bytes, other.memory_bytes),
        processes=max(one.processes, other.processes),
        disk_bytes=max(one.disk_bytes, other.disk_bytes),
    )


def counted(stats: Mapping[str, Any]) -> Usage:
    """What the engine's statistics say, by either version of control groups; what they do not say is 0.

    Memory is without the pages of files that were not used lately, as `docker stats` has it: the kernel takes those
    back before it stops anything.
    """
    memory = stats.get("memory_stats") or {}
    pages = memory.get("stats") or {}
    idle = pages.get("total_inactive_file", pages.get("inactive_file", 0))
    cpu = (stats.get("cpu_stats") or {}).get("cpu_usage") or {}
    return Usage(
        cpu_seconds=round(cpu.get("total_usage", 0) / _NANOSECONDS, 3),
        memory_bytes=max(0, memory.get("usage", 0) - idle),
        processes=(stats.get("pids_stats") or {}).get("current", 0),
        disk_bytes=0,
    )


def _layer(client: docker.DockerClient, container: str) -> Usage:
    found = client.api.containers(all=True, size=True, filters={"id": container})
    return Usage(0.0, 0, 0, int(found[0].get("SizeRw", 0)))


def exceeded(usage: Usage, limits: Limits, exit_code: int, printed: str = "") -> Outcome | None:
    """Which of the limits that no signal tells of was reached; `printed` is the end of the step's log.

    Many builds try to start more than they may and do well with fewer: only one that failed ran out of processes.
    """
    if usage.disk_bytes > limits.disk_bytes:
        return Outcome.OUT_OF_DISK
    if exit_code != 0 and (usage.processes >= limits.processes or REFUSED in printed):
        return Outcome.OUT_OF_PROCESSES
    return None
