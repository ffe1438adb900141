# SPDX-License-Identifier: GPL-3.0-or-later
"""Publish: the last look before the files leave, and the order they leave in."""

from dataclasses import replace

import pytest

from coordinator.errors import NotAllowed
from coordinator.model import File, Update, UpdateState
from coordinator.ports import SourceEntry
from coordinator.stages import publish
from coordinator.stages.publish import has_arrived, in_order
from tests.pipeline.walk import FILES, in_state, with_rebuilt

CHANGES = FILES[0]
BUILDINFO = File("hello_1.0-1+deb12u1_amd64.buildinfo", "5" * 64, 6)


def signed(*more: File) -> Update:
    """An update in publishing, with all that it is to ship."""
    update = in_state(UpdateState.PUBLISHING)
    return replace(update, signed=(CHANGES, *update.source.files, *update.built_files(), *more))


def test_the_changes_goes_last_and_the_others_by_name() -> None:
    files = in_order(signed(BUILDINFO))
    assert files[-1] == CHANGES
    assert [file.name for file in files[:-1]] == sorted(file.name for file in files[:-1])
    assert set(files) == set(signed(BUILDINFO).signed)


def test_what_a_signature_went_into_may_have_other_bytes_than_were_approved() -> None:
    update = signed()
    resigned = tuple(replace(file, sha256="6" * 64) if file.name.endswith(".dsc") else file for file in update.signed)
    assert set(in_order(replace(update, signed=resigned))) == set(resigned)


def test_a_package_that_was_not_approved_does_not_leave() -> None:
    evil = File("evil_1_amd64.deb", "e" * 64, 1)
    with pytest.raises(NotAllowed, match=r"evil_1_amd64\.deb is not what was approved for update 12"):
        in_order(signed(evil))


def test_nothing_leaves_when_the_builds_are_other_ones_than_were_signed() -> None:
    with pytest.raises(NotAllowed, match="is not what was approved"):
        in_order(with_rebuilt(signed()))


def test_nothing_leaves_without_enough_people() -> None:
    update = signed()
    with pytest.raises(NotAllowed, match="update 12 has 1 of 2 approvals"):
        in_order(replace(update, approvals=update.approvals[:1]))


def test_nothing_leaves_on_approvals_of_something_else() -> None:
    update = signed()
    other = tuple(replace(approval, digest="0" * 64) for approval in update.approvals)
    with pytest.raises(NotAllowed, match="update 12 has 0 of 2 approvals"):
        in_order(replace(update, approvals=other))


def entry(sha256: str, version: str = "1.0-1+deb12u1") -> SourceEntry:
    return SourceEntry("hello", version, "pool", (File("hello_1.0-1+deb12u1.dsc", sha256, 7),))


@pytest.mark.parametrize(
    ("shown", "arrived", "displaced"),
    [
        ([], False, False),
        ([entry("9" * 64, "1.0-1")], False, False),
        ([entry("d" * 64)], True, False),
        ([entry("9" * 64)], False, True),
        ([entry("9" * 64), entry("d" * 64)], True, False),
    ],
    ids=["nothing", "another version", "it", "another of its version", "both"],
)
def test_it_is_published_when_the_very_dsc_that_was_signed_is_shown(
    shown: list[SourceEntry], arrived: bool, displaced: bool
) -> None:
    assert has_arrived(signed(), shown) == arrived
    assert bool(publish.displaced(signed(), shown)) == displaced


def test_what_stands_in_its_place_is_told() -> None:
    why = "the target has hello 1.0-1+deb12u1 with another .dsc than the one that was signed"
    assert publish.displaced(signed(), [entry("9" * 64)]) == why
