# SPDX-License-Identifier: GPL-3.0-or-later
"""Orders are made of a recipe's commands, filled in element by element, and no shell could ever read more in them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.dsc import without_epoch
from coordinator.model import File, JobState, Source
from coordinator.recipe import PLACEHOLDERS, StepRules, WorkRules
from coordinator.work import Judgement, fill, host_of, make_order, tree_of, unfit, unmet
from tests.pipeline.walk import Walk, report_on, source
from tests.stages.kit import RECIPE, SITE
from workers.wire.arch import Arch
from workers.wire.order import Input, JobKind, Network, Order, User
from workers.wire.report import Artifact, Outcome, Report

VALUES = {"dsc": "hello_1.0.dsc", "tree": "hello-1.0", "arch": "amd64"}
CHANGES = ("./a.changes", "./b.changes")


def named(version: str) -> Source:
    return replace(source(), version=version)


def order(arch: Arch = Arch.AMD64, version: str = "1.0-1+deb12u1", *, more: tuple[File, ...] = ()) -> Order:
    """The order for a step that shows every placeholder but `changes` behind its name, and then the changes."""
    argv = (*(f"{name}={{{name}}}" for name in sorted(PLACEHOLDERS - {"changes"})), "{changes}")
    step = StepRules.model_validate({"name": "show", "run": (argv,), "user": "root", "network": "mirror"})
    rules = WorkRules(step=(step,), collect=("*.deb",))
    walk = Walk().plan((Arch.AMD64, Arch.ARM64, Arch.ALL), ())
    update = replace(walk.update, source=replace(walk.update.source, version=version))
    return make_order(update, walk.job(JobKind.BUILD, arch), RECIPE, rules, SITE, (*update.source.files, *more))


def shown(made: Order) -> dict[str, str]:
    return dict(word.split("=", 1) for word in made.steps[0].run[0] if "=" in word)


def test_every_placeholder_of_recipes_is_filled() -> None:
    assert shown(order(Arch.ARM64)) == {
        "dsc": "hello_1.0-1+deb12u1.dsc",
        "tree": "hello-1.0",
        "source": "hello",
        "version": "1.0-1+deb12u1",
        "build": "any",
        "half": "arch",
        "arch": "arm64",
        "cores": "4",
    }


def test_the_half_for_all_architectures_has_words_of_its_own() -> None:
    words = shown(order(Arch.ALL))
    assert (words["build"], words["half"], words["arch"]) == ("all", "indep", "all")


def test_versions_in_file_names_have_without_epoch() -> None:
    assert shown(order(version="1:1.0-1"))["version"] == "1.0-1"
    assert (without_epoch("1:2.0~rc1-1"), without_epoch("2.0")) == ("2.0~rc1-1", "2.0")


@pytest.mark.parametrize(
    ("version", "tree"),
    [("1.0-1", "hello-1.0"), ("1:1.0-2-3", "hello-1.0-2"), ("2.0", "hello-2.0"), ("0:1-1", "hello-1")],
)
def test_the_tree_is_named_as_dpkg_source_names_it(version: str, tree: str) -> None:
    assert tree_of(named(version)) == tree


def test_changes_become_one_element_each_and_none_where_there_is_none() -> None:
    assert fill(("run", "{changes}", "{dsc}"), VALUES, CHANGES) == ("run", *CHANGES, "hello_1.0.dsc")
    assert fill(("run", "{changes}"), VALUES, ()) == ("run",)


def test_the_changes_of_an_order_are_those_among_its_inputs() -> None:
    more = (File("a_amd64.changes", "1" * 64, 1), File("a_amd64.deb", "2" * 64, 2))
    assert order(more=more).steps[0].run[0][-1] == "./a_amd64.changes"


def test_a_value_inside_an_element_stays_inside_it() -> None:
    assert fill(("--chdir={tree}/x", "{arch}:{arch}"), VALUES, ()) == ("--chdir=hello-1.0/x", "amd64:amd64")


def test_a_value_that_looks_like_a_placeholder_is_not_filled_again() -> None:
    assert fill(("{dsc}",), {"dsc": "{arch}", "arch": "amd64"}, ()) == ("{arch}",)


@given(st.text(max_size=30))
def test_no_value_makes_more_elements_or_another_one(value: str) -> None:
    assert fill(("a", "x{dsc}y", "{dsc}"), {"dsc": value}, CHANGES) == ("a", f"x{value}y", value)


def test_what_is_for_all_is_built_where_the_recipe_says() -> None:
    assert host_of(RECIPE, Arch.ALL) == RECIPE.arch.all_on
    assert host_of(RECIPE, Arch.S390X) == Arch.S390X
    assert order(Arch.ALL).host == RECIPE.arch.all_on


def test_an_order_is_for_the_current_attempt_of_its_job() -> None:
    made = order(Arch.ARM64)
    assert (str(made.job), made.attempt, made.lease_seconds) == ("12/build/arm64", 1, 60)


def test_an_order_has_the_sites_mirrors_and_the_recipes_limits() -> None:
    made = order()
    assert (made.environment.indices, made.environment.suite) == (SITE.indices, RECIPE.suite)
    assert made.environment.packages == RECIPE.environment.packages
    assert made.limits == RECIPE.limits.limits()
    assert made.collect == ("*.deb",)


def test_a_step_keeps_who_runs_it_and_what_it_may_reach() -> None:
    step = order().steps[0]
    assert (step.name, step.user, step.network, step.prepares) == ("show", User.ROOT, Network.MIRROR, False)


def test_every_input_has_its_digest() -> None:
    more = (File("a_amd64.deb", "2" * 64, 2),)
    assert order(more=more).inputs[-1] == Input("a_amd64.deb", "2" * 64, 2)


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (("a_1_amd64.deb", "a_1_amd64.changes"), ""),
        (("a:b.deb",), "a file came out whose name is no plain one: 'a:b.deb'"),
        (("a.deb", "../a.deb"), "a file came out whose name is no plain one: '../a.deb'"),
        (("a.deb", "a.deb"), "two files with the same name came out"),
    ],
)
def test_files_are_kept_under_plain_names_that_differ(names: tuple[str, ...], why: str) -> None:
    said = report_on(Walk().plan().update, JobKind.BUILD, Arch.AMD64, 1)
    assert unfit(replace(said, artifacts=tuple(Artifact(name, "a" * 64, 1) for name in names))) == why


def missing(*dependencies: str) -> Report:
    walk = Walk().plan()
    said = report_on(walk.update, JobKind.BUILD, Arch.AMD64, 1)
    return replace(said, outcome=Outcome.UNINSTALLABLE, reason="apt says no", missing=dependencies)


def test_dependencies_that_are_named_are_waited_for() -> None:
    assert unmet(missing("libfoo-dev (>= 2)", "a1 | b2")) == Judgement(
        JobState.DEP_WAIT, "waits for libfoo-dev (>= 2), a1 | b2"
    )


def test_of_many_missing_dependencies_a_few_are_told() -> None:
    reason = unmet(missing(*(f"lib{number}" for number in range(50)))).reason
    assert reason == "waits for lib0, lib1, lib2, lib3, lib4 and 45 more"


@pytest.mark.parametrize(
    "named", [(), ("libfoo", "../../x"), ("lib foo",), tuple(f"lib{number}" for number in range(1000))]
)
def test_where_no_dependency_is_named_or_one_that_is_none_nothing_is_waited_for(named: tuple[str, ...]) -> None:
    assert unmet(missing(*named)) == Judgement(JobState.UNINSTALLABLE, "apt says no")


def test_what_cannot_be_installed_where_an_index_was_left_out_is_no_fault_of_the_package() -> None:
    without = replace(missing(), left_out=("bookworm-security amd64: Hash Sum mismatch",))
    assert unmet(without) == Judgement(None, "apt says no, without bookworm-security amd64: Hash Sum mismatch")
    assert unmet(replace(without, missing=("libfoo",))).state == JobState.DEP_WAIT
