# SPDX-License-Identifier: GPL-3.0-or-later
"""Build: what a builder is told, and what its report means.

Enters planned or building; needs the pinned recipe; an update leaves building when every build has ended.
A package's own failure is never retried, the farm's always is (up to the pipeline's limit).
"""

from typing import assert_never

from coordinator.model import Job, JobState, Update
from coordinator.recipe import Recipe
from coordinator.work import Judgement, Site, make_order
from workers.wire.order import Order
from workers.wire.report import Outcome, Report


def order(update: Update, job: Job, recipe: Recipe, site: Site) -> Order:
    """Build this architecture from the update's source files."""
    return make_order(update, job, recipe, recipe.build, site, update.source.files)


def judge(report: Report) -> Judgement:
    """What the report of a build attempt means."""
    match report.outcome:
        case Outcome.FINISHED:
            return _finished(report)
        case Outcome.UNINSTALLABLE:
            return Judgement(JobState.UNINSTALLABLE, report.reason)
        case Outcome.OUT_OF_TIME | Outcome.OUT_OF_MEMORY | Outcome.LOG_TOO_LONG | Outcome.OUTPUT_TOO_LARGE:
            return Judgement(JobState.FAILED, f"{report.outcome}: {report.reason}")
        case Outcome.CANCELLED:
            return Judgement(JobState.CANCELLED, report.reason or "cancelled")
        case Outcome.BROKEN:
            return Judgement(None, report.reason)
        case _ as unreachable:
            assert_never(unreachable)


def _finished(report: Report) -> Judgement:
    if report.exit_code != 0:
        return Judgement(JobState.FAILED, f"step {report.steps[-1].name} ended with exit code {report.exit_code}")
    names = [artifact.name for artifact in report.artifacts]
    if len(set(names)) != len(names):
        return Judgement(JobState.FAILED, "two files with the same name came out")
    missing = [ending for ending in (".deb", ".changes", ".buildinfo") if not any(n.endswith(ending) for n in names)]
    if missing:
        return Judgement(JobState.FAILED, f"the build ended well but left no {' and no '.join(missing)}")
    return Judgement(JobState.SUCCEEDED, "")
