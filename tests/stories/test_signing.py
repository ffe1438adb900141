# SPDX-License-Identifier: GPL-3.0-or-later
"""The signer pulls, and what it returns is compared with what people approved."""

import pytest

from coordinator.errors import Blame, IllegalMove, UnknownName
from coordinator.model import File
from coordinator.model import UpdateState as S
from tests.farm import ALICE, BOB, CAROL, VERSION, Farm


@pytest.fixture
def number(farm: Farm) -> int:
    """An update that enough people have approved, and that the signer has not seen."""
    number = farm.submit()
    farm.run()
    farm.approve(number, ALICE, BOB)
    return number


def test_an_approved_update_waits_for_the_signer(farm: Farm, number: int) -> None:
    farm.signer.away = True
    farm.run()
    assert farm.state(number) == S.SIGNING
    requests = farm.coordinator.signing_requests()
    assert [(request.update.id, request.key) for request in requests] == [(number, "archive")]


def test_what_is_not_approved_is_not_shown_to_the_signer(farm: Farm) -> None:
    farm.approve(other := farm.submit_and_build(), ALICE)
    assert farm.state(other) == S.AWAITING_APPROVAL
    assert farm.coordinator.signing_requests() == []


def test_a_signer_that_refuses_fails_the_update_with_its_reason(farm: Farm, number: int) -> None:
    farm.signer.refuses = "alice's certificate is not pinned"
    farm.run()
    update = farm.update(number)
    assert (update.state, update.blame) == (S.FAILED, Blame.FARM)
    assert update.reason == "the signer refused: alice's certificate is not pinned"


def test_what_the_signer_refused_is_shown_to_it_again_when_a_person_says_so(farm: Farm, number: int) -> None:
    farm.signer.refuses = "the policy is out of date"
    farm.run()
    farm.signer.refuses = ""
    farm.coordinator.retry(number, "carol")
    assert farm.state(number) == S.SIGNING
    farm.run()
    assert farm.state(number) == S.PUBLISHED


@pytest.mark.parametrize("ending", ["amd64.deb", ".debian.tar.xz"])
def test_other_bytes_than_were_approved_are_not_taken_from_the_signer(farm: Farm, number: int, ending: str) -> None:
    farm.signer.alters = ending
    farm.run()
    update = farm.update(number)
    assert (update.state, update.blame, update.signed) == (S.FAILED, Blame.FARM, ())
    assert ending in update.reason
    assert "with other bytes than were approved" in update.reason
    assert farm.target.files == {}


def test_a_signature_in_a_dsc_and_a_buildinfo_is_what_a_signer_is_for(farm: Farm, number: int) -> None:
    farm.run()
    source, signed = farm.update(number).source, farm.update(number).signed
    assert signed[0].name == f"hello_{VERSION}_multi.changes"
    dsc = next(file for file in signed if file.name == source.dsc.name)
    assert dsc.sha256 != source.dsc.sha256
    assert farm.target.files[dsc.name] == dsc


def test_files_that_nobody_asked_for_are_not_taken_from_the_signer(farm: Farm, number: int) -> None:
    files = farm.signer.sign(farm.update(number))
    more = File("evil_1_amd64.deb", farm.blobs.add(b"evil"), 4)
    update = farm.coordinator.signed(number, [*files, more])
    assert (update.state, update.signed) == (S.FAILED, ())
    assert update.reason == "the signer returned other files than the update has: evil_1_amd64.deb"


def test_signed_files_have_to_be_there(farm: Farm, number: int) -> None:
    with pytest.raises(UnknownName):
        farm.coordinator.signed(number, [File(f"hello_{VERSION}_multi.changes", "0" * 64, 1)])
    assert farm.state(number) == S.SIGNING


def test_a_signer_that_answers_twice_is_heard_once(farm: Farm, number: int) -> None:
    files = farm.signer.sign(farm.update(number))
    farm.coordinator.signed(number, files)
    with pytest.raises(IllegalMove, match="is publishing: signed is not possible now"):
        farm.coordinator.signed(number, files)


def test_an_update_can_be_taken_back_until_it_is_signed(farm: Farm, number: int) -> None:
    farm.coordinator.withdraw(number, "carol", "a regression was found")
    farm.run()
    assert farm.state(number) == S.WITHDRAWN
    assert farm.coordinator.signing_requests() == []


def test_what_the_signer_refused_for_want_of_people_it_knows_can_be_saved_by_another(farm: Farm, number: int) -> None:
    farm.signer.refuses = "alice's certificate is not pinned"
    farm.run()
    farm.approve(number, CAROL)
    assert farm.state(number) == S.FAILED
    assert "is not pinned" in farm.update(number).reason
    farm.signer.refuses = ""
    farm.coordinator.retry(number, "carol")
    assert farm.state(number) == S.SIGNING
    assert [approval.person for approval in farm.update(number).approvals] == ["alice", "bob", "carol"]


def test_a_retry_counts_nobody_who_was_removed_since(farm: Farm, number: int) -> None:
    farm.signer.refuses = "bob's key was stolen"
    farm.run()
    (farm.people / "bob.asc").unlink()
    farm.signer.refuses = ""
    farm.coordinator.retry(number, "carol")
    farm.run()
    assert farm.state(number) == S.AWAITING_APPROVAL
    farm.approve(number, CAROL)
    farm.run()
    assert farm.state(number) == S.PUBLISHED


def test_one_update_whose_recipe_cannot_be_read_hides_no_other_from_the_signer(farm: Farm, number: int) -> None:
    farm.signer.away = True
    others = [farm.submit(name=name, suite="trixie-security") for name in ("second", "third")]
    farm.run()
    for other in others:
        farm.approve(other, ALICE, BOB)
    farm.blobs.path(farm.update(number).recipe_sha256).unlink()
    assert [request.update.id for request in farm.coordinator.signing_requests()] == others


def test_the_history_tells_which_changes_was_signed(farm: Farm, number: int) -> None:
    farm.run()
    entry = next(entry for entry in farm.store.history(number) if entry.event == "Signed")
    changes = farm.update(number).signed[0]
    assert entry.detail == f"files {changes.name} {changes.sha256}"
