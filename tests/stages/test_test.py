# SPDX-License-Identifier: GPL-3.0-or-later
"""Test: what a tester is told, and what autopkgtest's exit codes and summaries mean (autopkgtest(1))."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.model import JobState, Update, Verdict
from coordinator.model import TestResult as Result
from coordinator.stages import test
from coordinator.work import Judgement
from tests.pipeline.walk import Walk, report_on
from tests.stages.kit import RECIPE, SITE, timing
from workers.wire.arch import Arch
from workers.wire.order import JobKind, Order
from workers.wire.report import Artifact, Outcome, Report

BOTH = (Arch.AMD64, Arch.ARM64)
UPDATE = Walk().plan().update
PASSED = "greets               PASS\n"
FAILED = "greets               FAIL non-zero exit status 1\n"
SKIPPED = "machine              SKIP Test requires machine-level isolation but testbed does not provide that\n"
FLAKY = "sometimes            FLAKY timed out\n"


def report(exit_code: int = 0, outcome: Outcome = Outcome.FINISHED) -> Report:
    said = report_on(UPDATE, JobKind.TEST, Arch.AMD64, 1)
    return replace(said, outcome=outcome, reason="so it was", steps=(timing("autopkgtest", exit_code),))


def verdict(exit_code: int, summary: str | None) -> tuple[JobState | None, str]:
    judged = test.judge(report(exit_code), summary)
    return judged.state, judged.reason


def built() -> Update:
    """An update whose builds are done; each left the .changes of its source as well."""
    walk = Walk().plan((*BOTH, Arch.ALL), BOTH)
    for arch in (*BOTH, Arch.ALL):
        walk.do(JobKind.BUILD, arch)
        job = walk.job(JobKind.BUILD, arch)
        assert job.report is not None
        names = (f"hello_{arch}.deb", f"hello_{arch}.changes", "hello_source.changes")
        more = tuple(Artifact(name, "b" * 64, 3) for name in names)
        walk.update = walk.update.with_job(replace(job, report=replace(job.report, artifacts=more)))
    return walk.update


@pytest.fixture(scope="module")
def order_for_arm64() -> Order:
    update = built()
    job = update.job(JobKind.TEST, Arch.ARM64)
    assert job is not None
    return test.order(update, job, RECIPE, SITE)


def test_a_tester_gets_the_source_its_architectures_files_and_those_for_all(order_for_arm64: Order) -> None:
    names = [given.name for given in order_for_arm64.inputs]
    packages = ["hello_arm64.deb", "hello_arm64.changes", "hello_all.deb", "hello_all.changes"]
    assert names == ["hello_1.0-1+deb12u1.dsc", *packages]
    assert order_for_arm64.host == Arch.ARM64


def test_autopkgtest_is_told_of_every_changes_and_then_of_the_source(order_for_arm64: Order) -> None:
    argv = order_for_arm64.steps[-1].run[0]
    at = argv.index("./hello_arm64.changes")
    assert argv[at : at + 3] == ("./hello_arm64.changes", "./hello_all.changes", "hello_1.0-1+deb12u1.dsc")


def test_a_test_that_passed_passed() -> None:
    assert test.judge(report(), PASSED) == Judgement(JobState.SUCCEEDED, "", (Result("greets", Verdict.PASS, ""),))


def test_a_skipped_test_beside_one_that_passed_is_no_matter() -> None:
    judged = test.judge(report(2), PASSED + SKIPPED)
    assert (judged.state, judged.reason) == (JobState.SUCCEEDED, "")
    assert [result.verdict for result in judged.tests] == [Verdict.PASS, Verdict.SKIP]


@pytest.mark.parametrize("summary", [SKIPPED, FLAKY, SKIPPED + FLAKY])
def test_where_no_test_passed_that_is_said(summary: str) -> None:
    assert verdict(2, summary) == (JobState.SUCCEEDED, "no test passed: all were skipped or flaky")


@pytest.mark.parametrize(
    "summary", ["* SKIP no tests in this package\n", "smoke                PASS (superficial)\n", SKIPPED, None, ""]
)
def test_nothing_that_says_anything_passes_and_is_told(summary: str | None) -> None:
    assert verdict(8, summary) == (JobState.SUCCEEDED, "no test ran that says anything")


@pytest.mark.parametrize("code", [4, 6])
def test_a_failing_test_is_named(code: int) -> None:
    assert verdict(code, PASSED + FAILED) == (JobState.FAILED, f"greets (autopkgtest exit code {code})")


@pytest.mark.parametrize("code", [12, 14])
def test_a_package_whose_tests_cannot_be_run_failed(code: int) -> None:
    said = "blame: hello\nbadpkg: Test dependencies are unsatisfiable.\n"
    assert verdict(code, said) == (
        JobState.FAILED,
        f"the package's tests cannot be run (autopkgtest exit code {code})",
    )
    assert verdict(code, "greets               FAIL badpkg\n" + said)[1] == f"greets (autopkgtest exit code {code})"


@pytest.mark.parametrize("code", [16, 20])
def test_a_testbed_that_failed_says_nothing_of_the_package(code: int) -> None:
    assert verdict(code, FAILED) == (None, f"autopkgtest ended with exit code {code}: the testbed failed")


@pytest.mark.parametrize("code", [1, 3, 137, -9])
def test_an_exit_code_that_autopkgtest_does_not_have_is_a_failure(code: int) -> None:
    assert verdict(code, PASSED)[0] == JobState.FAILED


@pytest.mark.parametrize("code", [0, 2])
@pytest.mark.parametrize("summary", [None, "", "no line of it is a result\n"])
def test_a_good_exit_code_without_a_summary_is_not_believed(code: int, summary: str | None) -> None:
    assert verdict(code, summary) == (
        JobState.FAILED,
        f"autopkgtest left no summary, though its exit code is {code}",
    )


@pytest.mark.parametrize("code", [0, 2, 8])
def test_a_good_exit_code_beside_a_failed_test_is_not_believed(code: int) -> None:
    state, reason = verdict(code, PASSED + FAILED)
    assert state == JobState.FAILED
    assert "greets" in reason


@pytest.mark.parametrize(
    ("outcome", "state", "reason"),
    [
        (Outcome.UNINSTALLABLE, JobState.UNINSTALLABLE, "so it was"),
        (Outcome.OUT_OF_TIME, JobState.FAILED, "out of time: so it was"),
        (Outcome.OUT_OF_MEMORY, JobState.FAILED, "out of memory: so it was"),
        (Outcome.LOG_TOO_LONG, JobState.FAILED, "log too long: so it was"),
        (Outcome.OUTPUT_TOO_LARGE, JobState.FAILED, "output too large: so it was"),
        (Outcome.CANCELLED, JobState.CANCELLED, "so it was"),
        (Outcome.BROKEN, None, "so it was"),
        (Outcome.GIVEN_BACK, None, "so it was"),
    ],
)
def test_every_other_outcome_means_one_thing(outcome: Outcome, state: JobState | None, reason: str) -> None:
    judged = test.judge(report(outcome=outcome), None)
    assert (judged.state, judged.reason) == (state, reason)


def test_what_was_tested_before_time_ran_out_is_kept() -> None:
    assert test.judge(report(outcome=Outcome.OUT_OF_TIME), PASSED).tests == (Result("greets", Verdict.PASS, ""),)


@pytest.mark.parametrize(
    ("line", "result"),
    [
        ("greets               PASS", ("greets", Verdict.PASS, "")),
        ("greets               PASS (superficial)", ("greets", Verdict.PASS, "(superficial)")),
        ("greets               PASS   ", ("greets", Verdict.PASS, "")),
        ("* SKIP no tests in this package", ("*", Verdict.SKIP, "no tests in this package")),
        ("FAIL badpkg", ("*", Verdict.FAIL, "badpkg")),
        ("greets               FAIL badpkg", ("greets", Verdict.FAIL, "badpkg")),
        (
            "a-name-longer-than-twenty-letters FAIL stderr: oops",
            ("a-name-longer-than-twenty-letters", Verdict.FAIL, "stderr: oops"),
        ),
        ("FAIL                 PASS", ("FAIL", Verdict.PASS, "")),
        ("sometimes            FLAKY timed out", ("sometimes", Verdict.FLAKY, "timed out")),
    ],
)
def test_a_line_of_the_summary_is_a_result(line: str, result: tuple[str, Verdict, str]) -> None:
    assert test.parse_summary(f"{line}\n") == (Result(*result),)


@pytest.mark.parametrize(
    "line",
    ["blame: deb:hello", "badpkg: Test dependencies are unsatisfiable", "greets PASSED", "PASSES", "", "greets pass"],
)
def test_any_other_line_is_none(line: str) -> None:
    assert test.parse_summary(line) == ()


@given(st.text())
def test_no_text_at_all_makes_it_fail(text: str) -> None:
    assert all(result.name for result in test.parse_summary(text))


def test_more_results_than_any_package_has_are_not_kept() -> None:
    most = "".join(f"test-{number} PASS\n" for number in range(test.MOST_RESULTS))
    assert test.judge(report(), most).state == JobState.SUCCEEDED
    judged = test.judge(report(), most + FAILED)
    assert (judged.state, judged.tests) == (JobState.FAILED, ())
    assert judged.reason == "autopkgtest's summary has more than 1000 results"
    assert len(test.judge(report(outcome=Outcome.OUT_OF_TIME), most + FAILED).tests) == test.MOST_RESULTS


def test_a_summary_of_which_only_the_beginning_is_known_says_nothing() -> None:
    large = replace(report(), artifacts=(Artifact(test.SUMMARY, "a" * 64, test.MOST_BYTES + 1),))
    judged = test.judge(large, PASSED)
    assert (judged.state, judged.reason) == (
        JobState.FAILED,
        "autopkgtest's summary has more than 1048576 bytes",
    )
