# SPDX-License-Identifier: GPL-3.0-or-later
"""What workers are at, at a moment: put together from what is stored, and stored nowhere. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from coordinator.model import Worker
from workers.wire.order import JobKey


class Presence(StrEnum):
    """Whether a worker takes work."""

    UP = "up"
    DRAINING = "draining"
    SILENT = "silent"


@dataclass(frozen=True)
class Held:
    """An attempt that a worker has."""

    worker: str
    job: JobKey
    attempt: int
    since: datetime


@dataclass(frozen=True)
class Duty:
    """A worker now: whether it takes work, and what it has, the oldest first."""

    worker: Worker
    presence: Presence
    attempts: tuple[Held, ...]


def duty(worker: Worker, held: Iterable[Held], now: datetime) -> Duty:
    """A worker at a moment, of all that is held by anybody then."""
    own = tuple(each for each in held if each.worker == worker.name)
    if worker.silent(now):
        return Duty(worker, Presence.SILENT, own)
    return Duty(worker, Presence.DRAINING if worker.draining else Presence.UP, own)
