# SPDX-License-Identifier: GPL-3.0-or-later
"""The farm is upgraded while updates are on their way, and each of them arrives."""

from dataclasses import replace

import pytest

from coordinator.model import UpdateState as S
from tests.farm import ALICE, BOB, Farm
from tests.stages.test_recipe_before import BEFORE


@pytest.fixture
def number(farm: Farm) -> int:
    """An update that came in with the recipe of an earlier version."""
    added = farm.update(farm.submit())
    old = farm.blobs.add(BEFORE.encode())
    farm.store.save(added, replace(added, recipe_sha256=old), "CameBefore", "", ())
    return added.id


def test_an_update_that_came_in_with_an_older_recipe_arrives(farm: Farm, number: int) -> None:
    farm.run()
    assert farm.state(number) == S.AWAITING_APPROVAL
    farm.approve(number, ALICE, BOB)
    farm.run()
    assert farm.state(number) == S.PUBLISHED


def test_its_orders_are_such_as_workers_take_now(farm: Farm, number: int) -> None:
    farm.engine.tick()
    order = farm.hosts[0].wire.claim()
    assert (order.limits.cores, order.limits.disk_bytes) == (4, 32 << 30)
    assert order.steps[0].run[-1][-1] == "/usr/lib/patchfarm/depends.dsc"
