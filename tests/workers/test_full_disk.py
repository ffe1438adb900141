# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker whose own disk takes nothing more: the attempt is the farm's fault, and nothing of it stays there."""

from pathlib import Path

from tests.limits import no_file_larger_than
from tests.workers.kit import Bench
from workers import held
from workers.sandbox.fake import Play
from workers.wire.report import Outcome


def test_an_attempt_that_finds_no_room_is_reported_and_leaves_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with no_file_larger_than(0):
        bench.worker.work()
    assert [report.outcome for report in bench.farm.reports] == [Outcome.BROKEN]
    assert "the worker's disk" in bench.farm.reports[0].reason
    assert list(held.folder_of(tmp_path).iterdir()) == []


def test_a_log_that_finds_no_room_ends_the_attempt_and_the_reason_names_the_disk(tmp_path: Path) -> None:
    bench = Bench(tmp_path, compile=Play(b"a line\n" * 20_000))
    with no_file_larger_than(64 << 10):
        bench.worker.work()
    [report] = bench.farm.reports
    assert report.outcome is Outcome.BROKEN
    assert report.reason.startswith("the worker's disk: ")
    assert list(held.folder_of(tmp_path).iterdir()) == []
