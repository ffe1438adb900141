# SPDX-License-Identifier: GPL-3.0-or-later
"""Dependencies are read and compared as Debian Policy 7 has them."""

import pytest

from coordinator.depends import Package, read, read_provides, satisfied

ARCHIVE = [Package("libfoo-dev", "1:2.0-1"), Package("exim4", "4.9", (("mta", ""), ("compat", "13")))]


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        ("libfoo-dev", True),
        ("libfoo-dev:any", True),
        ("libbar-dev", False),
        ("libfoo-dev (>= 1:2)", True),
        ("libfoo-dev (>= 3)", True),
        ("libfoo-dev (>= 1:2.0-1~)", True),
        ("libfoo-dev (>> 1:2.0-1)", False),
        ("libfoo-dev (<< 1:2.0-1)", False),
        ("libfoo-dev (<= 1:2.0-1)", True),
        ("libfoo-dev (= 1:2.0-1)", True),
        ("libfoo-dev (= 2.0-1)", False),
        ("libbar-dev | libfoo-dev", True),
        ("libbar-dev | libfoo-dev (>> 9:1)", False),
        ("mta", True),
        ("mta (>= 1)", False),
        ("compat (= 13)", True),
        ("compat (= 12)", False),
    ],
)
def test_a_dependency_is_satisfied_by_version_alternative_or_what_another_provides(wanted: str, there: bool) -> None:
    dependency = read(wanted)
    assert dependency is not None
    assert satisfied(dependency, ARCHIVE) is there


NONE = ["", "A", "a", "../x", "foo (> 1)", "foo (>= )", "foo (>= a:b:1)", "foo(>= 1)", "foo || bar", "foo | ", "foo\n"]


@pytest.mark.parametrize("text", [*NONE, "x" * 1001, " | ".join(["foo"] * 40)])
def test_what_is_no_dependency_is_answered_as_such(text: str) -> None:
    assert read(text) is None


def test_what_is_no_entry_of_provides_is_left_out() -> None:
    assert read_provides("foo, bar (= 1), baz (>= 2), Qux, , quux (=3)") == (("foo", ""), ("bar", "1"), ("quux", "3"))
