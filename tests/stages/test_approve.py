# SPDX-License-Identifier: GPL-3.0-or-later
"""Approve: by whom, over what, and by nobody who had a hand in it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from coordinator.errors import BadSignature, NotAllowed
from coordinator.model import Approval, Signature, Update, sha256_of
from coordinator.stages.approve import approval, void
from tests.pipeline.walk import AT, built_and_tested, with_rebuilt

UPDATE = built_and_tested().update
ALICE, BOB, SAM = "a" * 40, "b" * 40, "5" * 40
PEOPLE = {"alice": frozenset({ALICE}), "bob": frozenset({BOB, "c" * 40}), "sam": frozenset({SAM})}


def approve(fingerprint: str, update: Update = UPDATE, signed: str | None = None) -> Approval:
    text = update.digest_set() if signed is None else signed
    return approval(update, Signature(text.encode(), fingerprint), "as it came", PEOPLE, AT)


def test_a_persons_signature_over_the_digest_set_is_an_approval() -> None:
    expected = Approval("alice", ALICE, sha256_of(UPDATE.digest_set()), "as it came", AT)
    assert approve(ALICE) == expected


def test_every_certificate_of_a_person_is_that_persons() -> None:
    assert approve("c" * 40).person == "bob"


def test_an_approval_counts_for_what_the_update_is_now() -> None:
    approved = replace(UPDATE, approvals=(approve(ALICE),))
    assert approved.valid_approvals() == approved.approvals
    assert with_rebuilt(approved).valid_approvals() == ()


@pytest.mark.parametrize("change", [str.upper, lambda text: text + "\n", lambda text: "", lambda text: text[:-1]])
def test_a_signature_over_anything_else_is_none(change: Callable[[str], str]) -> None:
    with pytest.raises(BadSignature, match="what was signed is not what update 12 would ship now"):
        approve(ALICE, signed=change(UPDATE.digest_set()))


@pytest.mark.parametrize(
    "other",
    [
        with_rebuilt(UPDATE),
        replace(UPDATE, id=13),
        replace(UPDATE, suite="trixie-security"),
        replace(UPDATE, submitter="carol"),
        replace(UPDATE, source=replace(UPDATE.source, version="1.0-1+deb12u2")),
    ],
    ids=["other bytes", "another update", "another suite", "another submitter", "another version"],
)
def test_a_signature_over_another_update_is_none(other: Update) -> None:
    with pytest.raises(BadSignature):
        approve(ALICE, signed=other.digest_set())


def test_a_certificate_of_nobody_approves_nothing() -> None:
    with pytest.raises(NotAllowed, match=f"the key {'d' * 40} is of nobody who may approve"):
        approve("d" * 40)


def test_a_certificate_that_two_people_share_is_neithers() -> None:
    shared = {**PEOPLE, "alicia": frozenset({ALICE})}
    signature = Signature(UPDATE.digest_set().encode(), ALICE)
    with pytest.raises(NotAllowed, match="is of alice and alicia alike"):
        approval(UPDATE, signature, "", shared, AT)


def test_the_submitter_may_not_approve() -> None:
    with pytest.raises(NotAllowed, match="sam submitted update 12 and may not approve it"):
        approve(SAM)


@pytest.mark.parametrize("key", [BOB, "c" * 40])
def test_whoever_signed_the_source_may_not_approve_with_any_key(key: str) -> None:
    update = replace(UPDATE, source=replace(UPDATE.source, signed_by=BOB))
    with pytest.raises(NotAllowed, match="bob submitted"):
        approve(key, update)


def test_approvals_of_people_who_are_there_hold() -> None:
    approved = replace(UPDATE, approvals=(approve(ALICE), approve(BOB)))
    assert void(approved, PEOPLE) == ()


@pytest.mark.parametrize(
    "now",
    [
        {"bob": PEOPLE["bob"]},
        {**PEOPLE, "alice": frozenset({"d" * 40})},
        {**PEOPLE, "alicia": frozenset({ALICE})},
        {"bob": PEOPLE["bob"], "mallory": frozenset({ALICE})},
    ],
    ids=["she is gone", "she has another certificate", "two have hers", "another has hers"],
)
def test_an_approval_is_void_whose_person_has_its_certificate_no_more(now: dict[str, frozenset[str]]) -> None:
    approved = replace(UPDATE, approvals=(approve(ALICE), approve(BOB)))
    assert [gone.person for gone in void(approved, now)] == ["alice"]
