# SPDX-License-Identifier: GPL-3.0-or-later
"""One ring of the doorbell on a fake engine: what is reported, and that nothing is left behind."""

import dataclasses
import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.workers.kit import JOB, Bench, MemoryFarm, order, tools, worker
from workers import held
from workers.attempt import Tools
from workers.ending import End
from workers.errors import Refused, StrangeOrder
from workers.images import Base
from workers.sandbox import SandboxError, Spec
from workers.sandbox.fake import FakeLayers, FakeSandbox, Play
from workers.wire.arch import Arch, Tier
from workers.wire.codec import decode
from workers.wire.order import Input, JobKey, Limits, Order
from workers.wire.report import Artifact, Heartbeat, Outcome, Report

_UNMET = b"""The following packages have unmet dependencies:
 builddeps:./a_1.dsc : Depends: libfoo-dev (>= 9) but it is not installable
E: Unable to correct problems, you have held broken packages.
"""
_MIRROR = b"E: Failed to fetch http://mirror.invalid/Packages  File has unexpected size (1 != 2). Mirror sync?\n"


def test_a_build_reports_its_steps_its_files_and_the_image_it_ran_in(tmp_path: Path) -> None:
    bench = Bench(tmp_path, compile=Play(makes={"a_1_amd64.deb": b"deb", "tree/not.deb": b""}))
    report = bench.work()
    assert (report.outcome, report.reason) == (Outcome.FINISHED, "")
    assert [step.name for step in report.steps] == ["base image", "depends", "compile"]
    assert [(file.name, bench.farm.blobs[file.sha256]) for file in report.artifacts] == [("a_1_amd64.deb", b"deb")]
    assert (report.image, report.tier, report.worker) == ("sha256:base", Tier.NATIVE, "w1")


