# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of several stages share: a shipped recipe, a site, and short words for long types."""

from pathlib import Path

from coordinator.recipe import Recipes
from coordinator.work import Site
from workers.wire.order import Index
from workers.wire.report import StepTiming

RECIPE, RECIPE_TEXT = Recipes(Path(__file__).parents[2] / "recipes").of_suite("bookworm-security")
SITE = Site((Index("http://mirror.invalid/debian", "bookworm", ("main",)),), lease_seconds=60)


def timing(name: str, exit_code: int = 0) -> StepTiming:
    return StepTiming(name, exit_code, 1.0, 0.1)
