# SPDX-License-Identifier: GPL-3.0-or-later
"""What a dependency layer is found by, and that it holds nothing of an update."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.workers.kit import ORDER, order
from workers import deb
from workers.errors import AttemptEnded
from workers.images import Base
from workers.layers import depends_of, key_of, lock_of, preparing
from workers.sandbox.fake import FakeLayers
from workers.wire.order import Network, Order, Step, User

BASE = Base("sha256:" + "a" * 64)
DEPENDS = Step("depends", (("apt-get", "build-dep", deb.DEPENDS),), User.ROOT, Network.MIRROR, prepares=True)
COMPILE = Step("compile", (("dpkg-buildpackage",),))
TEST = Step("test", (("autopkgtest",),), User.ROOT, Network.MIRROR)
MIRROR = ("one", "two")


def key(given: Order = ORDER, base: Base = BASE, depends: str = "", mirror: Sequence[str] = MIRROR) -> str:
    return key_of(given, base, depends, mirror)


def source(folder: Path, text: str = "Source: a\nBuild-Depends: b\n", name: str = "a_1.dsc") -> tuple[str, Path]:
    path = folder / name
    path.write_text(text)
    return name, path


def test_a_key_says_for_which_suite_architecture_and_base_image_it_is() -> None:
    assert key().startswith("stable-amd64-aaaaaaaaaaaa-")


def test_whatever_a_layer_is_made_from_makes_another_key() -> None:
    environment = dataclasses.replace(ORDER.environment, suite="unstable")
    changed = (
        key(order(steps=(dataclasses.replace(ORDER.steps[0], run=(("true",),)), COMPILE))),
        key(order(steps=(dataclasses.replace(ORDER.steps[0], user=User.BUILDER), COMPILE))),
        key(order(environment=environment)),
        key(base=Base("sha256:" + "b" * 64)),
        key(depends="Build-Depends: b\n"),
        key(mirror=("one", "three")),
    )
    assert len({key(), *changed}) == 7


def test_what_has_no_part_in_a_layer_makes_no_other_key() -> None:
    steps = (dataclasses.replace(ORDER.steps[0], name="other"), dataclasses.replace(COMPILE, run=(("make",),)))
    assert key(order(steps=steps, inputs=(), attempt=9)) == key()


def test_only_the_last_part_of_a_builds_key_is_the_mirrors_state() -> None:
    assert key(mirror=("new",)).rpartition("-")[0] == key().rpartition("-")[0]


def test_where_a_later_step_installs_more_the_mirrors_state_is_no_side_matter() -> None:
    tested = order(steps=(ORDER.steps[0], TEST))
    assert key(tested, mirror=("new",)).rpartition("-")[0] != key(tested).rpartition("-")[0]


def test_layers_of_one_suite_are_made_at_the_same_time() -> None:
    locks = {lock_of(key(base=Base(f"sha256:{number:064x}"))) for number in range(20)}
    assert len(locks) > 10
    assert lock_of(key()) == lock_of(key())


def test_only_the_steps_at_the_beginning_that_prepare_make_a_layer() -> None:
    assert preparing(order(steps=(DEPENDS, COMPILE, DEPENDS))) == (DEPENDS,)


def test_a_step_that_names_it_finds_what_the_source_needs_and_nothing_else_of_it(tmp_path: Path) -> None:
    text = depends_of(order(steps=(DEPENDS, COMPILE)), [source(tmp_path)])
    assert text.splitlines()[-1] == "Build-Depends: b"
    assert "Source: a" not in text


def test_a_step_that_does_not_name_it_does_not_depend_on_the_source(tmp_path: Path) -> None:
    assert depends_of(ORDER, [source(tmp_path)]) == ""


def test_what_a_source_needs_comes_from_one_source(tmp_path: Path) -> None:
    two = [source(tmp_path), source(tmp_path, name="b_1.dsc")]
    for files in ([], two):
        with pytest.raises(AttemptEnded, match=f"has {len(files)} source control files"):
            depends_of(order(steps=(DEPENDS, COMPILE)), files)


def test_no_source_control_file_is_read_that_is_too_large_to_be_one(tmp_path: Path) -> None:
    huge = source(tmp_path)
    with huge[1].open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(AttemptEnded, match="larger"):
        depends_of(order(steps=(DEPENDS, COMPILE)), [huge])


def test_there_is_no_key_where_nothing_prepares_or_the_mirror_does_not_answer() -> None:
    assert FakeLayers().key(ORDER, BASE, ()) != ""
    assert FakeLayers(mirror="").key(ORDER, BASE, ()) == ""
    assert FakeLayers().key(order(steps=(COMPILE,)), BASE, ()) == ""
