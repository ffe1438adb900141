# SPDX-License-Identifier: GPL-3.0-or-later
"""What apt's words mean, and that an order's words cannot become more than one word."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.workers.kit import ENVIRONMENT
from workers import deb
from workers.errors import AttemptEnded
from workers.wire.arch import Arch
from workers.wire.order import Index
from workers.wire.report import Outcome

SECURITY = Index("http://mirror.invalid/security", "stable-security", ("main", "contrib"), optional=True)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("E: Unable to locate package libfoo", "Unable to locate package libfoo"),
        ("E: Package 'x' has no installation candidate", "Package 'x' has no installation candidate"),
        (" a : Depends: b (= 2) but 1 is to be installed", "a : Depends: b (= 2) but 1 is to be installed"),
        ("E: Build-dependencies for a could not be satisfied.", "Build-dependencies for a could not be satisfied."),
    ],
)
def test_unmet_dependencies_are_uninstallable(said: str, reason: str) -> None:
    ended = deb.why_unprepared(f"Reading package lists...\n{said}\n", "depends", 100)
    assert (ended.outcome, ended.reason) == (Outcome.UNINSTALLABLE, reason)


@pytest.mark.parametrize(
    "said",
    [
        "E: Failed to fetch http://m.invalid/P  Hash Sum mismatch",
        "E: Failed to fetch http://m.invalid/P  Temporary failure resolving 'm.invalid'",
        "E: The repository 'http://m.invalid s InRelease' is not signed.",
        "E: Release file for http://m.invalid is expired (invalid since 3d).",
        "E: You don't have enough free space: No space left on device",
        "dpkg: error processing package a (--configure):",
    ],
)
def test_what_is_not_about_dependencies_is_the_farms_fault(said: str) -> None:
    ended = deb.why_unprepared(said, "depends", 100)
    assert ended.outcome is Outcome.BROKEN
    assert " ".join(said.removeprefix("E: ").split()) in ended.reason


def test_a_failure_without_a_word_of_apts_names_step_and_exit_code() -> None:
    assert deb.why_unprepared("+ apt-get update\n", "depends", 127).reason == "depends: exit code 127"


def test_a_command_that_is_echoed_is_not_taken_for_apts_answer() -> None:
    ended = deb.why_unprepared("+ E: Unable to locate package\n", "depends", 1)
    assert ended.outcome is Outcome.BROKEN


def test_every_source_is_bound_to_the_archives_keyring() -> None:
    assert deb.source_line(SECURITY, Path("/k.gpg")) == (
        "deb [signed-by=/k.gpg] http://mirror.invalid/security stable-security main contrib\n"
    )


@pytest.mark.parametrize(
    "index",
    [
        Index("http://m.invalid [trusted=yes]", "s", ("main",)),
        Index("http://m.invalid/\ndeb", "s", ("main",)),
        Index("http://m.invalid", "s main\n", ("main",)),
        Index("http://m.invalid", "s", ("main\ndeb [trusted=yes] http://evil.invalid s main",)),
        Index("http://m.invalid", "s", ()),
        Index("ftp://m.invalid", "s", ("main",)),
    ],
)
def test_an_index_that_could_be_read_as_more_than_one_is_refused(index: Index) -> None:
    with pytest.raises(AttemptEnded, match="names an index"):
        deb.source_line(index, Path("/k.gpg"))


@pytest.mark.parametrize("package", ["--hook=x", "a,b", "a b", "$(x)"])
def test_a_package_that_could_be_read_as_an_option_is_refused(package: str) -> None:
    environment = replace(ENVIRONMENT, packages=(package,))
    with pytest.raises(AttemptEnded, match="a package"):
        deb.bootstrap_command(environment, Arch.AMD64, Path("root.tar"))


def test_an_optional_index_is_no_part_of_the_bootstrap() -> None:
    environment = replace(ENVIRONMENT, indices=(*ENVIRONMENT.indices, SECURITY))
    assert "security" not in deb.required_sources(environment, Path("/k.gpg"))
    assert deb.optional_sources(environment) == {"optional-1.list": SECURITY}


def test_what_was_left_out_is_named_by_suite_and_architecture() -> None:
    lines = ["I: done\n", "left out: optional-1.list E: File has unexpected size\n", "left out: other.list x\n"]
    found = deb.left_out(lines, {"optional-1.list": SECURITY}, Arch.I386)
    assert found == ("stable-security i386: File has unexpected size",)


def test_a_failed_bootstrap_is_explained_by_apts_line() -> None:
    lines = ["I: running apt-get update...\n", "E: Failed to fetch x  Hash Sum mismatch\n", "E: apt-get failed\n"]
    assert deb.why_bootstrap_failed(lines) == "E: Failed to fetch x  Hash Sum mismatch"


def needs(*lines: str) -> str:
    """What is left of a source control file, but for the fields that are the same in all."""
    text = deb.depends("\n".join(("Format: 3.0 (quilt)", "Source: secret", *lines)) + "\n")
    return text.partition("Version: 1\n")[2]


def test_of_a_source_only_what_it_needs_is_left() -> None:
    wanted = "Build-Depends: b (>= 1~) [linux-any] <!nocheck>, c:any | d\nBuild-Conflicts: e\n"
    lines = ("Build-Conflicts: e", "Package-List:", " f deb x optional", "build-depends:", " b  (>= 1~)")
    assert needs(*lines, "\t[linux-any] <!nocheck>,", " c:any | d,") == wanted


def test_a_signature_is_no_part_of_a_source() -> None:
    signed = ("-----BEGIN PGP SIGNED MESSAGE-----", "Hash: SHA512", "", "Source: a", "Build-Depends: b", "")
    assert deb.depends("\n".join((*signed, "-----BEGIN PGP SIGNATURE-----", "", "x"))).endswith("\nBuild-Depends: b\n")


def test_only_the_first_paragraph_is_read() -> None:
    assert needs("Build-Depends: b", " ", "Build-Conflicts: c") == "Build-Depends: b\n"


@pytest.mark.parametrize(
    "lines",
    [
        ("Build-Depends: b", "Build-Depends: c"),
        ("Build-Depends: b", "no field"),
        ("Build-Depends: $(reboot)",),
        ("Build-Depends: b\r, c",),
        ("Build-Depends: b\0",),
        ("Build-Depends: b\u2028Source: c",),
        ("Build-Depends: b;c",),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises(AttemptEnded, match="source control file"):
        needs(*lines)


def test_a_line_before_the_first_field_is_refused() -> None:
    with pytest.raises(AttemptEnded, match="cannot be one"):
        deb.depends(" Build-Depends: b\n")


def package(name: str, version: str = "1", status: str = "install ok installed") -> str:
    return f"Package: {name}\nStatus: {status}\nArchitecture: amd64\nVersion: {version}\nDescription: x\n y: z\n"


def test_two_systems_have_the_same_packages_whatever_the_order() -> None:
    one = deb.packages_sha256("\n".join((package("a"), package("b"))))
    assert deb.packages_sha256("\n".join((package("b"), package("a")))) == one
    assert deb.packages_sha256("\n".join((package("a"), package("b", "2")))) != one


def test_what_was_removed_is_not_installed() -> None:
    removed = package("b", status="deinstall ok config-files")
    assert deb.packages_sha256("\n".join((package("a"), removed))) == deb.packages_sha256(package("a"))
