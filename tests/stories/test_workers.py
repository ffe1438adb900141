# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers come and go, and nothing that they had is lost."""

import pytest

from coordinator.duty import Presence
from coordinator.errors import IllegalMove, NotAllowed
from coordinator.model import SILENT_AFTER, JobState
from coordinator.model import UpdateState as S
from tests.farm import Farm
from workers.wire.arch import Arch

CLAIM = "0123456789abcdef"


def presence(farm: Farm) -> dict[str, Presence]:
    return {duty.worker.name: duty.presence for duty in farm.coordinator.duties()}


def test_a_worker_is_silent_when_it_is_not_heard_and_up_when_it_is_again(farm: Farm) -> None:
    farm.store.drain("w-arm64", True)
    assert presence(farm) == {"w-amd64": Presence.UP, "w-arm64": Presence.DRAINING}
    farm.clock.move(SILENT_AFTER.total_seconds() + 1)
    assert set(presence(farm).values()) == {Presence.SILENT}
    farm.pass_time(0)
    assert presence(farm) == {"w-amd64": Presence.UP, "w-arm64": Presence.DRAINING}


def test_what_a_worker_has_is_told_while_it_has_it(farm: Farm) -> None:
    farm.hosts[0].dies = True
    number = farm.submit(tested=False)
    farm.run()
    (duty,) = (duty for duty in farm.coordinator.duties() if duty.worker.name == "w-amd64")
    assert [(held.job.update, held.job.arch, held.attempt) for held in duty.attempts] == [(number, Arch.AMD64, 1)]
    farm.coordinator.dismiss("w-amd64", force=True)
    farm.run()


def test_a_worker_at_work_is_removed_by_force_alone_and_another_takes_over_at_once(farm: Farm) -> None:
    farm.hosts[0].dies = True
    number = farm.submit(tested=False)
    farm.run()
    farm.worker("w-second", Arch.AMD64)
    with pytest.raises(IllegalMove, match="w-amd64 has 1"):
        farm.coordinator.dismiss("w-amd64", force=False)
    farm.coordinator.dismiss("w-amd64", force=True)
    farm.run()
    job = farm.job(number)
    assert (job.attempt, job.worker, job.state) == (2, "w-second", JobState.SUCCEEDED)
    assert farm.state(number) == S.AWAITING_APPROVAL
    assert any("w-amd64 was removed" in entry.detail for entry in farm.store.history(number))


def test_a_worker_reads_the_files_of_what_it_has_and_no_longer_than_it_has_it(farm: Farm) -> None:
    number = farm.submit(tested=False)
    dsc = farm.update(number).source.dsc.sha256
    farm.hosts[0].dies = True
    farm.run()
    assert farm.coordinator.file_for("w-amd64", dsc) == farm.blobs.path(dsc)
    with pytest.raises(NotAllowed):
        farm.coordinator.file_for("w-arm64", dsc)
    farm.coordinator.withdraw(number, "sam", "")
    with pytest.raises(NotAllowed):
        farm.coordinator.file_for("w-amd64", dsc)


def test_a_worker_that_was_removed_gets_nothing(farm: Farm) -> None:
    farm.coordinator.dismiss("w-amd64", force=False)
    farm.hosts[0].up = False
    with pytest.raises(NotAllowed):
        farm.coordinator.claim("w-amd64", CLAIM)


def test_what_a_worker_claims_in_the_moment_in_which_it_is_removed_is_given_to_others(farm: Farm) -> None:
    number = farm.submit(tested=False)
    farm.engine.tick()
    farm.store.meanwhile = farm.hosts[0].wire.claim
    farm.coordinator.dismiss("w-amd64", force=False)
    job = farm.job(number)
    assert (job.state, job.attempt, job.farm_faults) == (JobState.QUEUED, 2, 0)
