# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job will probably take: the most alike there was decides."""

import math
from datetime import timedelta

import pytest

from coordinator.expectations import SLOWNESS, Expected, expect, own_seconds
from coordinator.model import Past
from workers.wire.arch import Arch, Tier
from workers.wire.order import JobKey, JobKind
from workers.wire.report import IMAGE, Outcome, Report, StepTiming

BUILD, TEST = JobKind.BUILD, JobKind.TEST
SLOW = SLOWNESS[Tier.EMULATED]


def past(source: str, seconds: float, arch: Arch = Arch.AMD64, tier: Tier = Tier.NATIVE, **used: float) -> Past:
    return Past(source, BUILD, arch, tier, seconds, used.get("cpu", 0), int(used.get("memory", 0)))


def seconds(lessons: list[Past], arch: Arch = Arch.AMD64, tier: Tier = Tier.NATIVE, kind: JobKind = BUILD) -> float:
    return expect(lessons).of("hello", kind, arch, tier).seconds


def test_the_median_of_the_same_job_on_the_same_tier_counts() -> None:
    lessons = [past("hello", 10), past("hello", 30), past("hello", 500), past("hello", 999, tier=Tier.EMULATED)]
    assert seconds(lessons) == 30
    assert seconds(lessons, tier=Tier.EMULATED) == 999


def test_another_tier_is_scaled() -> None:
    assert seconds([past("hello", 10)], tier=Tier.EMULATED) == 10 * SLOW


@pytest.mark.parametrize(
    ("arch", "kind", "wanted"), [(Arch.I386, BUILD, 10), (Arch.ARM64, BUILD, 10), (Arch.AMD64, TEST, 120)]
)
def test_the_source_elsewhere_counts_before_other_sources(arch: Arch, kind: JobKind, wanted: float) -> None:
    assert seconds([past("hello", 10), past("other", 90, Arch.I386)], arch, kind=kind) == wanted


def test_of_an_unheard_of_source_such_jobs_of_others_count() -> None:
    assert seconds([past("one", 10), past("two", 20, Arch.ARM64), past("three", 30, Arch.ARM64)]) == 10
    assert seconds([past("two", 20, Arch.ARM64), past("three", 30, Arch.ARM64)]) == 25


def test_cores_and_memory_are_the_most_that_the_source_used_with_some_room() -> None:
    lessons = [past("hello", 10, cpu=35, memory=800), past("hello", 10, cpu=12, memory=1000), past("other", 1, cpu=9)]
    assert expect(lessons).of("hello", BUILD, Arch.AMD64, Tier.NATIVE) == Expected(10, 4, 1250)
    assert expect(lessons).of("hello", BUILD, Arch.ARM64, Tier.NATIVE) == Expected(10, 4, 1250)


def test_a_job_that_mostly_sleeps_takes_a_core_all_the_same() -> None:
    assert expect([past("hello", 100, cpu=0.5)]).of("hello", BUILD, Arch.AMD64, Tier.NATIVE).cores == 1


def test_what_nobody_knows_is_not_made_up() -> None:
    assert expect([past("hello", 10)]).of("hello", BUILD, Arch.AMD64, Tier.NATIVE) == Expected(10, 0, 0)
    assert expect([past("other", 10, cpu=9, memory=9)]).of("hello", BUILD, Arch.AMD64, Tier.NATIVE).memory_bytes == 0


@pytest.mark.parametrize("number", [-1e308, -1, 0, 1e308])
def test_whatever_a_worker_said_something_is_expected(number: float) -> None:
    lessons = [past("hello", seconds, cpu=number, memory=number) for seconds in (-60, 0, 5e-324, 60)]
    expected = expect(lessons).of("hello", BUILD, Arch.AMD64, Tier.EMULATED)
    assert min(expected.seconds, expected.cores, expected.memory_bytes) >= 0


@pytest.mark.parametrize(
    ("said", "seconds"), [((20, 50), 70), ((20, 80), 90), ((), 90), ((-1e308,), 90), ((math.nan,), 90)]
)
def test_what_an_attempt_did_beside_its_steps_is_not_its_length(said: tuple[float, ...], seconds: float) -> None:
    image, way = StepTiming(IMAGE, 0, 5, 1), 7
    steps = (image, *(StepTiming("step", 0, each, way) for each in said))
    report = Report(JobKey(1, BUILD, Arch.AMD64), 1, Outcome.FINISHED, "", steps, (), "", "", Tier.NATIVE, "w1")
    assert own_seconds(report, timedelta(seconds=90)) == seconds
