# SPDX-License-Identifier: GPL-3.0-or-later
"""`approve`, `approver` and `submitter`."""

import json
from pathlib import Path

import pytest

from coordinator.cli.main import run
from coordinator.cli.session import Session
from coordinator.client import Client
from coordinator.model import JobState, UpdateState
from coordinator.openpgp import fingerprint, load_certs
from tests.cli.conftest import Shell
from tests.sources import Person
from tests.web.kit import FakeFarm, job, report, update, web


@pytest.fixture
def waiting(farm: FakeFarm) -> FakeFarm:
    built = job(state=JobState.SUCCEEDED, report=report())
    farm.store.known = update(UpdateState.AWAITING_APPROVAL, [built])
    return farm


def test_exactly_the_digest_set_is_shown_signed_and_handed_in(shell: Shell, waiting: FakeFarm) -> None:
    text = waiting.store.known.digest_set()
    said = shell("approve", "1", "--key", "ALICE", "--gnupg-home", "/keys")
    assert said.code == 0
    assert text in said.err
    assert shell.asked_to_sign == [(text, "ALICE", Path("/keys"))]
    assert waiting.asked == [("approve", 1, b"signed: " + text.encode())]


def test_nothing_is_signed_unless_it_waits_for_approval(shell: Shell) -> None:
    assert shell("approve", "1").code == 16
    assert shell.asked_to_sign == []


def test_a_text_that_the_facts_do_not_make_is_not_signed(waiting: FakeFarm, shell: Shell) -> None:
    class Lying(Client):
        def digests(self, number: int) -> str:
            return super().digests(number).replace("hello", "hullo")

    session = Session(lambda: Lying(web(waiting, "p-token")), sign=shell._sign)
    assert run(["approve", "1"], session) == 1
    assert (shell.asked_to_sign, waiting.asked) == ([], [])


@pytest.fixture(scope="module")
def alice() -> Person:
    return Person("alice")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATCHFARM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_an_approver_is_known_to_the_farm_and_to_the_signer(
    shell: Shell, home: Path, tmp_path: Path, alice: Person
) -> None:
    assert shell("approver", "add", "alice", str(alice.write_cert(tmp_path))).code == 0
    for place in ("people/alice.asc", "signer/approvers/alice.asc"):
        assert [fingerprint(cert) for cert in load_certs(home / place)] == [alice.fingerprint]
    assert [each["name"] for each in json.loads(shell("approver", "list", "--json").out)] == ["alice"]


def test_a_submitter_is_in_the_keyring_of_that_name(shell: Shell, home: Path, tmp_path: Path, alice: Person) -> None:
    assert shell("submitter", "add", "alice", str(alice.write_cert(tmp_path))).code == 0
    assert (home / "keyrings/submitters/alice.asc").exists()
    assert alice.fingerprint in shell("submitter", "list").out


def test_one_key_is_one_person(shell: Shell, home: Path, tmp_path: Path, alice: Person) -> None:
    cert = str(alice.write_cert(tmp_path))
    assert [shell("approver", "add", name, cert).code for name in ("alice", "alice", "bob")] == [0, 0, 2]
    assert not (home / "people/bob.asc").exists()


def test_another_key_of_a_person_must_be_meant(shell: Shell, home: Path, tmp_path: Path, alice: Person) -> None:
    shell("approver", "add", "alice", str(alice.write_cert(tmp_path)))
    other = str(Person("other").write_cert(tmp_path))
    assert shell("approver", "add", "alice", other).code == 2
    assert shell("approver", "add", "alice", other, "--replace").code == 0


def test_a_secret_key_is_never_copied(shell: Shell, home: Path, tmp_path: Path, alice: Person) -> None:
    (tmp_path / "secret.asc").write_text(str(alice._key))
    assert "PRIVATE" in str(alice._key)
    assert shell("approver", "add", "alice", str(tmp_path / "secret.asc")).code == 0
    assert "PRIVATE" not in (home / "people/alice.asc").read_text()


@pytest.mark.parametrize("name", ["../alice", "Alice", "", ".", "a b", "-x", "a" * 65])
def test_a_name_that_is_a_path_or_no_name_is_refused(
    shell: Shell, home: Path, tmp_path: Path, alice: Person, name: str
) -> None:
    assert shell("approver", "add", "--", name, str(alice.write_cert(tmp_path))).code == 2
    assert not home.exists()


@pytest.mark.parametrize("content", [b"", b"no certificate"])
def test_what_is_no_certificate_is_refused(shell: Shell, home: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cert").write_bytes(content)
    assert shell("approver", "add", "alice", str(tmp_path / "cert")).code != 0
    assert not home.exists()
