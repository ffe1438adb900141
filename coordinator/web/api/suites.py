# SPDX-License-Identifier: GPL-3.0-or-later
"""`/suites`: what the farm has recipes for."""

from fastapi import APIRouter

from coordinator.model import Suite
from coordinator.recipe import Recipe
from coordinator.web.auth import Farm, Person

router = APIRouter(prefix="/suites", tags=["suites"])


@router.get("")
def every(farm: Farm, _who: Person) -> list[Suite]:
    """Every suite, by name."""
    return [_suite(farm.recipes.of_suite(name)[0]) for name in farm.recipes.suites()]


def _suite(recipe: Recipe) -> Suite:
    return Suite(
        name=recipe.suite,
        recipe=recipe.name,
        architectures=recipe.arch.build,
        all_on=recipe.arch.all_on,
        urgency=recipe.urgency,
        approvals_needed=recipe.approve.people,
    )
