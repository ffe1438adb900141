# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor's rows say what is here, and of what is missing what to type."""

from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.doctor import SPACE, SUITES, Answer, Facts, Row, State, healthy, judge
from workers.wire.arch import Arch, Tier

WELL = Facts(
    python=(3, 11, 2),
    programs={"redis-server": Path("/usr/bin/redis-server")},
    versions={"redis-server": "5:7.0.15-1"},
    keyring=True,
    engine=Answer("20.10.24"),
    tiers={arch: Tier.EMULATED for arch in Arch if arch != Arch.ALL},
    mirrors={suite: Answer("http://mirror.example") for suite in SUITES},
    home=Path("/srv/farm"),
    free_bytes=2 * SPACE,
    writable=True,
    runs=False,
)


def row(facts: Facts, name: str) -> Row:
    return next(row for row in judge(facts) if row.name == name)


def test_a_machine_that_has_everything_is_healthy_and_needs_no_advice() -> None:
    rows = judge(WELL)
    assert healthy(rows)
    assert {row.advice for row in rows} == {""}


def test_a_program_is_shown_with_its_version_and_place() -> None:
    assert row(WELL, "redis-server").seen == "5:7.0.15-1 /usr/bin/redis-server"


@pytest.mark.parametrize(
    ("name", "ill"),
    [
        ("Python", replace(WELL, python=(3, 9, 2))),
        ("redis-server", replace(WELL, programs={"redis-server": None})),
        ("debian-archive-keyring", replace(WELL, keyring=False)),
        ("container engine", replace(WELL, engine=Answer("", "does not answer", "Start it."))),
        ("mirror of bookworm", replace(WELL, mirrors={"bookworm": Answer("http://a.example", "is away", "Wait.")})),
        ("home", replace(WELL, writable=False)),
    ],
)
def test_what_is_needed_and_missing_is_said_with_what_to_do(name: str, ill: Facts) -> None:
    assert row(ill, name).state == State.MISSING
    assert row(ill, name).advice
    assert not healthy(judge(ill))


@pytest.mark.parametrize(
    ("name", "ill"),
    [("architecture s390x", replace(WELL, tiers={Arch.AMD64: Tier.NATIVE})), ("home", replace(WELL, free_bytes=1))],
)
def test_a_farm_runs_with_less_where_it_must(name: str, ill: Facts) -> None:
    assert row(ill, name).state == State.OPTIONAL
    assert row(ill, name).advice
    assert healthy(judge(ill))
