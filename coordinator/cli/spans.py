# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an update's time went: how long each stage took, and how much of it was the farm's own. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from coordinator.model import HistoryEntry, Job, Update, UpdateState
from workers.wire.arch import Arch

#: The stages that have no jobs, by the state an update is in meanwhile.
_STAGES = {
    UpdateState.RECEIVED: "plan",
    UpdateState.AWAITING_APPROVAL: "approve",
    UpdateState.SIGNING: "sign",
    UpdateState.PUBLISHING: "publish",
}


@dataclass(frozen=True)
class Span:
    """A stage from its begin to its end, which is nothing while it goes on. The last time counts if there were more."""

    stage: str
    began: datetime
    ended: datetime | None

    def length(self, now: datetime) -> timedelta:
        """How long it took, or has taken so far."""
        return (self.ended or now) - self.began


@dataclass(frozen=True)
class Share:
    """The time of a stage in seconds: the package's own commands and apt's, and what the farm added to them."""

    stage: str
    commands: float
    farm: float


def spans(history: Sequence[HistoryEntry]) -> dict[str, Span]:
    """The stages without jobs that have begun, by name."""
    found: dict[str, Span] = {}
    following: list[HistoryEntry | None] = [*history[1:], None]
    before: UpdateState | None = None
    for entry, after in zip(history, following, strict=True):
        stage = _STAGES.get(entry.state)
        if stage is not None:
            began = found[stage].began if entry.state == before else entry.at
            found[stage] = Span(stage, began, None if after is None else after.at)
        before = entry.state
    return found


def shares(update: Update, history: Sequence[HistoryEntry], arch: Arch, intake: float) -> list[Share]:
    """How the time of one architecture's way divides. `intake` is what the submission took, in seconds.

    A job's own commands are its steps; all else, from the bell to the report, is the farm's: waiting for a worker, the
    base image, containers, files in and out. So are the other stages, but for people, who are not hurried here.
    """
    others = [Share(name, 0.0, span.length(update.changed_at).total_seconds()) for name, span in spans(history).items()]
    jobs = [_of_job(job) for job in update.jobs if job.arch == arch]
    return [Share("intake", 0.0, intake), *others[:1], *jobs, *others[1:]]


def _of_job(job: Job) -> Share:
    commands = sum(step.seconds for step in job.report.steps) if job.report else 0.0
    whole = (job.ended_at - job.queued_at).total_seconds() if job.ended_at and job.queued_at else commands
    return Share(str(job.kind), commands, max(0.0, whole - commands))
