# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers are believed as little as can be: for the attempt they hold, as they signed on, for files that are here."""

from dataclasses import replace

import pytest

from coordinator.errors import BadRequest, Blame, Fenced
from coordinator.model import JobState
from coordinator.model import UpdateState as S
from tests.fakes.workshop import Host, ordinary
from tests.farm import Farm
from workers.sandbox.fake import Play
from workers.wire.arch import Arch, Tier
from workers.wire.order import JobKind
from workers.wire.report import Artifact, Offer, Outcome, Report

BUILD, TEST = JobKind.BUILD, JobKind.TEST


@pytest.fixture
def number(farm: Farm) -> int:
    """An update whose build on amd64 may be claimed."""
    number = farm.submit(tested=False)
    farm.engine.tick()
    farm.engine.tick()
    return number


def holds(farm: Farm, number: int, host: Host, *artifacts: Artifact) -> Report:
    """The worker has the build on amd64, and would report these files."""
    key = farm.update(number).key(farm.job(number))
    host.wire.claim()
    return Report(key, 1, Outcome.FINISHED, "", (), artifacts, "0" * 64, "image", Tier.NATIVE, host.name)


def kept(farm: Farm, name: str, data: bytes = b"deb") -> Artifact:
    return Artifact(name, farm.blobs.add(data), len(data))


def test_nothing_is_looked_at_for_a_worker_that_does_not_hold_the_attempt(farm: Farm, number: int) -> None:
    said = holds(farm, number, farm.hosts[0], Artifact("summary", "0" * 64, 1))
    with pytest.raises(Fenced, match="is not w-arm64's"):
        farm.coordinator.report("w-arm64", replace(said, worker="w-arm64"))
    with pytest.raises(Fenced, match="attempt 2 is not w-amd64's"):
        farm.coordinator.report("w-amd64", replace(said, attempt=2))


def test_a_size_that_is_not_the_files_own_is_refused(farm: Farm, number: int) -> None:
    lie = replace(kept(farm, "hello_1_amd64.deb"), size=4)
    with pytest.raises(BadRequest, match=r"'hello_1_amd64\.deb' has 3 bytes, 4 were reported"):
        farm.coordinator.report("w-amd64", holds(farm, number, farm.hosts[0], lie))
    assert (farm.job(number).state, farm.job(number).farm_faults) == (JobState.QUEUED, 1)


@pytest.mark.parametrize(("names", "why"), [(["a:b.deb"], "is no plain one: 'a:b.deb'"), (["a.deb", "a.deb"], "same")])
def test_files_whose_names_are_none_fail_the_build_and_are_not_kept(
    farm: Farm, number: int, names: list[str], why: str
) -> None:
    said = holds(farm, number, farm.hosts[0], *(kept(farm, name) for name in names))
    farm.coordinator.report("w-amd64", said)
    job = farm.job(number)
    assert (job.state, job.report) == (JobState.FAILED, replace(said, artifacts=()))
    assert why in job.reason


def test_a_worker_gets_only_what_it_offers(farm: Farm, number: int) -> None:
    assert farm.coordinator.claim("w-arm64", "a" * 16).host == Arch.ARM64
    with pytest.raises(Fenced, match="there is nothing for w-arm64 to do"):
        farm.coordinator.claim("w-arm64", "b" * 16)
    assert farm.job(number).state == JobState.QUEUED


def test_a_worker_is_judged_by_its_latest_offer(farm: Farm, number: int) -> None:
    farm.coordinator.sign_on(Offer("w-amd64", {Arch.AMD64: Tier.EMULATED}, 1, "host", 2, 8 << 30))
    farm.coordinator.claim("w-amd64", "a" * 16)
    assert farm.job(number).tier == Tier.EMULATED


def test_a_build_whose_changes_does_not_fit_its_files_fails_before_anybody_signs(farm: Farm, number: int) -> None:
    key = farm.update(number).key(farm.job(number))
    made = ordinary(farm.update(number), key, "").makes
    farm.will(BUILD, Arch.AMD64, Play(makes={**made, "evil_1_amd64.deb": b"evil"}))
    farm.run()
    update = farm.update(number)
    assert (update.state, update.blame) == (S.FAILED, Blame.PACKAGE)
    assert "does not name what came out: evil_1_amd64.deb" in update.reason


@pytest.mark.parametrize(
    ("summary", "why"),
    [("greets PASS\n" * 1001, "more than 1000 results"), ("greets PASS\n" + "#" * 2**20, "more than 1048576 bytes")],
)
def test_a_summary_that_is_far_too_large_fails_the_test(farm: Farm, summary: str, why: str) -> None:
    farm.tests_say(summary, 0)
    number = farm.submit()
    farm.run()
    assert (farm.state(number), farm.job(number, TEST).tests) == (S.FAILED, ())
    assert why in farm.update(number).reason
