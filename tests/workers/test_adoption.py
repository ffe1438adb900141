# SPDX-License-Identifier: GPL-3.0-or-later
"""An attempt whose process ended, seen through by another: nothing is done twice and nothing is lost."""

import contextlib
import dataclasses
import fcntl
import hashlib
import os
from pathlib import Path

import pytest

from tests.workers.kit import LIMITS, ORDER, Bench, MemoryFarm, order
from workers import held
from workers.ending import End
from workers.keeper import Keeper
from workers.sandbox.fake import Play
from workers.wire.arch import Tier
from workers.wire.order import JobKey, Order
from workers.wire.report import Artifact, Outcome


class Dies(BaseException):
    """Like kill -9: nothing of the worker's own code runs any more."""


class Killed(MemoryFarm):
    """The worker is killed as soon as it brings its first file."""

    def bring(self, job: JobKey, attempt: int, artifact: Artifact, path: Path) -> None:
        known = artifact.sha256 in self.blobs
        super().bring(job, attempt, artifact, path)
        if self.claims and not known:
            raise Dies


def let_go(bench: Bench) -> None:
    """The worker claims its order, begins, and is told to end while the container runs."""
    claim = bench.farm.claim
    bench.farm.claim = lambda: ending(bench, claim())  # type: ignore[method-assign]  # a double
    bench.worker.work()


def ending(bench: Bench, given: Order) -> Order:
    bench.ending = End.LET_GO
    return given


def killed(home: Path, **plays: Play) -> Bench:
    """A bench whose worker was killed when its build had ended and its first file was brought."""
    bench = Bench(home, ORDER, **plays)
    bench.farm.__class__ = Killed
    with pytest.raises(Dies):
        bench.worker.work()
    bench.farm.__class__ = MemoryFarm
    return bench


def test_a_worker_that_lets_go_leaves_its_attempt_and_says_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    let_go(bench)
    assert not bench.farm.reports
    assert [folder.name for folder in held.orphans(tmp_path)] == ["7-build-amd64-3"]


def test_what_was_let_go_is_done_by_the_next_process(tmp_path: Path) -> None:
    bench = Bench(tmp_path, compile=Play(makes={"a_1_amd64.deb": b"deb"}))
    let_go(bench)
    report = bench.adopt()
    assert (report.outcome, report.adopted) == (Outcome.FINISHED, 1)
    assert [file.name for file in report.artifacts] == ["a_1_amd64.deb"]
    assert not held.orphans(tmp_path)


def test_a_step_that_had_run_is_not_run_again(tmp_path: Path) -> None:
    bench = killed(tmp_path, compile=Play(b"cc\n", makes={"a_1_amd64.deb": b"deb"}))
    made = list(bench.sandbox.specs)
    report = bench.adopt()
    assert bench.sandbox.specs == made
    assert [step.name for step in report.steps] == ["base image", "depends", "compile"]
    assert [file.name for file in report.artifacts] == ["a_1_amd64.deb"]
    assert not bench.sandbox.alive


def test_the_log_goes_on_where_it_was_and_has_every_line_once(tmp_path: Path) -> None:
    bench = killed(tmp_path, compile=Play(b"one\ntwo\n", makes={"a_1_amd64.deb": b"deb"}))
    report = bench.adopt()
    assert bench.log.count("one\ntwo\n") == 1
    assert report.log_sha256 == hashlib.sha256(bench.farm.written).hexdigest()


def test_a_log_that_was_cut_while_nobody_watched_makes_the_attempt_worthless(tmp_path: Path) -> None:
    bench = killed(tmp_path, compile=Play(b"one\ntwo\n", makes={"a_1_amd64.deb": b"deb"}))
    bench.sandbox.plays = {"compile": Play(b"two\n")}
    report = bench.adopt()
    assert (report.outcome, report.reason) == (
        Outcome.BROKEN,
        "the log of the running container is not the one that was kept of it",
    )


@pytest.mark.parametrize("exit_code", [137, 143, 255])
def test_a_container_that_was_killed_while_nobody_watched_says_nothing_of_its_package(
    tmp_path: Path, exit_code: int
) -> None:
    bench = killed(tmp_path, compile=Play(makes={"a_1_amd64.deb": b"deb"}))
    bench.sandbox.plays = {"compile": Play(exit_code=exit_code)}
    assert bench.adopt().outcome is Outcome.BROKEN


def test_a_container_that_was_killed_with_its_engine_says_nothing_of_its_package(tmp_path: Path) -> None:
    assert Bench(tmp_path, compile=Play(exit_code=137, away=1)).work().outcome is Outcome.BROKEN


def test_a_step_that_an_adopter_begins_is_watched(tmp_path: Path) -> None:
    bench = Bench(tmp_path, compile=Play(exit_code=137))
    let_go(bench)
    assert bench.adopt().outcome is Outcome.FINISHED


def test_a_file_that_was_fetched_or_collected_by_halves_is_not_used(tmp_path: Path) -> None:
    bench = Bench(tmp_path, compile=Play(makes={"a_1_amd64.deb": b"deb"}))
    let_go(bench)
    [orphan] = held.orphans(tmp_path)
    for folder, name in (("inputs", ORDER.inputs[0].sha256), ("output", "half_1_amd64.deb")):
        (orphan / folder).mkdir()
        (orphan / folder / name).write_bytes(b"hal")
    report = bench.adopt()
    assert bench.farm.fetched == ["a_1.dsc"]
    assert [file.name for file in report.artifacts] == ["a_1_amd64.deb"]


