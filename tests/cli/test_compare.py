# SPDX-License-Identifier: GPL-3.0-or-later
"""What `compare` says of a package, in one line."""

from dataclasses import replace

import pytest

from coordinator.cli.compare import Compared, listing, verdict
from tests.cli.conftest import Shell
from tests.web.kit import file

SAME = Compared(file("a_1_amd64.deb", b"deb"), "bookworm", identical=True, verified=True, differences=())
OTHER = replace(SAME, identical=False, differences=("one", "two", "three", "four"))


@pytest.mark.parametrize(
    ("compared", "said"),
    [
        (SAME, "identical (bookworm)"),
        (replace(SAME, verified=False), "identical (bookworm, by an index that lags behind its signed Release)"),
        (OTHER, "differs: one; two; three; and 1 more (bookworm)"),
        (replace(OTHER, index=""), "the archive has none of this version"),
    ],
)
def test_it_is_said_what_came_of_it_and_whether_the_reference_can_be_believed(compared: Compared, said: str) -> None:
    assert verdict(compared) == said


def test_a_digest_is_never_cut() -> None:
    assert f"{SAME.file.sha256}  a_1_amd64.deb\n    identical (bookworm)" in listing([SAME]).plain


def test_what_a_package_says_of_itself_cannot_move_the_cursor() -> None:
    assert "\x1b" not in listing([replace(OTHER, differences=("\x1b[2J",))]).plain


def test_an_update_of_which_nothing_is_built_cannot_be_compared(shell: Shell) -> None:
    said = shell("compare", "1")
    assert said.code == 16
    assert "nothing of it is built yet" in said.err
