# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the recipe that an update keeps to, which may be older than this version: an upgrade strands no update.

What recipes could not say yet is said as the shipped ones said it first. A recipe that comes in is held to all that
there is now: see recipe.
"""

from functools import lru_cache

from pydantic import Field

from coordinator.recipe import LimitRules, Recipe, Size, StepRules, WorkRules, read

#: Preparing steps saw the update's own files, and made its .dsc known to apt; now there is a file for that.
_DSC, _DEPENDS = "./{dsc}", "/usr/lib/patchfarm/depends.dsc"


class _Limits(LimitRules):
    cores: int = Field(default=4, gt=0)
    disk: Size = "32GiB"


class _Recipe(Recipe):
    limits: _Limits


@lru_cache(maxsize=64)
def parse_kept(text: str, where: str) -> Recipe:
    """The recipe in a TOML text that some version has parsed before; `where` names it in errors. Raises BadRecipe."""
    kept = read(_Recipe, text, where)
    return kept.model_copy(update={"build": _prepared(kept.build), "test": _prepared(kept.test)})


def _prepared(rules: WorkRules) -> WorkRules:
    return rules.model_copy(update={"step": tuple(map(_now, rules.step))})


def _now(step: StepRules) -> StepRules:
    if not step.prepares:
        return step
    run = tuple(tuple(_DEPENDS if word == _DSC else word for word in argv) for argv in step.run)
    return step.model_copy(update={"run": run})