def test_an_engine_that_is_started_anew_meanwhile_costs_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, compile=Play(b"cc\n", makes={"a_1_amd64.deb": b"deb"}, away=1))
    report = bench.work()
    assert (report.outcome, len(report.artifacts), bench.log.count("cc\n")) == (Outcome.FINISHED, 1, 1)


def test_an_attempt_that_is_somebody_elses_by_now_is_cleared_away(tmp_path: Path) -> None:
    bench = killed(tmp_path, compile=Play(makes={"a_1_amd64.deb": b"deb"}))
    bench.farm.fenced = True
    [orphan] = held.orphans(tmp_path)
    bench.worker.adopt(orphan)
    assert not bench.farm.reports
    assert not bench.sandbox.alive
    assert not held.orphans(tmp_path)


def test_what_cannot_be_read_is_handed_back(tmp_path: Path) -> None:
    bench = killed(tmp_path, compile=Play(makes={"a_1_amd64.deb": b"deb"}))
    [orphan] = held.orphans(tmp_path)
    (orphan / "progress.json").write_text("{}")
    assert "cannot be read" in bench.adopt().reason
    assert not held.orphans(tmp_path)
    assert not bench.sandbox.alive


def test_what_there_is_no_room_to_go_on_with_is_handed_back(tmp_path: Path) -> None:
    bench = killed(tmp_path, compile=Play(makes={"a_1_amd64.deb": b"deb"}))
    [orphan] = held.orphans(tmp_path)
    (orphan / "progress.part").mkdir()
    assert bench.adopt().outcome is Outcome.BROKEN
    assert not held.orphans(tmp_path)
    assert not bench.sandbox.alive


@pytest.mark.parametrize(("until", "seconds", "outcome"), [(0.0, 60, Outcome.FINISHED), (1e9, 0, Outcome.OUT_OF_TIME)])
def test_a_time_limit_is_as_long_as_it_was_whenever_a_process_or_the_machine_was_started_anew(
    tmp_path: Path, until: float, seconds: int, outcome: Outcome
) -> None:
    endless = seconds == 0
    bench = Bench(tmp_path, order(limits=dataclasses.replace(LIMITS, seconds=seconds)), compile=Play(endless=endless))
    with held.take(tmp_path, bench.farm.given, Tier.NATIVE) as mine:
        mine.save(base="sha256:base", image="sha256:base", until=until)
    assert bench.adopt().outcome is outcome


def test_an_attempt_that_a_process_has_is_no_orphan(tmp_path: Path) -> None:
    with held.take(tmp_path, Bench(tmp_path).farm.given, Tier.NATIVE) as mine:
        assert held.orphans(tmp_path) == []
        with held.adopt(mine.folder, pause=lambda: None) as nothing:
            assert nothing is None
    assert held.orphans(tmp_path) == [mine.folder]


def test_an_orphan_that_somebody_only_looked_at_is_adopted(tmp_path: Path) -> None:
    with held.take(tmp_path, ORDER, Tier.NATIVE) as mine:
        pass
    looking = (mine.folder / "lock").open()
    fcntl.flock(looking, fcntl.LOCK_EX)
    with held.adopt(mine.folder, pause=looking.close) as orphan:
        assert orphan is not None


def test_what_its_owner_was_done_with_in_that_moment_is_no_orphan(tmp_path: Path) -> None:
    with contextlib.ExitStack() as owner:
        mine = owner.enter_context(held.take(tmp_path, ORDER, Tier.NATIVE))
        owner.callback(held.let_go_of, mine.folder)
        with held.adopt(mine.folder, pause=owner.close) as nothing:
            assert nothing is None


def test_the_containers_of_what_is_in_hand_are_kept_from_the_sweep(tmp_path: Path) -> None:
    let_go(Bench(tmp_path))
    (held.folder_of(tmp_path) / "7-dance-amd64-3").mkdir()
    assert [label in Keeper(tmp_path) for label in ("7/build/amd64/3", "7/dance/amd64/3")] == [True, False]


def test_a_sweep_knows_of_an_attempt_that_began_after_the_worker(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path)
    let_go(Bench(tmp_path))
    assert "7/build/amd64/3" in keeper


def test_what_a_killed_process_left_of_folders_is_no_attempt_and_goes(tmp_path: Path) -> None:
    for left in ("new-7-build-amd64-3-12", "gone-7-build-amd64-3"):
        (held.folder_of(tmp_path) / left).mkdir(parents=True)
    keeper = Keeper(tmp_path)
    assert keeper.none_is_in_hand()
    held.clear(tmp_path)
    assert not list(held.folder_of(tmp_path).iterdir())


def test_nothing_is_left_of_an_adopter_whose_attempt_is_done(tmp_path: Path) -> None:
    let_go(Bench(tmp_path))
    before, keeper = children(), Keeper(tmp_path)
    keeper.adopt_orphans()
    [adopter] = children() - before
    os.waitid(os.P_PID, adopter, os.WEXITED | os.WNOWAIT)
    keeper.adopt_orphans()
    assert children() <= {*before, adopter}
    held.let_go_of(held.folder_of(tmp_path) / "7-build-amd64-3")
    keeper.adopt_orphans()
    assert adopter not in children()


def children() -> set[int]:
    """Every process that this one has started and not buried."""
    return {
        int(child) for task in Path("/proc/self/task").iterdir() for child in (task / "children").read_text().split()
    }
