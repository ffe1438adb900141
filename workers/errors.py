# SPDX-License-Identifier: GPL-3.0-or-later
"""How an attempt can end before its last step, and what the coordinator can answer. No message holds a secret."""

from workers.wire.order import JobKey
from workers.wire.report import Outcome


class WorkerError(Exception):
    """The root of what a worker raises itself."""


class AttemptEnded(WorkerError):
    """The attempt is over and is to be reported with this outcome; `reason` is one line for people.

    `missing` are the dependencies that could not be satisfied, as Report has them.
    """

    def __init__(self, outcome: Outcome, reason: str, missing: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = one_line(reason)
        self.missing = missing


class Fenced(WorkerError):
    """The attempt is no longer this worker's: throw everything away and report nothing."""


class LetGo(WorkerError):
    """The worker ends and its container does not: save what there is, say nothing, and leave the rest to an adopter."""


class StrangeOrder(WorkerError):
    """An order that this worker does not understand, of an attempt that it has now."""

    def __init__(self, job: JobKey, attempt: int, reason: str) -> None:
        super().__init__(reason)
        self.job = job
        self.attempt = attempt


class Refused(WorkerError):
    """The coordinator answered that it will not do that, and will not when asked again."""


def broken(reason: str) -> AttemptEnded:
    """The farm's own fault: mirror, engine, disk, image."""
    return AttemptEnded(Outcome.BROKEN, reason)


def one_line(text: str) -> str:
    """Text from anywhere as at most 500 printable characters of one line."""
    return "".join(letter if letter.isprintable() else " " for letter in " ".join(text.split()))[:500]
