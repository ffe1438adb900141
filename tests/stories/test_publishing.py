# SPDX-License-Identifier: GPL-3.0-or-later
"""The last mile: uploads are cut, targets are slow, and an update is published when its index says so."""

from collections import Counter
from dataclasses import replace

import pytest

from coordinator.errors import BadRecipe, BadSignature, Blame, NotNewer, PatchfarmError
from coordinator.model import UpdateState as S
from coordinator.pipeline import Confirm, Upload
from tests.farm import ALICE, BOB, SUITE, TIMING, VERSION, Farm


@pytest.fixture
def number(farm: Farm) -> int:
    """An update that enough people have approved."""
    number = farm.submit_and_build()
    farm.approve(number, ALICE, BOB)
    return number


def wait(farm: Farm, seconds: int) -> None:
    """Let time pass second by second, as the engine sees it."""
    for _ in range(seconds):
        farm.pass_time(1)
        farm.run()


def test_an_upload_that_was_cut_is_taken_up_where_it_ended(farm: Farm, number: int) -> None:
    farm.uploader.cuts = [2, 3]
    farm.run()
    assert (farm.state(number), len(farm.uploader.sent)) == (S.PUBLISHING, 2)
    wait(farm, 3)
    assert farm.state(number) == S.PUBLISHED
    assert set(Counter(farm.uploader.sent).values()) == {1}
    assert farm.uploader.sent[-1].endswith(".changes")


def test_an_upload_that_keeps_failing_is_given_up_after_five_tries(farm: Farm, number: int) -> None:
    farm.uploader.fails = 99
    farm.run()
    wait(farm, 20)
    update = farm.update(number)
    assert (update.state, update.blame, update.reason) == (S.FAILED, Blame.FARM, "the target does not take it")
    assert farm.uploader.calls == 5


def test_an_upload_that_was_given_up_goes_on_when_a_person_says_so(farm: Farm, number: int) -> None:
    farm.uploader.fails = 5
    farm.run()
    wait(farm, 20)
    signed = farm.update(number).signed
    farm.coordinator.retry(number, "carol")
    farm.run()
    assert farm.state(number) == S.PUBLISHED
    assert farm.update(number).signed == signed


def test_an_upload_that_failed_waits_longer_each_time(farm: Farm, number: int) -> None:
    farm.uploader.fails = 4
    farm.run()
    calls = []
    for _ in range(16):
        calls.append(farm.uploader.calls)
        wait(farm, 1)
    assert calls == [1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 5]


def test_an_update_is_published_when_the_targets_index_shows_it(farm: Farm, number: int) -> None:
    farm.target.hides = True
    farm.run()
    wait(farm, 5)
    assert farm.state(number) == S.PUBLISHING
    farm.target.hides = False
    wait(farm, 1)
    assert farm.state(number) == S.PUBLISHED


def test_another_version_in_the_index_is_not_this_one(farm: Farm, number: int) -> None:
    farm.target.hides = True
    farm.target.publish(SUITE, "hello", "1.0-1")
    farm.run()
    wait(farm, 1)
    assert farm.state(number) == S.PUBLISHING


def test_a_target_that_never_shows_it_fails_the_update(farm: Farm, number: int) -> None:
    farm.target.hides = True
    farm.run()
    farm.pass_time(TIMING.confirm)
    farm.run()
    assert farm.state(number) == S.PUBLISHING
    wait(farm, 2)
    update = farm.update(number)
    assert (update.state, update.blame) == (S.FAILED, Blame.FARM)
    assert update.reason == f"the target did not show {VERSION} within 600 s of the upload"


def test_a_target_that_showed_it_too_late_is_believed_after_a_retry(farm: Farm, number: int) -> None:
    farm.target.hides = True
    farm.run()
    farm.pass_time(TIMING.confirm + 1)
    farm.run()
    farm.target.hides = False
    farm.coordinator.retry(number, "carol")
    farm.run()
    assert farm.state(number) == S.PUBLISHED


def test_a_target_that_cannot_be_read_is_asked_again(farm: Farm, number: int) -> None:
    farm.target.unreachable = True
    farm.run()
    wait(farm, 3)
    assert farm.state(number) == S.PUBLISHING
    farm.target.unreachable = False
    wait(farm, 4)
    assert farm.state(number) == S.PUBLISHED


