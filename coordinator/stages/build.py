# SPDX-License-Identifier: GPL-3.0-or-later
"""Build: what a builder is told, and what its report means.

Enters planned or building; needs the pinned recipe; an update leaves building when every build has ended.
A package's own failure is never retried, the farm's always is (up to the pipeline's limit). A build whose papers do not
fit its files fails here, before people sign what the signer would have to refuse.
"""

from collections.abc import Mapping, Sequence
from typing import assert_never

from coordinator.dsc import BuildControl, UploadControl, read_buildinfo, read_changes
from coordinator.errors import BadSource
from coordinator.model import File, Job, JobState, Source, Update
from coordinator.recipe import Recipe
from coordinator.work import Judgement, Site, make_order, unmet
from workers.wire.order import Order
from workers.wire.report import Artifact, Outcome, Report

_OF_THE_SOURCE = "_source.changes"
#: A build writes one .changes, one .buildinfo and the .changes of its source: of a hostile one no more is read.
_MOST_PAPERS = 3
#: How many names a reason tells.
_MOST_NAMES = 5


def order(update: Update, job: Job, recipe: Recipe, site: Site) -> Order:
    """Build this architecture from the update's source files."""
    return make_order(update, job, recipe, recipe.build, site, update.source.files)


def papers(report: Report) -> tuple[Artifact, ...]:
    """The files whose text `judge` needs."""
    named = (artifact for artifact in report.artifacts if artifact.name.endswith((".changes", ".buildinfo")))
    return tuple(named)[:_MOST_PAPERS]


def judge(report: Report, source: Source, texts: Mapping[str, bytes]) -> Judgement:
    """What the report of a build attempt of that source means; `texts` are its papers by name."""
    match report.outcome:
        case Outcome.FINISHED:
            return _finished(report, source, texts)
        case Outcome.UNINSTALLABLE:
            return unmet(report)
        case (
            Outcome.OUT_OF_TIME
            | Outcome.OUT_OF_MEMORY
            | Outcome.OUT_OF_PROCESSES
            | Outcome.OUT_OF_DISK
            | Outcome.LOG_TOO_LONG
            | Outcome.OUTPUT_TOO_LARGE
        ):
            return Judgement(JobState.FAILED, f"{report.outcome}: {report.reason}")
        case Outcome.CANCELLED:
            return Judgement(JobState.CANCELLED, report.reason or "cancelled")
        case Outcome.BROKEN | Outcome.GIVEN_BACK:
            return Judgement(None, report.reason)
        case _ as unreachable:
            assert_never(unreachable)


def _finished(report: Report, source: Source, texts: Mapping[str, bytes]) -> Judgement:
    if report.exit_code != 0:
        return Judgement(JobState.FAILED, f"step {report.steps[-1].name} ended with exit code {report.exit_code}")
    names = [artifact.name for artifact in report.artifacts]
    missing = [ending for ending in (".deb", ".changes", ".buildinfo") if not any(n.endswith(ending) for n in names)]
    if missing:
        return Judgement(JobState.FAILED, f"the build ended well but left no {' and no '.join(missing)}")
    wrong = _miscounted(names) or _misfit(report, source, texts)
    return Judgement(JobState.FAILED, wrong) if wrong else Judgement(JobState.SUCCEEDED, "")


def _miscounted(names: Sequence[str]) -> str:
    """Why it is not clear which .changes and .buildinfo are the build's own; empty where it is."""
    changes = [name for name in names if name.endswith(".changes")]
    of_source = [name for name in changes if name.endswith(_OF_THE_SOURCE)]
    infos = [name for name in names if name.endswith(".buildinfo")]
    if len(changes) - len(of_source) == len(infos) == 1 and len(of_source) <= 1:
        return ""
    return f"the build left other than one .changes and one .buildinfo: {_listed({*changes, *infos})}"


def _misfit(report: Report, source: Source, texts: Mapping[str, bytes]) -> str:
    """Where the build's papers and its files differ; empty where they do not."""
    built = {File(artifact.name, artifact.sha256, artifact.size) for artifact in report.artifacts}
    shipped = {file for file in built if not file.name.endswith(".changes")}
    for paper in papers(report):
        try:
            control = _read(paper.name, texts[paper.name])
        except BadSource as error:
            return f"{paper.name}: {error.message}"
        if (control.source, control.version) != (source.name, source.version):
            return f"{paper.name} is of {control.source} {control.version}, not of {source.name} {source.version}"
        strange = set(control.files) - shipped - set(source.files)
        if strange:
            return f"{paper.name} names what did not come out so: {_listed({file.name for file in strange})}"
        unnamed = shipped - set(control.files)
        if unnamed and paper.name.endswith(".changes") and not paper.name.endswith(_OF_THE_SOURCE):
            return f"{paper.name} does not name what came out: {_listed({file.name for file in unnamed})}"
    return ""


def _read(name: str, text: bytes) -> UploadControl | BuildControl:
    return read_changes(text) if name.endswith(".changes") else read_buildinfo(text)


def _listed(names: set[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(sorted(names)[:_MOST_NAMES]) + more
