# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan: the source's architectures, the recipe's, and those that workers offer; and nothing that no worker can do."""

from dataclasses import replace

import pytest

from coordinator.errors import BadSource
from coordinator.model import JobState, Source
from coordinator.stages.plan import JobPlan, plan
from tests.pipeline.walk import source
from tests.stages.kit import RECIPE
from workers.wire.arch import Arch
from workers.wire.order import JobKind

EVERY = frozenset(RECIPE.arch.build)
TWO = frozenset({Arch.AMD64, Arch.ARM64})


def package(*architectures: str, tested: bool = True) -> Source:
    """A source whose .dsc has that Architecture field."""
    any_of_them = any(name != "all" for name in architectures)
    return replace(
        source(),
        architectures=architectures,
        builds_any=any_of_them,
        builds_all="all" in architectures,
        has_tests=tested,
    )


def archs(chosen: JobPlan, kind: JobKind) -> list[Arch]:
    return [job.arch for job in chosen.jobs if job.kind == kind]


def builds(*architectures: str, offered: frozenset[Arch] = EVERY) -> list[Arch]:
    return archs(plan(package(*architectures), RECIPE, offered), JobKind.BUILD)


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (("any",), list(RECIPE.arch.build)),
        (("linux-any",), list(RECIPE.arch.build)),
        (("any-amd64",), [Arch.AMD64]),
        (("any-i386", "arm64"), [Arch.I386, Arch.ARM64]),
        (("armhf", "amd64"), [Arch.AMD64, Arch.ARMHF]),
        (("amd64", "hurd-any"), [Arch.AMD64]),
    ],
)
def test_architectures_and_wildcards_of_the_source_choose_from_the_recipes_in_its_order(
    declared: tuple[str, ...], expected: list[Arch]
) -> None:
    assert builds(*declared) == expected


def test_an_architecture_that_no_worker_offers_is_left_out_and_named() -> None:
    chosen = plan(package("amd64", "arm64", "i386"), RECIPE, TWO)
    assert archs(chosen, JobKind.BUILD) == [Arch.AMD64, Arch.ARM64]
    assert chosen.left_out == (Arch.I386,)


def test_an_architecture_that_the_recipe_does_not_have_is_not_missed() -> None:
    chosen = plan(package("amd64", "riscv64"), RECIPE, {*TWO, Arch.RISCV64})
    assert (archs(chosen, JobKind.BUILD), chosen.left_out) == ([Arch.AMD64], ())


def test_what_is_for_all_is_built_once_more_by_itself() -> None:
    assert builds("any", "all", offered=TWO) == [Arch.AMD64, Arch.ARM64, Arch.ALL]


def test_what_is_for_all_alone_is_built_once() -> None:
    assert builds("all", offered=TWO) == [Arch.ALL]


def test_what_is_for_all_is_left_out_and_named_where_nobody_offers_the_architecture_it_is_built_on() -> None:
    chosen = plan(package("any", "all"), RECIPE, {Arch.ARM64})
    assert archs(chosen, JobKind.BUILD) == [Arch.ARM64]
    assert Arch.ALL in chosen.left_out


def test_tests_run_where_it_is_built() -> None:
    assert archs(plan(package("any", "all"), RECIPE, TWO), JobKind.TEST) == [Arch.AMD64, Arch.ARM64]


def test_what_is_for_all_alone_is_tested_where_it_is_built() -> None:
    assert archs(plan(package("all"), RECIPE, TWO), JobKind.TEST) == [Arch.AMD64]


def test_a_package_without_tests_gets_none() -> None:
    assert archs(plan(package("any", tested=False), RECIPE, TWO), JobKind.TEST) == []


def test_builds_may_begin_and_tests_have_to_wait() -> None:
    jobs = plan(package("any"), RECIPE, {Arch.AMD64}).jobs
    assert [(job.kind, job.state, job.attempt) for job in jobs] == [
        (JobKind.BUILD, JobState.QUEUED, 0),
        (JobKind.TEST, JobState.WAITING, 0),
    ]


@pytest.mark.parametrize(
    ("declared", "offered"),
    [
        (("any",), frozenset[Arch]()),
        (("s390x",), TWO),
        (("kfreebsd-any",), EVERY),
        (("all",), frozenset({Arch.ARM64})),
        (("riscv64",), frozenset({Arch.RISCV64})),
    ],
)
def test_a_source_of_which_nothing_can_be_built_is_refused(declared: tuple[str, ...], offered: frozenset[Arch]) -> None:
    with pytest.raises(BadSource, match=f"nothing to build: hello is for {' '.join(declared)}, the recipe builds"):
        plan(package(*declared), RECIPE, offered)


def test_the_refusal_says_what_workers_offer() -> None:
    with pytest.raises(BadSource, match="workers offer amd64 arm64"):
        plan(package("s390x"), RECIPE, TWO)
    with pytest.raises(BadSource, match="workers offer nothing"):
        plan(package("s390x"), RECIPE, ())