def test_what_the_image_had_to_leave_out_is_in_the_report_and_in_the_log(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert bench.work().left_out == ("security amd64: mid-sync",)
    assert "== left out: security amd64: mid-sync\n" in bench.log


def test_the_log_says_how_each_step_runs(tmp_path: Path) -> None:
    bench = Bench(tmp_path, order(runtime="runsc"))
    bench.work()
    assert "== step depends: as root, network mirror, runtime runsc\n" in bench.log
    assert "== step compile: as builder, network none, runtime runsc\n" in bench.log


def test_the_log_that_was_sent_is_the_one_whose_digest_is_reported(tmp_path: Path) -> None:
    bench = Bench(tmp_path, compile=Play(b"cc -c a.c\n", exit_code=2))
    report = bench.work()
    assert "cc -c a.c\n" in bench.log
    assert bench.log.endswith("== compile ended with exit code 2\n")
    assert report.log_sha256 == hashlib.sha256(bench.farm.written).hexdigest()


def test_a_packages_own_steps_run_from_what_the_preparing_ones_made_and_only_they_see_its_files(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.work()
    first, second = bench.sandbox.specs
    assert first.image == "sha256:base"
    assert second.image == f"layer-of-{first.name}"
    assert bench.sandbox.put_names == ["compile/a_1.dsc"]


def test_where_the_mirror_says_nothing_a_step_runs_from_the_image_of_the_one_before(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.layers.mirror = ""
    bench.work()
    first, second = bench.sandbox.specs
    assert second.image == f"image-of-{first.name}"


def test_dependencies_that_are_kept_are_not_installed_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    cold = bench.work()
    bench.farm.claims = 0
    warm = bench.work()
    assert [step.name for step in warm.steps] == ["base image", "compile"]
    assert bench.sandbox.specs[2].image == bench.sandbox.specs[1].image
    assert warm.packages_sha256 == cold.packages_sha256 != ""


def test_a_container_carries_the_attempt_in_its_name(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.work()
    assert bench.sandbox.specs[1].name == "patchfarm-testfarm-7-build-amd64-3-1-compile"


@pytest.mark.parametrize(
    "play", [Play(), Play(exit_code=1), Play(fails="no space left"), Play(b"x" * 10_000, endless=True)]
)
def test_nothing_is_left_behind_however_it_ends(tmp_path: Path, play: Play) -> None:
    bench = Bench(tmp_path, compile=play)
    bench.work()
    assert not bench.sandbox.alive
    assert not bench.sandbox.images
    assert not list(tmp_path.glob("attempts/*"))


def test_a_failing_step_stops_the_order_and_its_files_are_still_collected(tmp_path: Path) -> None:
    bench = Bench(tmp_path, compile=Play(exit_code=4, makes={"autopkgtest/summary": b"smoke FAIL"}))
    report = bench.work()
    assert (report.outcome, report.exit_code) == (Outcome.FINISHED, 4)
    assert [file.name for file in report.artifacts] == ["summary"]


def test_files_of_an_earlier_step_are_collected_after_the_last(tmp_path: Path) -> None:
    bench = Bench(tmp_path, depends=Play(makes={"early.deb": b"1", "gone.txt": b""}), compile=Play())
    assert [file.name for file in bench.work().artifacts] == ["early.deb"]


def test_dependencies_that_cannot_be_met_are_named(tmp_path: Path) -> None:
    bench = Bench(tmp_path, depends=Play(_UNMET, exit_code=100))
    bench.images.base = Base("sha256:base")
    report = bench.work()
    assert report.outcome is Outcome.UNINSTALLABLE
    assert "libfoo-dev (>= 9) but it is not installable" in report.reason
    assert not bench.images.forgotten


def test_an_image_without_an_index_in_which_the_dependencies_may_be_is_made_anew(tmp_path: Path) -> None:
    bench = Bench(tmp_path, depends=Play(_UNMET, exit_code=100))
    report = bench.work()
    assert (report.outcome, report.left_out) == (Outcome.UNINSTALLABLE, ("security amd64: mid-sync",))
    assert [arch for _, arch in bench.images.forgotten] == [Arch.AMD64]


def test_a_mirror_that_does_not_verify_is_the_farms_fault_and_the_image_is_made_anew(tmp_path: Path) -> None:
    bench = Bench(tmp_path, depends=Play(_MIRROR + _UNMET, exit_code=100))
    report = bench.work()
    assert (report.outcome, report.exit_code) == (Outcome.BROKEN, 100)
    assert "File has unexpected size" in report.reason
    assert [arch for _, arch in bench.images.forgotten] == [Arch.AMD64]


def test_a_preparing_step_that_breaks_by_itself_costs_no_image(tmp_path: Path) -> None:
    broken = (
        b"dpkg: error processing package a (--configure):\nE: Sub-process /usr/bin/dpkg returned an error code (1)\n"
    )
    bench = Bench(tmp_path, depends=Play(broken, exit_code=100))
    assert bench.work().outcome is Outcome.BROKEN
    assert not bench.images.forgotten


def test_a_step_whose_way_to_the_mirror_takes_long_can_be_told_to_stop(tmp_path: Path) -> None:
    class Slow(FakeSandbox):
        def create(self, spec: Spec, check: Callable[[], None] = lambda: None) -> str:
            bench.ending = End.STOP
            return super().create(spec, check)

    bench = Bench(tmp_path)
    bench.sandbox.__class__ = Slow
    assert bench.work().reason == "the worker was shut down"
    assert not bench.sandbox.started


def test_a_lease_that_is_lost_between_two_files_brings_no_second(tmp_path: Path) -> None:
    class Losing(MemoryFarm):
        def bring(self, job: JobKey, attempt: int, artifact: Artifact, path: Path) -> None:
            super().bring(job, attempt, artifact, path)
            bench.ending = End.STOP

    bench = Bench(tmp_path, compile=Play(makes={"a.deb": b"a", "b.deb": b"b"}))
    bench.farm.__class__ = Losing
    before = len(bench.farm.blobs)
    assert bench.work().reason == "the worker was shut down"
    assert len(bench.farm.blobs) == before + 1


def test_a_log_over_its_limit_is_cut_and_named(tmp_path: Path) -> None:
    limits = Limits(60, 1, 1, 1, 1, 1000, 1, 1)
    bench = Bench(tmp_path, order(limits=limits), compile=Play(b"y\n" * 100, endless=True))
    report = bench.work()
    assert (report.outcome, report.exit_code) == (Outcome.LOG_TOO_LONG, 137)
    assert report.reason == "the log reached its limit of 1000 bytes"
    assert len(bench.farm.written) < 1500


def test_the_time_limit_is_named(tmp_path: Path) -> None:
    bench = Bench(tmp_path, order(limits=Limits(0, 1, 1, 1, 1, 1 << 30, 1, 1)), depends=Play(endless=True))
    assert bench.work().outcome is Outcome.OUT_OF_TIME


def test_waiting_for_what_another_attempt_makes_takes_none_of_the_time(tmp_path: Path) -> None:
    class Busy(FakeLayers):
        @contextmanager
        def making(self, key: str, check: Callable[[], None]) -> Iterator[None]:
            [written] = tmp_path.glob("attempts/*/progress.json")
            assert decode(held.Progress, written.read_bytes()).until == 0
            with super().making(key, check):
                yield

    bench = Bench(tmp_path)
    bench.worker = worker(
        tmp_path, bench.farm, lambda: tools(bench.farm, bench.sandbox, bench.images, Busy()), bench.worker.ending
    )
    assert bench.work().outcome is Outcome.FINISHED


def test_running_out_of_memory_is_not_a_failed_build(tmp_path: Path) -> None:
    bench = Bench(tmp_path, compile=Play(exit_code=2, out_of_memory=True))
    assert bench.work().outcome is Outcome.OUT_OF_MEMORY


def test_a_build_that_did_without_what_ran_out_of_memory_has_not_failed(tmp_path: Path) -> None:
    bench = Bench(tmp_path, compile=Play(out_of_memory=True))
    assert bench.work().outcome is Outcome.FINISHED


def test_a_package_that_ends_by_a_signal_before_our_eyes_has_failed(tmp_path: Path) -> None:
    report = Bench(tmp_path, compile=Play(exit_code=137)).work()
    assert (report.outcome, report.exit_code) == (Outcome.FINISHED, 137)


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path, compile=Play(makes={f"{number}.deb": b"" for number in range(11)}))
    report = bench.work()
    assert (report.outcome, report.artifacts) == (Outcome.OUTPUT_TOO_LARGE, ())


def test_too_large_files_are_refused_by_their_sum(tmp_path: Path) -> None:
    bench = Bench(tmp_path, compile=Play(makes={"a.deb": bytes(600_000), "b.deb": bytes(600_000)}))
    report = bench.work()
    assert (report.outcome, report.artifacts) == (Outcome.OUTPUT_TOO_LARGE, ())


def test_a_file_with_a_name_no_file_may_have_stays_behind_and_is_named(tmp_path: Path) -> None:
    bench = Bench(tmp_path, compile=Play(makes={"-rf.deb": b"", "a b.deb": b"", "ok.deb": b""}))
    assert [file.name for file in bench.work().artifacts] == ["ok.deb"]
    assert "not collected: '-rf.deb'" in bench.log


def test_a_lost_lease_stops_the_container_and_reports_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, order(lease_seconds=0), compile=Play(endless=True))
    claim = bench.farm.claim
    bench.farm.claim = lambda: _then_fence(bench.farm, claim())  # type: ignore[method-assign]  # a double
    bench.worker.work()
    assert not bench.farm.reports
    assert not bench.sandbox.alive


def _then_fence(farm: MemoryFarm, given: Order) -> Order:
    farm.fenced = True
    return given


def test_a_cancelled_attempt_stops_and_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, order(lease_seconds=0), compile=Play(endless=True))
    bench.farm.cancel = True
    assert bench.work().outcome is Outcome.CANCELLED


def test_a_worker_that_is_to_stop_hands_its_attempt_back(tmp_path: Path) -> None:
    bench = Bench(tmp_path, compile=Play(endless=True))
    bench.farm.claim = lambda: _then_end(bench, End.STOP)  # type: ignore[method-assign]  # a double
    report = bench.work()
    assert (report.outcome, report.reason) == (Outcome.GIVEN_BACK, "the worker was shut down")
    assert not bench.sandbox.alive


def _then_end(bench: Bench, how: End) -> Order:
    bench.ending = how
    return bench.farm.given


def test_a_worker_that_ends_claims_nothing_more(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.ending = End.LET_GO
    bench.worker.work()
    assert bench.farm.claims == 0


def test_an_order_for_an_architecture_it_does_not_offer_is_handed_back(tmp_path: Path) -> None:
    bench = Bench(tmp_path, order(host=Arch.S390X))
    assert bench.work().reason == "this worker does not offer s390x"


@pytest.mark.parametrize("sha256", ["/tmp/pwned", "../../pwned", "A" * 64, ""])
def test_an_input_whose_digest_is_none_is_never_written(tmp_path: Path, sha256: str) -> None:
    bench = Bench(tmp_path, order(inputs=(Input("a_1.dsc", sha256, 3),)))
    bench.farm.blobs[sha256] = b"bad"
    report = bench.work()
    assert report.outcome == Outcome.BROKEN
    assert "cannot be one" in report.reason
    assert bench.sandbox.specs == []


def test_a_log_that_does_not_arrive_ends_the_attempt_at_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, compile=Play(b"again\n", endless=True))
    bench.farm.log_fails = True
    report = bench.work()
    assert report.outcome == Outcome.BROKEN
    assert "the log did not arrive" in report.reason


def test_the_lease_is_kept_until_the_report_has_arrived(tmp_path: Path) -> None:
    class Slow(MemoryFarm):
        """Takes its time with a report: until the lease was renewed meanwhile."""

        def renew(self, job: JobKey, attempt: int) -> Heartbeat:
            renewed.set()
            return super().renew(job, attempt)

        def report(self, report: Report) -> None:
            renewed.clear()
            assert renewed.wait(30)
            super().report(report)

    renewed = threading.Event()
    bench = Bench(tmp_path)
    bench.farm = Slow(order(lease_seconds=1))
    bench.worker = dataclasses.replace(bench.worker, farm=bench.farm)
    assert bench.work().outcome == Outcome.FINISHED


def test_an_engine_that_is_not_there_is_reported_in_one_line(tmp_path: Path) -> None:
    def none() -> Tools:
        raise SandboxError("the container engine does not answer")

    farm = MemoryFarm()
    worker(tmp_path, farm, none, lambda: End.NOT_YET).work()
    assert (farm.reports[0].outcome, farm.reports[0].reason) == (
        Outcome.BROKEN,
        "the container engine does not answer",
    )


def test_a_report_that_is_refused_is_not_made_again_and_again(tmp_path: Path) -> None:
    class Strict(MemoryFarm):
        def report(self, report: Report) -> None:
            super().report(report)
            raise Refused("the coordinator answered 400")

    bench = Bench(tmp_path)
    bench.farm.__class__ = Strict
    assert bench.work().outcome is Outcome.FINISHED
    assert held.orphans(tmp_path) == []
    assert not bench.sandbox.alive


def test_a_worker_without_room_for_an_attempt_hands_it_back(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (tmp_path / "attempts").write_text("in the way, as a full disk would be")
    assert "the worker's disk" in bench.work().reason


def test_an_engine_without_space_is_the_farms_fault(tmp_path: Path) -> None:
    bench = Bench(tmp_path, compile=Play(fails="the container engine: no space left on device"))
    report = bench.work()
    assert (report.outcome, report.reason) == (Outcome.BROKEN, "the container engine: no space left on device")


def test_an_order_that_cannot_be_read_is_reported_and_not_kept(tmp_path: Path) -> None:
    class Newer(MemoryFarm):
        def claim(self) -> Order:
            super().claim()
            raise StrangeOrder(JOB, 3, "Order: speaks version 2, this side speaks 1")

    farm = Newer()
    worker(tmp_path, farm, lambda: pytest.fail("no engine is needed"), lambda: End.NOT_YET).work()
    assert "speaks version 2" in farm.reports[0].reason


def test_an_unexpected_error_still_ends_in_a_report(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.farm.blobs.clear()
    report = bench.work()
    assert (report.outcome, report.reason.partition(":")[0]) == (Outcome.BROKEN, "KeyError")
