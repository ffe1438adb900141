# SPDX-License-Identifier: GPL-3.0-or-later
"""What nobody refers to goes after a while; what an update refers to never does."""

import pytest

from coordinator.engine.collector import references
from coordinator.errors import UnknownName
from coordinator.model import JobState
from coordinator.model import UpdateState as S
from tests.farm import ALICE, BOB, UNUSED, Farm
from workers.sandbox.fake import Play
from workers.wire.arch import Arch
from workers.wire.order import JobKind

LONG = UNUSED.total_seconds() + 1
ORPHAN = b"an upload that was never submitted"


def test_what_was_never_submitted_is_gone_after_a_while_and_not_before(farm: Farm) -> None:
    sha256 = farm.blobs.add(ORPHAN)
    farm.collect()
    assert farm.blobs.has(sha256)
    farm.clock.move(LONG)
    farm.collect()
    assert not farm.blobs.has(sha256)


def test_a_published_update_keeps_all_of_its_files_and_logs(farm: Farm) -> None:
    number = farm.submit_and_build()
    farm.approve(number, ALICE, BOB)
    farm.run()
    before = references(farm.update(number))
    for _ in range(3):
        farm.clock.move(LONG)
        farm.collect()
    assert farm.state(number) == S.PUBLISHED
    assert all(map(farm.blobs.has, before))
    assert farm.logs.size(farm.update(number).key(farm.job(number)), 1) > 0


def test_what_a_build_left_that_was_done_again_goes_and_so_does_its_log(farm: Farm) -> None:
    number = farm.submit(tested=False)
    farm.run()
    old = references(farm.update(number))
    failed = farm.submit(name="other", tested=False)
    farm.will(JobKind.BUILD, Arch.AMD64, Play(b"cc1: error\n", exit_code=2))
    farm.run()
    farm.mend("anew")
    farm.coordinator.retry(failed, "carol")
    farm.run()
    key = farm.update(failed).key(farm.job(failed))
    farm.clock.move(LONG)
    farm.collect()
    assert (farm.logs.size(key, 1), farm.logs.size(key, 2) > 0) == (0, True)
    assert all(map(farm.blobs.has, old))


def test_the_log_of_a_report_stays_while_its_job_waits_for_dependencies_and_is_tried_again(farm: Farm) -> None:
    farm.misses("libfoo-dev (>= 2)")
    number = farm.submit(tested=False)
    farm.run()
    farm.hosts[0].up = False
    farm.coordinator.retry(number, "carol")
    farm.clock.move(LONG)
    farm.collect()
    job = farm.job(number)
    assert (job.state, job.attempt) == (JobState.QUEUED, 2)
    assert farm.logs.size(farm.update(number).key(job), 1) > 0


def test_files_that_lay_about_for_long_are_safe_from_the_moment_they_are_submitted(farm: Farm) -> None:
    files = farm.bring(farm.source())
    farm.collect()
    farm.clock.move(LONG)
    farm.engine.tick()
    number = farm.coordinator.submit("sam", "bookworm-security", files, None).id
    farm.collect()
    assert all(map(farm.blobs.has, references(farm.update(number))))


def test_files_that_are_gone_are_asked_for_again(farm: Farm) -> None:
    files = farm.bring(farm.source())
    farm.collect()
    farm.clock.move(LONG)
    farm.collect()
    with pytest.raises(UnknownName):
        farm.coordinator.submit("sam", "bookworm-security", files, None)


def test_a_clock_that_is_set_back_in_the_midst_of_a_round_removes_nothing_that_is_needed(farm: Farm) -> None:
    number = farm.submit(tested=False)
    farm.run()
    farm.clock.move(LONG)
    farm.engine.tick()
    farm.clock.move(-2 * LONG)
    farm.collect()
    assert all(map(farm.blobs.has, references(farm.update(number))))


def test_where_a_file_cannot_be_kept_nothing_is_removed_and_the_farm_goes_on(farm: Farm) -> None:
    number = farm.submit(tested=False)
    farm.run()
    sha256 = farm.blobs.add(ORPHAN)
    farm.blobs.broken = True
    farm.clock.move(LONG)
    farm.collect()
    assert farm.blobs.has(sha256)
    farm.blobs.broken = False
    farm.collect()
    assert not farm.blobs.has(sha256)
    assert farm.state(number) == S.AWAITING_APPROVAL


def test_what_was_carried_out_long_ago_is_forgotten_and_the_update_goes_on(farm: Farm) -> None:
    number = farm.submit_and_build()
    farm.approve(number, ALICE)
    assert farm.store.outbox
    farm.clock.move(LONG)
    farm.collect()
    assert farm.store.outbox == {}
    farm.approve(number, BOB)
    farm.run()
    assert farm.state(number) == S.PUBLISHED
