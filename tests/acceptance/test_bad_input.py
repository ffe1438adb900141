# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input on a real farm: one clear message each with whose fault it is, an exit code, and a farm that goes on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from coordinator.errors import Blame
from tests.acceptance.kit import PATIENCE, Said, Shell
from tests.sources import Person, make_source, resign

pytestmark = [pytest.mark.engine, pytest.mark.timeout(PATIENCE)]

SUITE = "bookworm-security"
SAM, STRANGER = Person("sam"), Person("stranger")


@pytest.fixture(scope="module")
def sams_farm(other_farm: Shell, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A farm that takes what sam signs."""
    other_farm("submitter", "add", "sam", str(SAM.write_cert(tmp_path_factory.mktemp("sam"))), "--replace")
    return other_farm


def submit(farm: Shell, dsc: Path, suite: str = SUITE) -> Said:
    """Hand it in, and see that nothing of it stays if it is refused."""
    before = len(farm.json("list"))
    said = farm.run("submit", str(dsc), "--suite", suite)
    assert "Traceback" not in said.err
    assert len(farm.json("list")) == before + (said.code == 0)
    return said


def truncated(paths: list[Path]) -> None:
    paths[-1].write_bytes(paths[-1].read_bytes()[:-10])


def altered(paths: list[Path]) -> None:
    data = bytearray(paths[-1].read_bytes())
    data[-5] ^= 1
    paths[-1].write_bytes(data)


def unsigned(paths: list[Path]) -> None:
    paths[0].write_text(paths[0].read_text().split("\n\n", 1)[1].split("-----BEGIN PGP SIGNATURE", 1)[0])


def strangers(paths: list[Path]) -> None:
    resign(paths[0], STRANGER, lambda text: text + "Vcs-Browser: https://example.org\n")


def unsigned_paragraph_first(paths: list[Path]) -> None:
    paths[0].write_bytes(b"Source: evil\nVersion: 9\n\n" + paths[0].read_bytes())


def name_with_a_folder(paths: list[Path]) -> None:
    resign(paths[0], SAM, lambda text: text.replace(f" {paths[-1].name}", f" ../{paths[-1].name}"))


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (truncated, 10),
        (altered, 10),
        (unsigned, 11),
        (strangers, 11),
        (unsigned_paragraph_first, 11),
        (name_with_a_folder, 10),
    ],
)
def test_a_bad_source_is_refused_in_one_message_that_blames_the_submitter(
    sams_farm: Shell, tmp_path: Path, spoil: Callable[[list[Path]], None], code: int
) -> None:
    paths = make_source(tmp_path, "spoilt", "1.0-1", SAM)
    spoil(paths)
    said = submit(sams_farm, paths[0])
    assert said.code == code, said.err
    assert "fault: whoever gave the command" in said.err
    assert "next:  " in said.err


def test_an_unknown_suite_is_named_with_those_there_are(sams_farm: Shell, tmp_path: Path) -> None:
    said = submit(sams_farm, make_source(tmp_path, "lost", "1.0-1", SAM)[0], "sarge-security")
    assert said.code == 13
    assert "bookworm-security" in said.err


def test_a_source_for_no_architecture_that_is_built_is_rejected(sams_farm: Shell, tmp_path: Path) -> None:
    dsc = make_source(tmp_path, "strange", "1.0-1", SAM, architecture="hurd-i386")[0]
    assert submit(sams_farm, dsc).code == 0
    number = sams_farm.json("list")[0]["id"]
    said = sams_farm.run("watch", str(number))
    assert said.code == 10
    assert "nothing to build" in said.err


FAILING_RULES = "#!/usr/bin/make -f\n%:\n\t@echo it cannot be built; exit 3\n"
FAILING_TEST = "#!/bin/sh\necho it does not greet\nexit 1\n"


@pytest.mark.parametrize(
    ("name", "changes", "printed", "option"),
    [
        ("unbuildable", {"rules": FAILING_RULES}, "it cannot be built", ()),
        ("untrue", {"tests/greets": FAILING_TEST}, "it does not greet", ("--test",)),
    ],
)
def test_a_package_that_fails_is_its_own_fault_and_the_log_says_why(
    sams_farm: Shell, tmp_path: Path, name: str, changes: dict[str, str], printed: str, option: tuple[str, ...]
) -> None:
    assert submit(sams_farm, make_source(tmp_path, name, "1.0-1", SAM, changes=changes)[0]).code == 0
    number = sams_farm.json("list")[0]["id"]
    said = sams_farm.run("watch", str(number))
    assert said.code == 20, said.err
    assert "fault: the package" in said.err
    assert f"patchfarm log {number}" in said.err
    assert printed in sams_farm("log", str(number), "amd64", *option)
    assert sams_farm.json("show", str(number))["blame"] == Blame.PACKAGE


def test_after_all_that_the_farm_still_takes_a_good_one(sams_farm: Shell, tmp_path: Path) -> None:
    assert submit(sams_farm, make_source(tmp_path, "good", "1.0-1", SAM)[0]).code == 0
    number = sams_farm.json("list")[0]["id"]
    sams_farm("watch", str(number), "--until", "awaiting-approval")
