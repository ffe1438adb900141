# SPDX-License-Identifier: GPL-3.0-or-later
"""Which base images and layers go when there are too many."""

import dataclasses

from workers.cache import GRACE, Kept, surplus

NOW = 1_000_000.0
LONG_AGO = NOW - 2 * GRACE


def base(name: str = "b1", used: float = LONG_AGO, size: int = 100, suite: str = "stable-amd64") -> Kept:
    return Kept(f"sha256:{name}", (f"base:{name}",), suite, name, False, size, used, False)


def layer(name: str, on: str = "b1", used: float = LONG_AGO, size: int = 10, busy: bool = False) -> Kept:
    return Kept(f"sha256:{name}", (f"layer:{name}",), "stable-amd64", on, True, size, used, busy)


def gone(*kept: Kept, most: int) -> list[str]:
    return [one.image.removeprefix("sha256:") for one in surplus(kept, most, NOW)]


def test_nothing_goes_while_there_is_room() -> None:
    assert gone(base(), layer("a"), layer("b"), most=120) == []


def test_what_was_used_longest_ago_goes_first_and_no_more_than_has_to() -> None:
    old, older = layer("old", used=LONG_AGO - 1), layer("older", used=LONG_AGO - 2)
    assert gone(base(), layer("new"), old, older, most=110) == ["older", "old"]


def test_a_base_image_goes_after_all_of_its_layers() -> None:
    assert gone(base(used=LONG_AGO - 9), layer("a"), layer("b"), most=0) == ["a", "b", "b1"]


def test_a_base_image_stays_while_one_of_its_layers_has_to() -> None:
    assert gone(base(), layer("a", busy=True), layer("b"), most=0) == ["b"]


def test_what_a_container_stands_on_or_was_just_used_stays() -> None:
    assert gone(base(used=NOW), layer("a", busy=True), layer("b", used=NOW - GRACE / 2), most=0) == []


def test_a_clock_that_was_set_back_keeps_nothing_for_ever() -> None:
    assert gone(base(used=NOW + 9 * GRACE), most=0) == ["b1"]


def test_a_base_image_with_a_successor_goes_before_others_and_so_do_its_layers() -> None:
    successor = base("b2", used=NOW)
    kept = (base(), layer("a"), successor, layer("c", on="b2", used=LONG_AGO - 9))
    assert gone(*kept, most=115) == ["a", "b1"]


def test_a_base_image_of_another_suite_is_no_successor() -> None:
    other = base("b2", used=LONG_AGO - 1, suite="stable-arm64")
    assert gone(base(), other, most=150) == ["b2"]


def test_a_layer_that_cannot_be_found_any_more_goes_at_once() -> None:
    untagged = dataclasses.replace(layer("a"), tags=())
    assert gone(base(), untagged, layer("orphan", on="b0"), layer("c"), most=10**9) == ["a", "orphan"]


def test_a_base_image_that_was_only_just_made_may_get_its_name_yet() -> None:
    unnamed = dataclasses.replace(base(), tags=())
    assert gone(unnamed, most=10**9) == ["b1"]
    assert gone(dataclasses.replace(unnamed, used=NOW), most=10**9) == []
