# SPDX-License-Identifier: GPL-3.0-or-later
"""Test: what a tester is told, and what autopkgtest's exit code and summary mean.

An architecture's tests start when its build is done; an update leaves testing when all have ended. A skipped test is
skipped, never failed and never passed. Exit codes and summary lines: autopkgtest(1), "EXIT STATUS", "--summary-file".
"""

import re
from itertools import islice
from typing import assert_never

from coordinator.model import File, Job, JobState, TestResult, Update, Verdict
from coordinator.recipe import Recipe
from coordinator.work import Judgement, Site, make_order, unmet
from workers.wire.arch import Arch
from workers.wire.order import JobKind, Order
from workers.wire.report import Outcome, Report

#: The file that autopkgtest writes and the recipe collects.
SUMMARY = "summary"
#: More than any real summary has. What is larger is not read, and what has more results is not kept.
MOST_BYTES, MOST_RESULTS = 1 << 20, 1000

#: A result of no test in particular stands under autopkgtest's own name for the package as a whole.
_WHOLE = "*"
_LINE = re.compile(r"^(?:(\S+)\s+)?(PASS|FAIL|FLAKY|SKIP)(?:\s+(.*))?$")
_BROKEN = frozenset({16, 20})
_NO_TESTS = 8


def order(update: Update, job: Job, recipe: Recipe, site: Site) -> Order:
    """Test what was built for this architecture, with what was built for all."""
    built = [
        File(artifact.name, artifact.sha256, artifact.size)
        for build in update.of_kind(JobKind.BUILD)
        if build.arch in (job.arch, Arch.ALL) and build.report is not None
        for artifact in build.report.artifacts
        if not artifact.name.endswith("_source.changes")
    ]
    return make_order(update, job, recipe, recipe.test, site, [*update.source.files, *built])


def judge(report: Report, summary: str | None) -> Judgement:
    """What the report of a test attempt means; `summary` is the text of the file SUMMARY, if it came out.

    No more than MOST_BYTES of it are needed.
    """
    match report.outcome:
        case Outcome.FINISHED:
            return _finished(report, parse_summary(summary or ""))
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
            tests = parse_summary(summary or "")[:MOST_RESULTS]
            return Judgement(JobState.FAILED, f"{report.outcome}: {report.reason}", tests)
        case Outcome.CANCELLED:
            return Judgement(JobState.CANCELLED, report.reason or "cancelled")
        case Outcome.BROKEN | Outcome.GIVEN_BACK:
            return Judgement(None, report.reason)
        case _ as unreachable:
            assert_never(unreachable)


def parse_summary(text: str) -> tuple[TestResult, ...]:
    """Autopkgtest's summary, a result a line; `* SKIP no tests in this package` is one too, `badpkg: …` is none.

    Of more results than MOST_RESULTS it gives one more, so that it can be seen.
    """
    lines = (_LINE.fullmatch(line.rstrip()) for line in text.splitlines())
    found = islice((match for match in lines if match), MOST_RESULTS + 1)
    return tuple(TestResult(match[1] or _WHOLE, Verdict(match[2].lower()), match[3] or "") for match in found)


def _too_much(report: Report, tests: tuple[TestResult, ...]) -> str:
    if any(artifact.size > MOST_BYTES for artifact in report.artifacts if artifact.name == SUMMARY):
        return f"autopkgtest's summary has more than {MOST_BYTES} bytes"
    return f"autopkgtest's summary has more than {MOST_RESULTS} results" if len(tests) > MOST_RESULTS else ""


def _finished(report: Report, tests: tuple[TestResult, ...]) -> Judgement:
    code = report.exit_code
    failed = [test.name for test in tests if test.verdict == Verdict.FAIL]
    if code in _BROKEN:
        return Judgement(None, f"autopkgtest ended with exit code {code}: the testbed failed")
    if too_much := _too_much(report, tests):
        return Judgement(JobState.FAILED, too_much)
    if code == _NO_TESTS and not failed:
        return Judgement(JobState.SUCCEEDED, "no test ran that says anything", tests)
    if code not in (0, 2):
        names = ", ".join(failed) or "the package's tests cannot be run"
        return Judgement(JobState.FAILED, f"{names} (autopkgtest exit code {code})", tests)
    if failed or not tests:
        what = f"{', '.join(failed)} failed" if failed else "autopkgtest left no summary"
        return Judgement(JobState.FAILED, f"{what}, though its exit code is {code}", tests)
    passed = any(test.verdict == Verdict.PASS for test in tests)
    return Judgement(JobState.SUCCEEDED, "" if passed else "no test passed: all were skipped or flaky", tests)
