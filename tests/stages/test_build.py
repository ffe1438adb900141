# SPDX-License-Identifier: GPL-3.0-or-later
"""Build: what a builder is told, and what each of its answers means."""

from dataclasses import replace

import pytest

from coordinator.model import JobState
from coordinator.stages import build
from coordinator.work import Judgement
from tests.pipeline.walk import Walk, report_on
from tests.stages.kit import RECIPE, SITE, timing
from workers.wire.arch import Arch
from workers.wire.order import JobKind
from workers.wire.report import Artifact, Outcome, Report

WALK = Walk().plan((Arch.AMD64, Arch.ALL), ())
MADE = ("hello_1.0_amd64.deb", "hello_1.0_amd64.buildinfo", "hello_1.0_amd64.changes", "hello_1.0_source.changes")


def report(outcome: Outcome = Outcome.FINISHED, *, exit_code: int = 0, made: tuple[str, ...] = MADE) -> Report:
    artifacts = tuple(Artifact(name, "a" * 64, 1) for name in made)
    said = report_on(WALK.update, JobKind.BUILD, Arch.AMD64, 1)
    steps = (timing("depends"), timing("compile", exit_code))
    return replace(said, outcome=outcome, reason="so it was", steps=steps, artifacts=artifacts)


def test_a_builder_gets_the_source_and_nothing_else() -> None:
    order = build.order(WALK.update, WALK.job(JobKind.BUILD, Arch.AMD64), RECIPE, SITE)
    assert [given.name for given in order.inputs] == [file.name for file in WALK.update.source.files]
    assert [step.name for step in order.steps] == [step.name for step in RECIPE.build.step]
    assert order.collect == RECIPE.build.collect


@pytest.mark.parametrize(("arch", "half"), [(Arch.AMD64, "any"), (Arch.ALL, "all")])
def test_each_half_of_a_package_is_built_by_itself(arch: Arch, half: str) -> None:
    order = build.order(WALK.update, WALK.job(JobKind.BUILD, arch), RECIPE, SITE)
    assert order.host == Arch.AMD64
    assert f"--build={half}" in [word for step in order.steps for argv in step.run for word in argv]


def test_a_build_that_ended_well_with_its_files_succeeded() -> None:
    assert build.judge(report()) == Judgement(JobState.SUCCEEDED, "")


def test_a_build_with_an_exit_code_failed_in_the_step_that_had_it() -> None:
    assert build.judge(report(exit_code=2)) == Judgement(JobState.FAILED, "step compile ended with exit code 2")


@pytest.mark.parametrize("ending", [".deb", ".buildinfo", ".changes"])
def test_a_build_that_left_no_file_of_a_kind_failed(ending: str) -> None:
    judged = build.judge(report(made=tuple(name for name in MADE if not name.endswith(ending))))
    assert (judged.state, judged.reason) == (JobState.FAILED, f"the build ended well but left no {ending}")


def test_a_build_that_left_nothing_says_all_that_is_missing() -> None:
    assert build.judge(report(made=())).reason == (
        "the build ended well but left no .deb and no .changes and no .buildinfo"
    )


def test_two_files_of_one_name_are_a_failure() -> None:
    judged = build.judge(report(made=(*MADE, MADE[0])))
    assert (judged.state, judged.reason) == (JobState.FAILED, "two files with the same name came out")


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
    ],
)
def test_every_other_outcome_means_one_thing(outcome: Outcome, state: JobState | None, reason: str) -> None:
    assert build.judge(report(outcome)) == Judgement(state, reason)


def test_a_cancelled_build_without_a_reason_gets_one() -> None:
    assert build.judge(replace(report(Outcome.CANCELLED), reason="")).reason == "cancelled"


@pytest.mark.parametrize("outcome", Outcome)
def test_every_judgement_but_success_has_a_reason(outcome: Outcome) -> None:
    judged = build.judge(report(outcome))
    assert judged.reason or judged.state == JobState.SUCCEEDED
