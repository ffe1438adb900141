# SPDX-License-Identifier: GPL-3.0-or-later
"""What a recipe may say, and how it is told that it may not: always with the place."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from coordinator.config import RECIPES
from coordinator.errors import BadRecipe, UnknownName
from coordinator.recipe import PLACEHOLDERS, Recipes, parse
from coordinator.recipe_schema import SCHEMA, schema, write
from workers.wire.arch import Arch
from workers.wire.order import Network, User

SHIPPED = sorted(RECIPES.rglob("*.toml"))
BOOKWORM = (RECIPES / "debian" / "bookworm-security.toml").read_text()


def with_(old: str, new: str) -> str:
    assert old in BOOKWORM
    return BOOKWORM.replace(old, new, 1)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_recipe_is_named_for_its_place_and_suite(path: Path) -> None:
    recipe = parse(path.read_text(), path.name)
    assert recipe.name == str(path.relative_to(RECIPES).with_suffix(""))
    assert recipe.suite == path.stem


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_recipe_builds_offline_and_without_root(path: Path) -> None:
    steps = [step for step in parse(path.read_text(), path.name).build.step if not step.prepares]
    assert steps
    assert {(step.user, step.network) for step in steps} == {(User.BUILDER, Network.NONE)}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_recipe_asks_for_two_people(path: Path) -> None:
    assert parse(path.read_text(), path.name).approve.people >= 2


def test_debian_13_is_built_for_riscv64_and_debian_12_is_not() -> None:
    recipes = Recipes(RECIPES)
    assert Arch.RISCV64 in recipes.of_suite("trixie-security")[0].arch.build
    assert Arch.RISCV64 not in recipes.of_suite("bookworm-security")[0].arch.build


def test_times_and_sizes_become_seconds_and_bytes() -> None:
    limits = parse(BOOKWORM, "it").limits.limits()
    assert (limits.seconds, limits.memory_bytes, limits.log_bytes) == (4 * 3600, 8 * 2**30, 64 * 2**20)


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ('family  = "deb"', 'family  = "deb"\nsecret = "x"', "it: secret: Extra inputs"),
        ("people = 2", "people = 2\nquick = true", "it: approve.quick: Extra inputs"),
        ("people = 2", "people = 0", "it: approve.people"),
        ("people = 2", 'people = "2"', "it: approve.people"),
        ("people = 2", "people = true", "it: approve.people"),
        ("optional = true", 'optional = "yes"', "it: environment.indices.1.optional"),
        ("recipe  = 1", "recipe  = 2", "it: recipe"),
        ('family  = "deb"', 'family  = "rpm"', "it: family"),
        ('"s390x"]', '"vax"]', "it: arch.build.5"),
        ('time         = "4h"', "time         = 14400", "it: limits.time"),
        ('time         = "4h"', 'time         = "4 hours"', "a time like 90s"),
        ('memory       = "8GiB"', 'memory       = "8GB"', "a size like 64MiB"),
        ("processes    = 4096", "processes    = 0", "it: limits.processes"),
        ('name     = "depends"', 'name     = "../depends"', "it: build.step.0.name"),
        ('user     = "root"', 'user     = "daemon"', "it: build.step.0.user"),
        ('network  = "mirror"', 'network  = "host"', "it: build.step.0.network"),
        ('["apt-get", "clean"]', '"apt-get clean"', "it: build.step.0.run.3"),
        ('["apt-get", "clean"]', "[]", "at least the program"),
        ("{dsc}", "{home}", r"unknown placeholder \['home'\]"),
        ("[approve]", "[[approve]]", "it: approve"),
        ("[sign]", "[sign", "it: Expected"),
    ],
)
def test_a_recipe_that_says_what_it_may_not_is_refused_with_the_place(old: str, new: str, place: str) -> None:
    with pytest.raises(BadRecipe, match=place):
        parse(with_(old, new), "it")


def test_the_guide_to_recipes_explains_every_key_and_every_placeholder() -> None:
    guide = (RECIPES / "README.md").read_text()
    said = json.loads(schema())
    tables = [said, *(kind for kind in said["$defs"].values() if "properties" in kind)]
    keys = {key for table in tables for key in table["properties"]}
    assert {key for key in keys if f"`{key}`" not in guide and f"`[{key}]`" not in guide} == set()
    assert {name for name in PLACEHOLDERS if f"`{{{name}}}`" not in guide} == set()


def test_two_recipes_for_one_suite_are_refused(tmp_path: Path) -> None:
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text(BOOKWORM)
    with pytest.raises(BadRecipe, match="both for bookworm-security"):
        Recipes(tmp_path)


def test_a_suite_without_a_recipe_is_unknown_and_the_others_are_named() -> None:
    with pytest.raises(UnknownName, match="bookworm-security, trixie-security"):
        Recipes(RECIPES).of_suite("sid")


# The schema that editors use.


def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))


def test_the_shipped_schema_is_the_one_that_the_recipe_types_make() -> None:
    assert SCHEMA.read_text() == schema(), "run `python -m coordinator.recipe_schema`"


def test_the_schema_is_written_as_it_is_said(tmp_path: Path) -> None:
    write(tmp_path / "recipe.json")
    assert (tmp_path / "recipe.json").read_text() == schema()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_schema_accepts_every_shipped_recipe(path: Path) -> None:
    validator().validate(tomllib.loads(path.read_text()))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda recipe: recipe.update(secret="x"),
        lambda recipe: recipe["build"].update(secret="x"),
        lambda recipe: recipe["build"]["step"][0].update(script="sh"),
        lambda recipe: recipe["environment"]["indices"][0].update(url="x"),
        lambda recipe: recipe.pop("approve"),
    ],
)
def test_the_schema_refuses_unknown_and_missing_keys_at_every_depth(spoil: Callable[[dict[str, Any]], object]) -> None:
    recipe = tomllib.loads(BOOKWORM)
    spoil(recipe)
    assert not validator().is_valid(recipe)
