# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be killed in mid-build is killed, a worker speaks late, another lies: no job is lost, and nothing stays.

The most important cells of the fault matrix in `benchmarks`, which has the other stages and faults; what must hold
after each of them stands in `benchmarks/cell.py`.
"""

from collections.abc import Iterator

import pytest

from benchmarks import cell, faults, kit, leftovers, liars
from benchmarks.kit import Farm
from tests.acceptance.kit import PATIENCE

pytestmark = [pytest.mark.engine, pytest.mark.timeout(PATIENCE)]

FAULTS = {**faults.FAULTS, **liars.FAULTS}
#: Seconds of a lease: what is started again on a busy machine has come back by then.
LEASE = 20


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    """A farm that only these tests use up, with a lease that is soon over."""
    with kit.farm("faults", kit.only_here, slots="1", lease_seconds=str(LEASE)) as started:
        cell.warm_up(started)
        yield started


@pytest.mark.parametrize(
    "fault",
    [
        "worker_killed",
        "worker_ended",
        "engine_killed",
        "web_killed",
        "redis_killed",
        "cancelled",
        "late",
        "never_uploaded",
        "of_another_update",
    ],
)
def test_in_mid_build_it_costs_no_more_than_it_must_and_leaves_nothing_behind(farm: Farm, fault: str) -> None:
    assert cell.run(farm, fault, FAULTS[fault], cell.building.__name__).wrong == []


def test_of_the_files_only_those_stay_that_belong_to_updates(farm: Farm) -> None:
    files = leftovers.collect(farm)
    assert files.referred > 0
    assert (files.kept, files.missing) == (frozenset(), frozenset())


def test_of_a_farm_that_is_down_after_all_that_the_engine_has_nothing(farm: Farm) -> None:
    farm.run("down")
    assert leftovers.of_the_farm(farm) == []
