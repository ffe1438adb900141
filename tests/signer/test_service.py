# SPDX-License-Identifier: GPL-3.0-or-later
"""The signer and the farm's real web application: what is answered, and what is left for later."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coordinator.client import Client
from coordinator.dsc import cleartext, read_changes
from coordinator.errors import BadSource, DiskFull, FarmDown, IllegalMove, PatchfarmError, StaleUpdate
from coordinator.model import File, SigningRequest, Update
from coordinator.signer.policy import Policy, SignerHome
from coordinator.signer.service import Signer
from tests.signer.kit import ALICE, BOB, Made, make
from tests.web.kit import FakeFarm, web

pytestmark = pytest.mark.system


class Trying(FakeFarm):
    """A farm that has several updates in signing, and answers some questions with errors."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.waiting: list[SigningRequest] = []
        self.errors: dict[str, Exception] = {}

    def __getattr__(self, name: str) -> Any:
        self.error = self.errors.get(name)
        return super().__getattr__(name)

    def answers(self) -> dict[str, Any]:
        return {**super().answers(), "signing_requests": self.waiting}

    def told(self) -> list[tuple[Any, ...]]:
        """All but the questions."""
        return [each for each in self.asked if each[0] != "signing_requests"]


@pytest.fixture
def farm(tmp_path: Path, made: Made) -> Trying:
    (tmp_path / "blobs").mkdir()
    farm = Trying(tmp_path / "blobs")
    made.give(farm)
    farm.waiting = [SigningRequest(made.update, "archive")]
    return farm


