# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources come in: signed by a person, or vouched for by an archive; whole, newer, and once."""

import pytest

from coordinator.errors import ArchiveUnreachable, BadSource, DiskFull, NotNewer, UnknownName
from coordinator.model import Origin
from coordinator.model import UpdateState as S
from tests.farm import ALICE, BOB, MALLORY, SUITE, VERSION, Farm


def test_a_version_that_the_target_has_already_is_refused(farm: Farm) -> None:
    farm.target.publish(SUITE, "hello", VERSION)
    with pytest.raises(NotNewer, match="which the archive has already"):
        farm.submit()
    assert farm.store.updates() == []


def test_a_version_that_is_on_its_way_is_refused(farm: Farm) -> None:
    farm.submit()
    farm.run()
    with pytest.raises(NotNewer, match="which is on its way already"):
        farm.submit(greeting="hello again\n")
    assert len(farm.store.updates()) == 1


def test_a_newer_version_may_follow_one_that_is_on_its_way(farm: Farm) -> None:
    first, second = farm.submit(), farm.submit("1.0-1+deb12u2")
    farm.run()
    assert {farm.state(first), farm.state(second)} == {S.AWAITING_APPROVAL}


def test_a_version_that_failed_or_was_taken_back_may_come_again(farm: Farm) -> None:
    first = farm.submit()
    farm.coordinator.withdraw(first, "sam", "forgot a patch")
    second = farm.submit(greeting="hello again\n")
    farm.run()
    assert farm.state(second) == S.AWAITING_APPROVAL


def test_the_same_version_may_go_to_two_suites(farm: Farm) -> None:
    first, second = farm.submit(), farm.submit(suite="trixie-security")
    farm.run()
    assert [farm.update(number).suite for number in (first, second)] == [SUITE, "trixie-security"]


def test_an_update_that_failed_does_not_come_back_beside_the_one_that_took_its_place(farm: Farm) -> None:
    first = farm.submit()
    farm.engine.tick()
    farm.coordinator.cancel(first, "sam")
    farm.submit(greeting="hello again\n")
    with pytest.raises(NotNewer, match="which is on its way already"):
        farm.coordinator.retry(first, "sam")
    assert farm.state(first) == S.FAILED


def test_a_suite_without_a_recipe_is_unknown(farm: Farm) -> None:
    with pytest.raises(UnknownName, match="there is no recipe for the suite 'sid'"):
        farm.submit(suite="sid")


def test_a_full_disk_keeps_nothing_of_a_submission(farm: Farm) -> None:
    files = farm.bring(farm.source())
    farm.blobs.full = True
    with pytest.raises(DiskFull):
        farm.coordinator.submit("sam", SUITE, files, None)
    assert farm.store.updates() == []


def test_a_source_of_the_archive_needs_nobody_to_sign_it(farm: Farm) -> None:
    farm.archive.put(SUITE, "hello", VERSION, farm.source(key=MALLORY))
    number = farm.coordinator.submit_from_archive("sam", SUITE, "hello", None).id
    farm.run()
    farm.approve(number, ALICE, BOB)
    farm.run()
    source = farm.update(number).source
    assert (source.origin, source.signed_by, source.version) == (Origin.ARCHIVE, "", VERSION)
    assert farm.state(number) == S.PUBLISHED


def test_the_archive_gives_its_newest_version_unless_another_is_named(farm: Farm) -> None:
    for version in ("1.0-1", VERSION):
        farm.archive.put(SUITE, "hello", version, farm.source(version))
    older = farm.coordinator.submit_from_archive("sam", SUITE, "hello", "1.0-1")
    newest = farm.coordinator.submit_from_archive("sam", SUITE, "hello", None)
    assert (older.source.version, newest.source.version) == ("1.0-1", VERSION)


def test_the_archive_is_searched_in_the_recipes_order_of_suites(farm: Farm) -> None:
    farm.archive.put("bookworm", "hello", "1.0-1", farm.source("1.0-1"))
    assert farm.coordinator.submit_from_archive("sam", SUITE, "hello", None).source.version == "1.0-1"
    farm.archive.put(SUITE, "hello", VERSION, farm.source())
    assert farm.coordinator.submit_from_archive("sam", SUITE, "hello", None).source.version == VERSION


def test_an_archive_that_cannot_be_reached_keeps_nothing(farm: Farm) -> None:
    farm.archive.put(SUITE, "hello", VERSION, farm.source())
    farm.archive.unreachable = "the mirror does not answer"
    with pytest.raises(ArchiveUnreachable, match="the mirror does not answer"):
        farm.coordinator.submit_from_archive("sam", SUITE, "hello", None)
    assert (farm.store.updates(), farm.store.outbox) == ([], {})


def test_a_file_that_the_archive_lost_keeps_no_update(farm: Farm) -> None:
    paths = farm.source()
    farm.archive.put(SUITE, "hello", VERSION, paths)
    farm.archive.gone.add(paths[2].name)
    with pytest.raises(ArchiveUnreachable, match="is not there"):
        farm.coordinator.submit_from_archive("sam", SUITE, "hello", None)
    farm.archive.gone.clear()
    assert farm.coordinator.submit_from_archive("sam", SUITE, "hello", None).id == 1


def test_an_archive_whose_file_is_not_what_its_index_says_is_not_believed(farm: Farm) -> None:
    paths = farm.source()
    farm.archive.put(SUITE, "hello", "2.0-1", paths)
    with pytest.raises(BadSource, match=r"the index says hello 2\.0-1"):
        farm.coordinator.submit_from_archive("sam", SUITE, "hello", None)
    assert farm.store.updates() == []


def test_a_source_that_the_archive_does_not_have_is_unknown(farm: Farm) -> None:
    with pytest.raises(UnknownName, match=r"there is no source 'hello 3\.0' in bookworm-security, bookworm"):
        farm.coordinator.submit_from_archive("sam", SUITE, "hello", "3.0")


def test_an_update_that_failed_does_not_come_back_after_a_newer_one_was_published(farm: Farm) -> None:
    first = farm.submit()
    farm.engine.tick()
    farm.coordinator.cancel(first, "sam")
    second = farm.submit("1.0-1+deb12u2")
    farm.run()
    farm.approve(second, ALICE, BOB)
    farm.run()
    assert farm.state(second) == S.PUBLISHED
    with pytest.raises(NotNewer, match=r"is not newer than 1\.0-1\+deb12u2, which the archive has already"):
        farm.coordinator.retry(first, "sam")
    assert farm.state(first) == S.FAILED


def test_of_two_submissions_that_were_looked_at_together_one_is_kept(farm: Farm) -> None:
    files = farm.bring(farm.source())
    looked_at = farm.reception.uploaded("sam", SUITE, files, None)
    farm.coordinator.submit("sam", SUITE, files, None)
    with pytest.raises(NotNewer, match="which is on its way already"):
        farm.coordinator._begin(looked_at)
    assert len(farm.store.updates()) == 1
