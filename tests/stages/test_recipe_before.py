# SPDX-License-Identifier: GPL-3.0-or-later
"""An update keeps to the recipe that it came in with, whatever recipes have to say since."""

from pathlib import Path

import pytest

from coordinator.config import RECIPES
from coordinator.errors import BadRecipe
from coordinator.recipe import parse
from coordinator.recipe_before import parse_kept

#: As it was shipped before there were limits of cores and disk, and before preparing steps saw no file of the update.
BEFORE = Path(__file__).with_name("recipe_of_before.toml").read_text()


def test_a_recipe_that_came_before_a_limit_has_it_as_the_shipped_ones_had_it_first() -> None:
    limits = parse_kept(BEFORE, "it").limits.limits()
    assert (limits.cores, limits.disk_bytes, limits.memory_bytes) == (4, 32 << 30, 8 << 30)


def test_a_preparing_step_of_before_takes_the_file_that_there_is_now_and_no_other_step_does() -> None:
    text = BEFORE.replace('"dpkg-source", "--extract", "{dsc}"', '"dpkg-source", "--extract", "./{dsc}"')
    depends, compiles = parse_kept(text, "it").build.step
    assert depends.run[-1] == ("apt-get", "--yes", "--{half}-only", "build-dep", "/usr/lib/patchfarm/depends.dsc")
    assert compiles.run[0] == ("dpkg-source", "--extract", "./{dsc}", "{tree}")


@pytest.mark.parametrize("path", sorted(RECIPES.rglob("*.toml")), ids=lambda path: path.stem)
def test_a_recipe_of_today_is_read_as_it_is(path: Path) -> None:
    text = path.read_text()
    assert parse_kept(text, "it").model_dump() == parse(text, "it").model_dump()


def test_what_comes_in_is_held_to_all_that_there_is_now() -> None:
    with pytest.raises(BadRecipe, match=r"it: limits\.cores: Field required"):
        parse(BEFORE, "it")


def test_what_no_version_would_have_taken_is_refused_still() -> None:
    with pytest.raises(BadRecipe, match=r"it: limits\.bogomips: Extra inputs"):
        parse_kept(BEFORE.replace("[limits]", "[limits]\nbogomips = 3"), "it")
    with pytest.raises(BadRecipe, match=r"it: limits\.disk: Value error, a size"):
        parse_kept(BEFORE.replace("[limits]", '[limits]\ndisk = "much"'), "it")