class Clock:
    """Seconds that pass when a test says so; `slept` is what the signer waited between two tries."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def signer(self, farm: Client, home: SignerHome, rules: Policy) -> Signer:
        return Signer(farm, home, rules, lambda: self.now, self.slept.append)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def signer(farm: Trying, home: SignerHome, rules: Policy, clock: Clock) -> Signer:
    return clock.signer(Client(web(farm, "s-token")), home, rules)


def audit(home: SignerHome) -> Iterator[dict[str, Any]]:
    return map(json.loads, home.audit.read_text().splitlines())


def test_what_was_approved_is_signed_stored_and_handed_in(signer: Signer, farm: Trying, home: SignerHome) -> None:
    signer.look()
    ((question, number, files),) = farm.told()
    assert (question, number, files[0].name) == ("signed", 1, "hello_1.0-1_multi.changes")
    text = cleartext(farm.blobs.path(files[0].sha256).read_bytes())
    assert set(read_changes(text).files) == set(files[1:])
    assert all(farm.blobs.path(file.sha256).exists() for file in files)


def test_a_signature_is_in_the_audit_log(signer: Signer, home: SignerHome, rules: Policy, made: Made) -> None:
    signer.look()
    (entry,) = audit(home)
    assert (entry["key"], entry["people"]) == (rules.keys["archive"], ["alice", "bob"])
    names = [each["name"] for each in entry["signed"]]
    assert names == ["hello_1.0-1_multi.changes", "hello_1.0-1.dsc"] + [
        f"hello_1.0-1_{arch}.buildinfo" for arch in ("amd64", "i386")
    ]
    assert entry["signed"][1]["before"] == made.update.source.dsc.sha256


def test_nothing_is_left_lying_about(signer: Signer, home: SignerHome) -> None:
    signer.look()
    assert list(home.work.iterdir()) == []


def test_what_a_killed_signer_left_is_removed(farm: Trying, home: SignerHome, rules: Policy, clock: Clock) -> None:
    (home.work / "left").mkdir(parents=True)
    clock.signer(Client(web(farm, "s-token")), home, rules)
    assert not home.work.exists()


def refusal(farm: Trying, signer: Signer, home: SignerHome) -> str:
    """The reason that both the farm and the audit log have."""
    signer.look()
    ((question, number, reason),) = farm.told()
    assert (question, number) == ("refused", 1)
    (entry,) = audit(home)
    assert entry["refused"] == reason
    return str(reason)


def test_too_few_approvals_are_a_refusal(signer: Signer, farm: Trying, home: SignerHome, made: Made) -> None:
    farm.waiting = [SigningRequest(made.approved_by(BOB).update, "archive")]
    assert refusal(farm, signer, home) == "1 of 2 approvals of update 1 count: bob"


def test_an_unknown_key_is_a_refusal(signer: Signer, farm: Trying, home: SignerHome, made: Made) -> None:
    farm.waiting = [SigningRequest(made.update, "release")]
    assert "no key called 'release'" in refusal(farm, signer, home)


def test_the_sources_author_is_found_in_the_source_itself(
    signer: Signer, farm: Trying, home: SignerHome, tmp_path: Path
) -> None:
    made = make(tmp_path / "alices", author=ALICE)
    lied = replace(made.update, source=replace(made.update.source, signed_by=""))
    made = replace(made, update=lied).approved_by(ALICE, BOB)
    made.give(farm)
    farm.waiting = [SigningRequest(made.update, "archive")]
    assert "1 of 2" in refusal(farm, signer, home)


def later(signer: Signer, farm: Trying, caplog: pytest.LogCaptureFixture) -> str:
    """What is logged of an update that is neither signed nor refused."""
    signer.look()
    assert farm.told() == []
    assert "action=later update=1" in caplog.text
    return caplog.text


def test_a_file_with_other_bytes_is_the_farms_trouble(
    signer: Signer, farm: Trying, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    file = next(file for file in made.update.built_files() if file.name.endswith("_i386.deb"))
    (farm.blobs.folder / file.sha256).write_bytes(b"x" * file.size)
    assert "hello_1.0-1_i386.deb arrived with other bytes" in later(signer, farm, caplog)


def test_so_is_a_file_that_it_lost(signer: Signer, farm: Trying, made: Made, caplog: pytest.LogCaptureFixture) -> None:
    (farm.blobs.folder / made.update.source.dsc.sha256).unlink()
    assert "there is no blob" in later(signer, farm, caplog)


def test_a_key_that_is_gone_is_the_signers_own_trouble_in_gpgs_words(
    signer: Signer, farm: Trying, home: SignerHome, caplog: pytest.LogCaptureFixture
) -> None:
    for path in (home.gnupg / "private-keys-v1.d").iterdir():
        path.unlink()
    assert "No secret key" in later(signer, farm, caplog)
    assert not home.audit.exists() or "refused" not in home.audit.read_text()


def test_a_person_whose_certificate_cannot_be_read_does_not_count_and_is_waited_for(
    signer: Signer, farm: Trying, home: SignerHome, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = (home.approvers / "bob.asc").read_text()
    (home.approvers / "bob.asc").write_text("nothing")
    assert "1 of 2 approvals of update 1 count: alice; the certificates of bob" in later(signer, farm, caplog)
    (home.approvers / "bob.asc").write_text(certificate)
    clock.now = 1.0
    signer.look()
    assert [each[0] for each in farm.told()] == ["signed"]


def test_one_bad_certificate_keeps_nothing_waiting_that_others_approved(
    signer: Signer, farm: Trying, home: SignerHome
) -> None:
    (home.approvers / "carol.asc").write_text("nothing")
    signer.look()
    assert [each[0] for each in farm.told()] == ["signed"]


def test_a_digest_that_is_a_path_is_never_asked_for(signer: Signer, farm: Trying, home: SignerHome, made: Made) -> None:
    source = replace(made.update.source, files=(File("hello_1.0-1.dsc", "../updates", 1),))
    farm.waiting = [SigningRequest(replace(made.update, source=source), "archive")]
    assert "not a plain file name" in refusal(farm, signer, home)


def test_one_bad_request_does_not_stop_the_others(signer: Signer, farm: Trying, made: Made) -> None:
    bad = SigningRequest(replace(made.update, id=7), "archive")
    farm.waiting = [bad, *farm.waiting]
    signer.look()
    assert [each[:2] for each in farm.told()] == [("refused", 7), ("signed", 1)]


def test_an_update_that_moved_on_is_let_go(signer: Signer, farm: Trying) -> None:
    farm.errors["signed"] = IllegalMove("it is withdrawn")
    signer.look()
    assert [each[0] for each in farm.told()] == ["signed"]


@pytest.mark.parametrize(
    "error",
    [FarmDown("down"), DiskFull("full"), StaleUpdate("again"), PatchfarmError("a mistake"), BadSource("not taken")],
)
def test_what_says_nothing_of_the_update_is_no_reason_to_refuse_it(
    signer: Signer, farm: Trying, clock: Clock, error: Exception
) -> None:
    farm.errors["signed"] = error
    signer.look()
    del farm.errors["signed"]
    clock.now = 1.0
    signer.look()
    assert [each[0] for each in farm.told()] == ["signed", "signed"]


class Broken(Client):
    """A client with a bug, or of a farm that is cut off now and then."""

    error: Exception = ZeroDivisionError()
    tried = 0

    def store(self, file: File, path: Path) -> None:
        self.tried += 1
        raise self.error


def test_a_bug_is_met_again_after_longer_and_longer_pauses(
    farm: Trying, home: SignerHome, rules: Policy, clock: Clock
) -> None:
    client = Broken(web(farm, "s-token"))
    signer = clock.signer(client, home, rules)
    for second in range(16):
        clock.now = float(second)
        signer.look()
    assert client.tried == 5  # at 0, 1, 3, 7 and 15
    assert farm.told() == []


def test_a_bug_with_one_leaves_the_others_alone(farm: Trying, home: SignerHome, rules: Policy, clock: Clock) -> None:
    client = Broken(web(farm, "s-token"))
    farm.waiting.append(SigningRequest(replace(farm.waiting[0].update, id=7), "archive"))
    clock.signer(client, home, rules).look()
    assert [each[:2] for each in farm.told()] == [("refused", 7)]


def test_a_cut_connection_is_tried_three_times(farm: Trying, home: SignerHome, rules: Policy, clock: Clock) -> None:
    client = Broken(web(farm, "s-token"))
    client.error = FarmDown("cut")
    clock.signer(client, home, rules).look()
    assert (client.tried, len(clock.slept)) == (3, 2)


def test_a_farm_that_is_down_is_said_to_be(signer: Signer, farm: Trying) -> None:
    farm.errors["signing_requests"] = FarmDown("down")
    with pytest.raises(FarmDown):
        signer.look()


def test_nobody_but_the_signer_is_told_what_waits(farm: Trying, home: SignerHome, rules: Policy, made: Made) -> None:
    update: Update = made.update
    assert web(farm, "w-token").post(f"/api/v1/signing/{update.id}", json={"files": []}).status_code == 403
