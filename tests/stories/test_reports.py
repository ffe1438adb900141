# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers are believed as little as can be: for the attempt they hold, as they signed on, for files that are here."""

from dataclasses import replace
from io import BytesIO

import pytest

from coordinator.errors import BadRequest, BadSource, Blame, Fenced
from coordinator.model import JobState, sha256_of
from coordinator.model import UpdateState as S
from tests.fakes.workshop import Host, ordinary
from tests.farm import LEASE, SUITE, Farm
from workers.sandbox.fake import Play
from workers.wire.arch import Arch, Tier
from workers.wire.order import JobKind
from workers.wire.report import Artifact, Offer, Outcome, Report

BUILD, TEST = JobKind.BUILD, JobKind.TEST


DEB = b"deb"


@pytest.fixture
def number(farm: Farm) -> int:
    """An update whose build on amd64 may be claimed."""
    number = farm.submit(tested=False)
    farm.engine.tick()
    farm.engine.tick()
    return number


def holds(farm: Farm, number: int, host: Host, *names: str) -> Report:
    """The worker has the build on amd64, has brought a file, and would report it under these names."""
    key, sha256 = farm.update(number).key(farm.job(number)), sha256_of(DEB)
    host.wire.claim()
    farm.coordinator.bring(host.name, key, 1, sha256, len(DEB), BytesIO(DEB))
    artifacts = tuple(Artifact(name, sha256, len(DEB)) for name in names)
    return Report(key, 1, Outcome.FINISHED, "", (), artifacts, "0" * 64, "image", Tier.NATIVE, host.name)


def test_nothing_is_looked_at_for_a_worker_that_does_not_hold_the_attempt(farm: Farm, number: int) -> None:
    said = holds(farm, number, farm.hosts[0], "summary")
    with pytest.raises(Fenced, match="is not w-arm64's"):
        farm.coordinator.report("w-arm64", replace(said, worker="w-arm64"))
    with pytest.raises(Fenced, match="attempt 2 is not w-amd64's"):
        farm.coordinator.report("w-amd64", replace(said, attempt=2))


def test_a_size_that_is_not_the_files_own_is_refused(farm: Farm, number: int) -> None:
    said = holds(farm, number, farm.hosts[0], "hello_1_amd64.deb")
    lie = replace(said.artifacts[0], size=4)
    with pytest.raises(BadRequest, match=r"'hello_1_amd64\.deb' has 3 bytes, 4 were reported"):
        farm.coordinator.report("w-amd64", replace(said, artifacts=(lie,)))
    assert (farm.job(number).state, farm.job(number).farm_faults) == (JobState.QUEUED, 1)


def test_a_worker_that_knows_a_digest_cannot_report_the_file_of_another_update_as_its_own(
    farm: Farm, number: int
) -> None:
    secret = farm.update(farm.submit(name="secret", tested=False)).source.dsc
    said = holds(farm, number, farm.hosts[0])
    stolen = Artifact("hello_1_amd64.deb", secret.sha256, secret.size)
    with pytest.raises(BadRequest, match=r"'hello_1_amd64\.deb' was not brought by this attempt"):
        farm.coordinator.report("w-amd64", replace(said, artifacts=(stolen,)))
    assert (farm.job(number).state, farm.job(number).failed_on) == (JobState.QUEUED, ("w-amd64",))


def test_to_bring_a_file_that_is_here_one_has_to_have_it(farm: Farm, number: int) -> None:
    secret = farm.update(farm.submit(name="secret", tested=False)).source.dsc
    key = holds(farm, number, farm.hosts[0]).job
    with pytest.raises(BadSource):
        farm.coordinator.bring("w-amd64", key, 1, secret.sha256, secret.size, BytesIO(b"?" * secret.size))
    assert secret.sha256 not in farm.store.brought(key, 1)


def test_what_an_attempt_brought_no_other_can_report(farm: Farm, number: int) -> None:
    said = holds(farm, number, farm.hosts[0], "hello_1_amd64.deb")
    farm.wait(2 * LEASE)
    farm.hosts[0].wire.claim()
    with pytest.raises(BadRequest, match="was not brought by this attempt"):
        farm.coordinator.report("w-amd64", replace(said, attempt=2))


def test_nothing_is_read_from_a_worker_that_does_not_hold_the_attempt(farm: Farm, number: int) -> None:
    key = holds(farm, number, farm.hosts[0]).job
    stream = BytesIO(b"evil")
    for worker, attempt in (("w-arm64", 1), ("w-amd64", 2)):
        with pytest.raises(Fenced):
            farm.coordinator.bring(worker, key, attempt, sha256_of(b"evil"), 4, stream)
    assert stream.tell() == 0


def test_the_log_of_an_attempt_is_written_by_the_worker_that_has_it_and_no_longer_than_it_has(
    farm: Farm, number: int
) -> None:
    key = holds(farm, number, farm.hosts[0]).job
    assert farm.coordinator.add_to_log("w-amd64", key, 1, 0, b"one") == 3
    for worker, attempt in (("w-arm64", 1), ("w-amd64", 2)):
        with pytest.raises(Fenced):
            farm.coordinator.add_to_log(worker, key, attempt, 0, b"two")
    farm.coordinator.withdraw(number, "sam", "")
    with pytest.raises(Fenced):
        farm.coordinator.add_to_log("w-amd64", key, 1, 3, b"two")
    assert farm.logs.read(key, 1, 0, 9) == b"one"


def test_a_worker_fills_the_farms_disk_with_no_more_than_the_recipe_allows(farm: Farm, number: int) -> None:
    key = holds(farm, number, farm.hosts[0]).job
    limits = farm.recipes.of_suite(SUITE)[0].limits.limits()
    stream = BytesIO(b"x")
    with pytest.raises(BadRequest, match="more than its recipe allows"):
        farm.coordinator.bring("w-amd64", key, 1, "0" * 64, limits.output_bytes, stream)
    assert stream.tell() == 0
    for each in range(limits.output_files):
        farm.store.arrived(key, 1, sha256_of(str(each)), 1)
    with pytest.raises(BadRequest, match="more than its recipe allows"):
        farm.coordinator.bring("w-amd64", key, 1, "0" * 64, 1, stream)
    with pytest.raises(BadRequest, match="longer than its recipe allows"):
        farm.coordinator.add_to_log("w-amd64", key, 1, limits.log_bytes + (64 << 20), b"x")


@pytest.mark.parametrize(("names", "why"), [(["a:b.deb"], "is no plain one: 'a:b.deb'"), (["a.deb", "a.deb"], "same")])
def test_files_whose_names_are_none_fail_the_build_and_are_not_kept(
    farm: Farm, number: int, names: list[str], why: str
) -> None:
    said = holds(farm, number, farm.hosts[0], *names)
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


@pytest.mark.parametrize("outcome", [Outcome.BROKEN, Outcome.GIVEN_BACK, Outcome.UNINSTALLABLE, Outcome.OUT_OF_TIME])
def test_a_reason_that_is_far_too_long_is_cut(farm: Farm, number: int, outcome: Outcome) -> None:
    said = holds(farm, number, farm.hosts[0])
    farm.coordinator.report("w-amd64", replace(said, outcome=outcome, reason="because " * 10_000))
    job = farm.job(number)
    assert 100 < len(job.reason) <= 2000
    assert job.report is None or len(job.report.reason) <= 2000
    assert len(farm.store.history(number)[-1].detail) < 3000
