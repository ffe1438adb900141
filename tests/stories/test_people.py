# SPDX-License-Identifier: GPL-3.0-or-later
"""People decide: two of them, neither of whom submitted, over the very bytes that are shipped."""

from dataclasses import replace

import pytest

from coordinator.errors import BadSignature, IllegalMove, NotAllowed
from coordinator.model import UpdateState as S
from coordinator.model import sha256_of
from tests.farm import ALICE, BOB, CAROL, MALLORY, SAM, Farm
from workers.sandbox.fake import Play
from workers.wire.arch import Arch
from workers.wire.order import JobKind

BUILD = JobKind.BUILD


@pytest.fixture
def number(farm: Farm) -> int:
    """An update that waits for people."""
    number = farm.submit()
    farm.run()
    return number


def test_two_people_are_needed(farm: Farm, number: int) -> None:
    farm.approve(number, ALICE)
    farm.run()
    assert farm.state(number) == S.AWAITING_APPROVAL
    farm.approve(number, BOB)
    assert farm.state(number) == S.SIGNING


def test_one_person_twice_is_one_person(farm: Farm, number: int) -> None:
    farm.approve(number, ALICE, ALICE)
    assert farm.state(number) == S.AWAITING_APPROVAL
    assert [approval.person for approval in farm.update(number).approvals] == ["alice"]


def test_the_submitter_may_not_approve(farm: Farm, number: int) -> None:
    with pytest.raises(NotAllowed, match="sam submitted update 1 and may not approve it"):
        farm.approve(number, SAM)


def test_whoever_signed_the_source_may_not_approve_though_another_submitted_it(farm: Farm) -> None:
    number = farm.submit(by="carol")
    farm.run()
    with pytest.raises(NotAllowed, match="sam submitted"):
        farm.approve(number, SAM)
    with pytest.raises(NotAllowed, match="carol submitted"):
        farm.approve(number, CAROL)
    farm.approve(number, ALICE, BOB)
    assert farm.state(number) == S.SIGNING


def test_a_stranger_may_not_approve(farm: Farm, number: int) -> None:
    with pytest.raises(BadSignature):
        farm.approve(number, MALLORY)


def test_a_person_who_was_removed_may_not_approve_any_more(farm: Farm, number: int) -> None:
    (farm.people / "bob.asc").unlink()
    with pytest.raises(BadSignature):
        farm.approve(number, BOB)


def test_a_certificate_that_two_people_claim_is_nobodys(farm: Farm, number: int) -> None:
    (farm.people / "sam2.asc").write_text((farm.people / "alice.asc").read_text())
    with pytest.raises(NotAllowed, match="of alice and sam2 alike"):
        farm.approve(number, ALICE)


def test_an_approval_of_one_update_is_none_of_another(farm: Farm, number: int) -> None:
    other = farm.submit("1.0-1+deb12u2")
    farm.run()
    with pytest.raises(BadSignature, match="not what update 2 would ship now"):
        farm.send(other, ALICE, farm.update(number).digest_set())


def test_nothing_can_be_approved_before_it_is_built(farm: Farm) -> None:
    number = farm.submit()
    with pytest.raises(IllegalMove, match="update 1 is received: approved is not possible now"):
        farm.approve(number, ALICE)


def test_what_was_signed_before_a_rebuild_is_no_approval(farm: Farm) -> None:
    farm.will(BUILD, Arch.ARM64, Play(exit_code=2))
    number = farm.submit()
    farm.run()
    early = farm.update(number).digest_set()
    farm.mend(salt="other bytes")
    farm.coordinator.retry(number, "sam")
    farm.run()
    with pytest.raises(BadSignature, match="is not what update 1 would ship now"):
        farm.send(number, ALICE, early)


def test_an_approval_says_nothing_about_bytes_that_were_swapped_after_it(farm: Farm, number: int) -> None:
    farm.approve(number, ALICE)
    before = farm.update(number)
    job = farm.job(number)
    assert job.report is not None
    forged = replace(job.report.artifacts[0], sha256="0" * 64)
    swapped = replace(job, report=replace(job.report, artifacts=(forged, *job.report.artifacts[1:])))
    farm.store.save(before, before.with_job(swapped), "Forged", "", ())
    assert farm.update(number).valid_approvals() == ()
    farm.approve(number, BOB)
    assert farm.state(number) == S.AWAITING_APPROVAL


def test_an_approval_of_somebody_who_was_removed_is_not_made_enough_by_another(farm: Farm, number: int) -> None:
    farm.approve(number, ALICE)
    (farm.people / "alice.asc").unlink()
    farm.approve(number, BOB)
    assert farm.state(number) == S.AWAITING_APPROVAL
    assert [approval.person for approval in farm.update(number).approvals] == ["bob"]
    farm.approve(number, CAROL)
    assert farm.state(number) == S.SIGNING


def test_the_history_tells_who_approved_what(farm: Farm, number: int) -> None:
    farm.approve(number, ALICE)
    entry = farm.store.history(number)[-1]
    assert entry.detail == f"approval alice {ALICE.fingerprint} {sha256_of(farm.update(number).digest_set())}"
