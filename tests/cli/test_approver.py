# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may approve and submit: one name, one key, known to coordinator and signer alike."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from coordinator.config import Home
from tests.cli.conftest import Said, Shell
from tests.sources import Person

ALICE, MALLORY = Person("alice"), Person("mallory")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("PATCHFARM_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home")


def add(shell: Shell, name: str, person: Person, folder: Path, *more: str) -> Said:
    return shell("approver", "add", name, str(person.write_cert(folder)), *more)


def submit(shell: Shell, name: str, person: Person, folder: Path, *more: str) -> Said:
    return shell("submitter", "add", name, str(person.write_cert(folder)), *more)


def test_an_approver_is_known_to_the_coordinator_and_to_the_signer(shell: Shell, home: Home, tmp_path: Path) -> None:
    assert add(shell, "alice", ALICE, tmp_path).code == 0
    assert (home.people / "alice.asc").read_text() == (home.signer / "approvers" / "alice.asc").read_text()
    (listed,) = json.loads(shell("approver", "list", "--json").out)
    assert (listed["name"], listed["fingerprint"]) == ("alice", ALICE.fingerprint)


def test_a_removed_approver_is_gone_everywhere(shell: Shell, home: Home, tmp_path: Path) -> None:
    add(shell, "alice", ALICE, tmp_path)
    assert shell("approver", "remove", "alice").code == 0
    assert [*home.people.iterdir(), *(home.signer / "approvers").iterdir()] == []


def test_a_removed_submitter_is_gone_too(shell: Shell, home: Home, tmp_path: Path) -> None:
    submit(shell, "sam", ALICE, tmp_path)
    assert shell("submitter", "remove", "sam").code == 0
    assert json.loads(shell("submitter", "list", "--json").out) == []
    said = shell("submitter", "remove", "sam")
    assert (said.code, "there is no submitter 'sam'" in said.err) == (2, True)


@pytest.mark.parametrize("name", ["alice", "../signer/approvers/alice"])
def test_nobody_who_is_not_there_can_be_removed(shell: Shell, home: Home, name: str) -> None:
    assert not home.root.exists()
    said = shell("approver", "remove", name)
    assert said.code == 2
    assert "there is no approver" in said.err


def test_one_key_is_one_person(shell: Shell, home: Home, tmp_path: Path) -> None:
    add(shell, "alice", ALICE, tmp_path)
    said = add(shell, "alicia", ALICE, tmp_path)
    assert said.code == 2
    assert not (home.people / "alicia.asc").exists()


Add = Callable[..., Said]


@pytest.mark.parametrize(("first", "second"), [(add, submit), (submit, add)])
@pytest.mark.parametrize(("name", "person"), [("sam", MALLORY), ("sammy", ALICE)], ids=["two keys", "two names"])
def test_who_submits_and_approves_has_one_name_and_one_key(
    shell: Shell, home: Home, tmp_path: Path, first: Add, second: Add, name: str, person: Person
) -> None:
    assert first(shell, "sam", ALICE, tmp_path).code == 0
    said = second(shell, name, person, tmp_path, "--replace")
    assert said.code == 2
    assert "already" in said.err
    assert second(shell, "sam", ALICE, tmp_path).code == 0


def test_a_persons_key_is_replaced_only_when_that_is_meant(shell: Shell, home: Home, tmp_path: Path) -> None:
    add(shell, "alice", ALICE, tmp_path)
    assert add(shell, "alice", MALLORY, tmp_path).code == 2
    assert add(shell, "alice", MALLORY, tmp_path, "--replace").code == 0
    assert str(MALLORY.cert) == (home.people / "alice.asc").read_text()


@pytest.mark.parametrize("name", ["Alice", "../alice", "a b", ""])
def test_a_name_that_could_be_something_else_is_refused(shell: Shell, home: Home, tmp_path: Path, name: str) -> None:
    assert add(shell, name, ALICE, tmp_path).code == 2
    assert not home.people.exists()


def test_a_submitter_is_known_by_the_keyring_that_recipes_name(shell: Shell, home: Home, tmp_path: Path) -> None:
    assert shell("submitter", "add", "sam", str(ALICE.write_cert(tmp_path))).code == 0
    assert (home.keyrings / "submitters" / "sam.asc").exists()


def test_a_secret_key_is_never_copied(shell: Shell, home: Home, tmp_path: Path) -> None:
    (tmp_path / "secret.asc").write_text(str(ALICE._key))
    assert "PRIVATE" in str(ALICE._key)
    assert shell("approver", "add", "alice", str(tmp_path / "secret.asc")).code == 0
    assert "PRIVATE" not in (home.people / "alice.asc").read_text()


@pytest.mark.parametrize("content", [b"", b"no certificate"])
def test_what_is_no_certificate_is_refused(shell: Shell, home: Home, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cert").write_bytes(content)
    assert shell("approver", "add", "alice", str(tmp_path / "cert")).code != 0
    assert not home.root.exists()
