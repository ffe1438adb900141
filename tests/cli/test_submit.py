# SPDX-License-Identifier: GPL-3.0-or-later
"""`submit`: which files go to the farm, and that no others do."""

from pathlib import Path

import pytest

from coordinator.model import UpdateState, Urgency
from tests.cli.conftest import Shell
from tests.sources import Person, as_files, make_changes, make_source, resign
from tests.web.kit import FakeFarm, update

SUITE = ("--suite", "bookworm-security")


@pytest.fixture(scope="module")
def sam() -> Person:
    return Person("sam")


@pytest.fixture
def source(tmp_path: Path, sam: Person) -> list[Path]:
    return make_source(tmp_path / "source", "hello", "1.0-1", sam)


def test_a_dsc_brings_the_files_it_names(shell: Shell, farm: FakeFarm, source: list[Path]) -> None:
    assert shell("submit", str(source[0]), *SUITE, "--urgency", "critical").code == 0
    assert farm.asked == [("submit", "paula", "bookworm-security", tuple(as_files(source)), Urgency.CRITICAL)]
    for path, file in zip(source, as_files(source), strict=True):
        assert farm.blobs.path(file.sha256).read_bytes() == path.read_bytes()


def test_a_changes_brings_itself_its_dsc_and_their_files(
    shell: Shell, farm: FakeFarm, source: list[Path], sam: Person
) -> None:
    changes = make_changes(source, sam)
    assert shell("submit", str(changes), *SUITE).code == 0
    assert {file.name for file in farm.asked[0][3]} == {changes.name, *(path.name for path in source)}


def test_what_the_farm_has_already_is_not_sent_again(shell: Shell, farm: FakeFarm, source: list[Path]) -> None:
    for path in source:
        farm.blobs.add(path.read_bytes())
    assert shell("submit", str(source[0]), *SUITE).code == 0
    assert farm.blobs.longest_read == 0


def test_a_dsc_that_names_other_peoples_files_sends_none(
    shell: Shell, farm: FakeFarm, source: list[Path], sam: Person
) -> None:
    resign(source[0], sam, lambda text: text.replace("hello_1.0-1.debian.tar.xz", "../../etc/passwd"))
    said = shell("submit", str(source[0]), *SUITE)
    assert (said.code, farm.asked) == (10, [])
    assert list(farm.blobs.folder.iterdir()) == []


def test_a_missing_file_is_named(shell: Shell, farm: FakeFarm, source: list[Path]) -> None:
    source[1].unlink()
    said = shell("submit", str(source[0]), *SUITE)
    assert (said.code, farm.asked) == (10, [])
    assert source[1].name in said.err


@pytest.mark.parametrize("name", ["nothing.dsc", "hello", "hello_1.0-1_amd64.deb"])
def test_what_is_no_source_package_is_wrong_usage(shell: Shell, tmp_path: Path, name: str) -> None:
    assert shell("submit", str(tmp_path / name), *SUITE).code == 2


def test_a_package_of_the_archive_is_named(shell: Shell, farm: FakeFarm) -> None:
    assert shell("submit", "hello", "--from-archive", "--version", "1.0-1", *SUITE).code == 0
    assert farm.asked == [("submit_from_archive", "paula", "bookworm-security", "hello", "1.0-1")]


def test_options_of_the_other_way_are_wrong_usage(shell: Shell, source: list[Path]) -> None:
    assert shell("submit", str(source[0]), "--version", "1", *SUITE).code == 2
    assert shell("submit", "hello", "--from-archive", "--urgency", "low", *SUITE).code == 2


def test_watch_goes_on_and_json_stays_alone_on_stdout(shell: Shell, farm: FakeFarm) -> None:
    farm.store.known = update(UpdateState.PUBLISHED)
    said = shell("submit", "hello", "--from-archive", "--watch", "--json", *SUITE)
    assert said.code == 0
    assert said.out.startswith("{")
    assert "update: published" in said.err