def test_a_slow_target_keeps_no_other_update_waiting_and_is_asked_once(farm: Farm, number: int) -> None:
    farm.slow_target = []
    farm.run()
    other = farm.submit(name="other")
    farm.run()
    assert farm.state(other) == S.AWAITING_APPROVAL
    assert farm.state(number) == S.PUBLISHING
    (upload,) = farm.slow_target
    farm.slow_target = None
    upload()
    farm.run()
    assert farm.state(number) == S.PUBLISHED


def test_a_target_that_stays_unreadable_is_given_up_until_a_person_retries(farm: Farm, number: int) -> None:
    farm.target.unreachable = True
    farm.run()
    wait(farm, TIMING.confirm + 60)
    assert (farm.state(number), farm.update(number).blame) == (S.FAILED, Blame.FARM)
    farm.target.unreachable = False
    farm.coordinator.retry(number, "carol")
    farm.run()
    assert farm.state(number) == S.PUBLISHED


def test_nothing_is_uploaded_that_was_swapped_after_it_was_signed(farm: Farm, number: int) -> None:
    farm.uploader.fails = 1
    farm.run()
    before = farm.update(number)
    deb = next(file for file in before.signed if file.name.endswith(".deb"))
    evil = replace(deb, sha256=farm.blobs.add(b"evil"), size=4)
    forged = tuple(evil if file == deb else file for file in before.signed)
    farm.store.save(before, replace(before, signed=forged), "Forged", "", ())
    wait(farm, 1)
    assert (farm.state(number), farm.update(number).blame) == (S.FAILED, Blame.SUBMITTER)
    assert farm.update(number).reason == f"{deb.name} is not what was approved for update {number}"
    assert farm.uploader.sent == []


def test_an_upload_that_is_asked_for_twice_is_done_once(farm: Farm, number: int) -> None:
    farm.target.hides = True
    farm.run()
    due = next(row.due for row in farm.store.outbox.values() if row.due.instruction == Upload())
    farm.engine.carry_out(due)
    assert farm.uploader.calls == 1
    assert farm.events(number).count("Uploaded") == 1


def test_a_look_at_the_index_from_before_a_retry_says_nothing_about_the_upload_after_it(
    farm: Farm, number: int
) -> None:
    farm.target.hides = True
    farm.run()
    farm.pass_time(TIMING.confirm + 1)
    farm.run()
    farm.target.hides = False
    farm.coordinator.retry(number, "carol")
    due = next(row.due for row in farm.store.outbox.values() if row.due.instruction == Confirm())
    farm.engine.carry_out(due)
    assert farm.state(number) == S.PUBLISHING


def test_another_dsc_of_the_version_in_the_index_is_told_at_once(farm: Farm, number: int) -> None:
    farm.target.hides = True
    farm.target.publish(SUITE, "hello", VERSION)
    farm.run()
    update = farm.update(number)
    assert (update.state, update.blame) == (S.FAILED, Blame.FARM)
    assert update.reason == f"the target has hello {VERSION} with another .dsc than the one that was signed"
    with pytest.raises(NotNewer, match="which the archive has already"):
        farm.coordinator.retry(number, "carol")


@pytest.mark.parametrize("error", [BadSignature("nobody signed it"), BadRecipe("it has no address")])
def test_a_target_whose_index_cannot_be_believed_is_given_up_with_the_last_reason(
    farm: Farm, number: int, error: PatchfarmError
) -> None:
    farm.target.error = error
    farm.run()
    farm.pass_time(TIMING.confirm)
    farm.run()
    assert farm.state(number) == S.PUBLISHING
    wait(farm, 60)
    assert (farm.state(number), farm.update(number).blame) == (S.FAILED, Blame.FARM)
    assert farm.update(number).reason.endswith(f"within 600 s of the upload; the last look at it: {error.message}")


def test_what_an_update_waits_for_can_be_seen(farm: Farm, number: int) -> None:
    farm.target.unreachable = True
    farm.run()
    (waiting,) = farm.store.waiting(number)
    assert (waiting.instruction, waiting.tries, waiting.last_error) == ("Confirm", 1, "the target does not answer")
    assert waiting.due_at > farm.clock.now()
