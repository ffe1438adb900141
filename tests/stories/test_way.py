# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole way of an update: from a maintainer's disk to the archive, on every architecture."""

from coordinator.model import JobState, Urgency, Verdict
from coordinator.model import UpdateState as S
from tests.farm import ALICE, BOB, SAM, SUITE, VERSION, Farm
from tests.sources import make_changes
from workers.sandbox.fake import Play
from workers.wire.arch import Arch, Tier
from workers.wire.order import JobKind

BUILD, TEST = JobKind.BUILD, JobKind.TEST


def test_an_update_goes_the_whole_way(farm: Farm) -> None:
    number = farm.submit()
    farm.run()
    assert farm.state(number) == S.AWAITING_APPROVAL
    farm.approve(number, ALICE, BOB)
    farm.run()
    assert farm.state(number) == S.PUBLISHED
    assert farm.target.versions(SUITE, "hello") == [VERSION]


def test_its_history_tells_the_way(farm: Farm) -> None:
    number = farm.submit()
    farm.run()
    farm.approve(number, ALICE, BOB)
    farm.run()
    work = ["JobClaimed", "JobEnded"] * 4
    end = ["Approved", "Approved", "Signed", "Uploaded", "Published"]
    assert farm.events(number) == ["SourceAccepted", "Planned", *work, *end]


def test_what_is_published_is_every_file_that_was_built_and_one_changes(farm: Farm) -> None:
    number = farm.submit()
    farm.run()
    farm.approve(number, ALICE, BOB)
    farm.run()
    assert {f"hello_{VERSION}_amd64.deb", f"hello_{VERSION}_arm64.deb"} <= set(farm.target.files)
    assert {file.name for file in farm.update(number).source.files} <= set(farm.target.files)
    assert [name for name in farm.uploader.sent if name.endswith(".changes")] == [f"hello_{VERSION}_multi.changes"]
    assert farm.uploader.sent[-1] == f"hello_{VERSION}_multi.changes"


def test_every_job_keeps_who_did_it_and_what_came_out(farm: Farm) -> None:
    number = farm.submit()
    farm.run()
    build, test = farm.job(number, BUILD, Arch.ARM64), farm.job(number, TEST, Arch.ARM64)
    assert (build.worker, build.tier, build.attempt) == ("w-arm64", Tier.NATIVE, 1)
    assert build.report is not None
    assert f"hello_{VERSION}_arm64.deb" in [artifact.name for artifact in build.report.artifacts]
    assert [(result.name, result.verdict) for result in test.tests] == [("greets", Verdict.PASS)]


def test_the_log_of_an_attempt_is_kept(farm: Farm) -> None:
    number = farm.submit()
    farm.run()
    job = farm.job(number)
    log = farm.coordinator.logs.read(farm.update(number).key(job), job.attempt, 0, 10_000)
    assert b"dpkg-buildpackage\n" in log


def test_a_package_without_tests_goes_from_its_builds_to_people(farm: Farm) -> None:
    number = farm.submit(tested=False)
    farm.run()
    assert farm.update(number).of_kind(TEST) == ()
    assert farm.state(number) == S.AWAITING_APPROVAL


def test_what_is_for_all_architectures_is_built_once_and_by_itself(farm: Farm) -> None:
    number = farm.submit(architecture="any all")
    farm.run()
    builds = farm.update(number).of_kind(BUILD)
    assert [job.arch for job in builds] == [Arch.AMD64, Arch.ARM64, Arch.ALL]
    assert farm.job(number, BUILD, Arch.ALL).worker == "w-amd64"
    names = [file.name for file in farm.update(number).built_files()]
    assert names.count(f"hello-data_{VERSION}_all.deb") == 1


def test_a_package_for_all_architectures_alone_is_tested_where_it_was_built(farm: Farm) -> None:
    number = farm.submit(architecture="all")
    farm.run()
    assert [(job.kind, job.arch) for job in farm.update(number).jobs] == [(BUILD, Arch.ALL), (TEST, Arch.AMD64)]
    assert farm.state(number) == S.AWAITING_APPROVAL


def test_a_test_gets_its_own_architectures_packages_and_those_for_all(farm: Farm) -> None:
    farm.submit(architecture="any all")
    farm.run()
    put = [name for host in farm.hosts if host.name == "w-arm64" for name in host.bench.put_names]
    debs = [name.partition("/")[2] for name in put if name.endswith(".deb")]
    assert sorted(debs) == [f"hello-data_{VERSION}_all.deb", f"hello_{VERSION}_arm64.deb"]


def test_a_test_begins_before_the_other_architecture_is_built(farm: Farm) -> None:
    farm.hosts[1].up = False
    number = farm.submit()
    farm.run()
    assert farm.job(number, TEST, Arch.AMD64).state == JobState.SUCCEEDED
    assert farm.job(number, BUILD, Arch.ARM64).state == JobState.QUEUED
    assert farm.state(number) == S.BUILDING


def test_two_updates_do_not_disturb_each_other(farm: Farm) -> None:
    farm.will(BUILD, Arch.ARM64, Play(exit_code=2))
    first = farm.submit()
    farm.run()
    farm.mend()
    second = farm.submit("1.0-1+deb12u2")
    farm.run()
    assert (farm.state(first), farm.state(second)) == (S.FAILED, S.AWAITING_APPROVAL)


def test_a_changes_file_says_how_urgent_it_is(farm: Farm) -> None:
    paths = farm.source()
    files = farm.bring([*paths, make_changes(paths, SAM, urgency="critical")])
    assert farm.coordinator.submit("sam", SUITE, files, None).urgency == Urgency.CRITICAL
