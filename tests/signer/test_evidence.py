# SPDX-License-Identifier: GPL-3.0-or-later
"""What the signer takes for evidence, and every reason why it would not sign."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coordinator.errors import SignerRefused
from coordinator.model import File, SigningRequest, Update
from coordinator.signer.approvers import load
from coordinator.signer.evidence import Evidence, check, check_facts
from coordinator.signer.policy import Policy
from tests.signer.kit import ALICE, BOB, MALLORY, SAM, Made, approval, make, people, said
from tests.sources import Person

KEY = "a" * 40
POLICY = Policy(approvals=2, keys={"archive": KEY})


@pytest.fixture
def plain(tmp_path: Path) -> Made:
    return make(tmp_path / "farm")


def judge(update: Update, folder: Path, known: tuple[Person, ...] = (SAM, ALICE, BOB), **changed: Any) -> Evidence:
    """What the signer finds, with its certificates of these people."""
    given: dict[str, Any] = {"key": "archive", "policy": POLICY, "authors": (), **changed}
    approvers = people(folder / "approvers", *known)
    request = SigningRequest(update, given["key"])
    check_facts(update)
    return check(request, given["policy"], approvers, said(update, approvers), given["authors"])


def test_two_people_are_enough_for_a_policy_of_two(plain: Made, tmp_path: Path) -> None:
    update = plain.approved_by(BOB, ALICE).update
    assert judge(update, tmp_path) == Evidence(KEY, ("alice", "bob"))


@pytest.mark.parametrize("who", [(), (ALICE,), (ALICE, ALICE)], ids=["nobody", "one", "one twice"])
def test_fewer_are_not(plain: Made, tmp_path: Path, who: tuple[Person, ...]) -> None:
    counted = len(set(who))
    with pytest.raises(SignerRefused, match=f"^{counted} of 2 approvals of update 1 count: "):
        judge(plain.approved_by(*who).update, tmp_path)


def test_a_recipe_may_ask_for_more(plain: Made, tmp_path: Path) -> None:
    update = replace(plain.approved_by(ALICE, BOB).update, approvals_needed=3)
    with pytest.raises(SignerRefused, match="2 of 3"):
        judge(update, tmp_path)


def test_a_recipe_cannot_ask_for_fewer(plain: Made, tmp_path: Path) -> None:
    update = replace(plain.approved_by(ALICE).update, approvals_needed=1)
    with pytest.raises(SignerRefused, match="1 of 2"):
        judge(update, tmp_path)


def test_the_submitter_does_not_count(plain: Made, tmp_path: Path) -> None:
    update = replace(plain.update, source=replace(plain.update.source, signed_by=""))
    with pytest.raises(SignerRefused, match=r"1 of 2 .*: alice; sam made or submitted it"):
        judge(replace(update, approvals=(approval(update, SAM), approval(update, ALICE))), tmp_path)


def test_nor_does_anybody_of_the_submitters_name_whatever_their_key_is(plain: Made, tmp_path: Path) -> None:
    namesake = Person(SAM.name)
    update = plain.approved_by(namesake, ALICE).update
    with pytest.raises(SignerRefused, match=r"1 of 2 .*: alice; sam made or submitted it"):
        judge(update, tmp_path, known=(namesake, ALICE))


@pytest.mark.parametrize("upper", [False, True])
def test_whoever_signed_the_source_does_not_count_under_another_name(plain: Made, tmp_path: Path, upper: bool) -> None:
    signed_by = ALICE.fingerprint.upper() if upper else ALICE.fingerprint
    update = replace(plain.update, source=replace(plain.update.source, signed_by=signed_by))
    with pytest.raises(SignerRefused, match=r"1 of 2 .*alice made or submitted it"):
        judge(replace(update, approvals=(approval(update, ALICE), approval(update, BOB))), tmp_path)


def test_nor_does_whose_signature_is_found_in_the_source(plain: Made, tmp_path: Path) -> None:
    with pytest.raises(SignerRefused, match="1 of 2"):
        judge(plain.approved_by(ALICE, BOB).update, tmp_path, authors={"alice"})


def test_an_approval_of_what_it_was_before_is_void(plain: Made, tmp_path: Path) -> None:
    before = plain.update.digest_set().replace("suite bookworm-security", "suite bookworm")
    now = replace(plain.update, approvals=(approval(plain.update, ALICE, before), approval(plain.update, BOB)))
    with pytest.raises(SignerRefused, match=r"1 of 2 .*: bob$"):
        judge(now, tmp_path)


def test_the_farm_cannot_say_that_a_void_one_is_not(plain: Made, tmp_path: Path) -> None:
    old = approval(plain.update, ALICE, "something else\n", digest=approval(plain.update, BOB).digest)
    with pytest.raises(SignerRefused, match="1 of 2"):
        judge(replace(plain.update, approvals=(old, approval(plain.update, BOB))), tmp_path)


def test_a_stranger_does_not_count_whoever_the_farm_says_it_is(plain: Made, tmp_path: Path) -> None:
    forged = approval(plain.update, MALLORY, person="alice", fingerprint=ALICE.fingerprint)
    with pytest.raises(SignerRefused, match="1 of 2"):
        judge(replace(plain.update, approvals=(forged, approval(plain.update, BOB))), tmp_path)


def test_what_is_no_signature_does_not_count(plain: Made, tmp_path: Path) -> None:
    bare = approval(plain.update, ALICE, signature=plain.update.digest_set())
    with pytest.raises(SignerRefused, match="1 of 2"):
        judge(replace(plain.update, approvals=(bare, approval(plain.update, BOB))), tmp_path)


def test_a_key_in_two_files_is_refused(plain: Made, tmp_path: Path) -> None:
    people(tmp_path / "approvers", ALICE)
    (tmp_path / "approvers" / "carol.asc").write_text(str(ALICE.cert))
    with pytest.raises(SignerRefused, match="is in the files of alice and carol"):
        judge(plain.approved_by(ALICE, BOB).update, tmp_path)


def test_two_keys_in_one_file_are_one_person(plain: Made, tmp_path: Path) -> None:
    people(tmp_path / "approvers")
    (tmp_path / "approvers" / "both.asc").write_text(f"{ALICE.cert}\n{BOB.cert}")
    with pytest.raises(SignerRefused, match=r"1 of 2 .*: both$"):
        judge(plain.approved_by(ALICE, BOB).update, tmp_path, known=())


def test_a_file_that_holds_no_certificate_is_nobody_and_named(
    plain: Made, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    people(tmp_path / "approvers")
    (tmp_path / "approvers" / "carol.asc").write_text("nothing")
    assert judge(plain.approved_by(ALICE, BOB).update, tmp_path).people == ("alice", "bob")
    assert "person=carol" in caplog.text
    assert load(tmp_path / "approvers").unread == ("carol",)


def test_a_key_that_the_policy_does_not_name_is_refused(plain: Made, tmp_path: Path) -> None:
    with pytest.raises(SignerRefused, match="no key called 'release'; it has archive"):
        judge(plain.approved_by(ALICE, BOB).update, tmp_path, key="release")


def with_files(update: Update, *files: File) -> Update:
    return replace(update, source=replace(update.source, files=(*update.source.files, *files)))


def with_source(update: Update, **changed: Any) -> Update:
    return replace(update, source=replace(update.source, **changed))


SHA = "0" * 64
BAD_FACTS: dict[str, tuple[Callable[[Update], Update], str]] = {
    "a folder in a name": (lambda update: with_files(update, File("../hello", SHA, 1)), "not a plain file name"),
    "a line break in a name": (lambda update: with_files(update, File("hello\nx", SHA, 1)), "not a plain file name"),
    "a digest that is a path": (lambda update: with_files(update, File("hello", "../..", 1)), "not a plain file name"),
    "a size below nothing": (lambda update: with_files(update, File("hello", SHA, -1)), "not a plain file name"),
    "another file of the same name": (
        lambda update: with_files(update, File("hello_1.0-1_amd64.deb", SHA, 1)),
        r"there are different files called hello_1\.0-1_amd64\.deb",
    ),
    "no source": (lambda update: with_source(update, files=()), "first file is not a .dsc"),
    "a source without its .dsc": (
        lambda update: with_source(update, files=update.source.files[1:]),
        "first file is not a .dsc",
    ),
    "a folder in the source's name": (lambda update: with_source(update, name="../x"), "not a plain file name"),
    "two lines in the version": (lambda update: with_source(update, version="1\nsuite x"), "not one plain word"),
    "two words in the suite": (lambda update: replace(update, suite="x y"), "not one plain word"),
    "files in the submitter's name": (
        lambda update: replace(update, submitter=f"sam\n{SHA} 1 hello"),
        "not one plain line",
    ),
}


@pytest.mark.parametrize("case", BAD_FACTS)
def test_facts_that_could_be_read_in_two_ways_are_refused(plain: Made, tmp_path: Path, case: str) -> None:
    change, why = BAD_FACTS[case]
    with pytest.raises(SignerRefused, match=why):
        judge(change(plain.update), tmp_path)


def test_each_build_may_have_a_source_changes_of_its_own(plain: Made) -> None:
    named = [file for file in plain.update.built_files() if file.name == "hello_1.0-1_source.changes"]
    assert len({file.sha256 for file in named}) == 2
    check_facts(plain.update)


def test_a_reason_is_one_sentence_that_a_terminal_can_show(plain: Made, tmp_path: Path) -> None:
    with pytest.raises(SignerRefused) as caught:
        judge(with_files(plain.update, File("\x1b[2J\n", SHA, 1)), tmp_path)
    assert re.fullmatch(r"[ -~]+", caught.value.message)
