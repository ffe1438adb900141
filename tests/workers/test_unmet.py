# SPDX-License-Identifier: GPL-3.0-or-later
"""What apt really prints when dependencies are missing, and which of them are waited for."""

import pytest

from coordinator import depends
from workers import deb
from workers.unmet import MOST, missing
from workers.wire.report import Outcome

#: As apt 2.6.2 and 3.0.4 print it, with either solver's last words.
SAID = """\
Reading package lists...
Some packages could not be installed. This may mean that you have
requested an impossible situation or if you are using the unstable

The following packages have unmet dependencies:
 builddeps:./hello_1.dsc : Depends: libnone-dev (>= 2) but it is not installable
                           Depends: dpkg-dev (>= 9:5) but 1.21.23 is to be installed
                           Depends: libnope-dev but it is not installable or
                                    libneither-dev (>= 3) but it is not installable
                           Depends: zlib1g-dev (< 1) but it is not going to be installed or
                                    libnever-dev but it is not installable
                           Depends: gcc:amd64 (>= 4:99)
                           Depends: python3-none:any but it is not installable
                           Depends: dma but it is not going to be installed
                           Depends: libc6-dev (> 99~) but 2.36-9+deb12u14 is to be installed
                           Conflicts: bash but 5.2.15-2+b13 is to be installed
"""
SOLVER_2 = "E: Unable to correct problems, you have held broken packages.\n"
SOLVER_3 = """\
 builddeps:essentials : Depends: build-essential (>= 99) but it is not going to be installed
E: Unable to satisfy dependencies. Reached two conflicting decisions:
   1. bash:amd64=5.2.37-2+b10 is selected for install because:
      1. bash:amd64 is selected for install
   2. builddeps:./hello_1.dsc:amd64 Depends libnone-dev (>= 2)
"""
MISSING = (
    "libnone-dev (>= 2)",
    "dpkg-dev (>= 9:5)",
    "libnope-dev | libneither-dev (>= 3)",
    "zlib1g-dev (<< 1) | libnever-dev",
    "gcc:amd64 (>= 4:99)",
    "python3-none:any",
    "libc6-dev (>> 99~)",
)


@pytest.mark.parametrize("end", [SOLVER_2, SOLVER_3], ids=["classic", "solver3"])
def test_what_is_missing_is_named_as_the_package_asks_for_it(end: str) -> None:
    ended = deb.why_unprepared(SAID + end, "depends", 100)
    assert (ended.outcome, ended.missing) == (Outcome.UNINSTALLABLE, MISSING)
    assert ended.reason.startswith("builddeps:./hello_1.dsc : Depends: libnone-dev (>= 2) but")


def test_whatever_is_named_is_a_dependency_for_the_coordinator_too() -> None:
    assert all(map(depends.read, MISSING))


def named(*lines: str) -> tuple[str, ...]:
    return missing([f" builddeps:x.dsc : {lines[0]}", *(f"{' ' * 20}{line}" for line in lines[1:])])


def test_what_the_archive_has_and_something_else_keeps_out_is_not_waited_for() -> None:
    assert named("Depends: a-dev but it is not going to be installed") == ()


def test_what_other_packages_miss_is_no_wish_of_the_packages() -> None:
    assert missing([" libfoo : Depends: libbar (= 2) but 1 is to be installed", "  Depends: x but 1 is"]) == ()


@pytest.mark.parametrize("wish", ["../../etc", "A-B", "a (>= 1", "a (~ 1)", "a\x1b[31m", "a | b", "-a", "a (>= $(x))"])
def test_what_is_no_dependency_is_not_named(wish: str) -> None:
    assert named(f"Depends: {wish} but it is not installable", "Depends: libok but it is not installable") == ("libok",)


def test_no_more_is_named_than_anybody_needs() -> None:
    lines = [f"Depends: lib{number} but it is not installable" for number in range(1000)]
    assert len(named(*lines)) == MOST
    assert named(f"Depends: lib{'x' * 5000} but it is not installable") == ()


def test_the_same_wish_is_named_once() -> None:
    assert named(*["Depends: libfoo but it is not installable"] * 3) == ("libfoo",)
