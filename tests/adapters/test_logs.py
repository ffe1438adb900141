# SPDX-License-Identifier: GPL-3.0-or-later
"""What Logs promise, on memory and in a folder: nothing twice, nothing missing, readable while they grow."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from coordinator.errors import BadRequest
from coordinator.ports import Logs
from coordinator.store.logs import FolderLogs
from tests.fakes.store import MemoryLogs
from workers.wire.arch import Arch
from workers.wire.order import JobKey, JobKind

KEY = JobKey(12, JobKind.BUILD, Arch.AMD64)


@pytest.fixture(params=["memory", "folder"])
def logs(request: pytest.FixtureRequest, tmp_path: Path) -> Logs:
    return MemoryLogs() if request.param == "memory" else FolderLogs(tmp_path / "attempts")


def whole(logs: Logs, key: JobKey = KEY, attempt: int = 1) -> bytes:
    return logs.read(key, attempt, 0, 1000)


def test_a_log_nobody_wrote_is_empty(logs: Logs) -> None:
    assert logs.size(KEY, 1) == 0
    assert whole(logs) == b""


def test_parts_follow_each_other(logs: Logs) -> None:
    assert logs.append(KEY, 1, 0, b"one ") == 4
    assert logs.append(KEY, 1, 4, b"two") == 7
    assert logs.size(KEY, 1) == 7
    assert whole(logs) == b"one two"


def test_a_repeated_part_is_ignored(logs: Logs) -> None:
    logs.append(KEY, 1, 0, b"one two")
    assert logs.append(KEY, 1, 0, b"one ") == 7
    assert logs.append(KEY, 1, 4, b"two") == 7
    assert whole(logs) == b"one two"


def test_only_the_new_end_of_an_overlapping_part_is_added(logs: Logs) -> None:
    logs.append(KEY, 1, 0, b"one tw")
    assert logs.append(KEY, 1, 4, b"two three") == 13
    assert whole(logs) == b"one two three"


def test_an_empty_part_changes_nothing(logs: Logs) -> None:
    assert logs.append(KEY, 1, 0, b"") == 0
    assert whole(logs) == b""


@pytest.mark.parametrize("offset", [4, 10**30, -1])
def test_a_gap_is_refused_and_changes_nothing(logs: Logs, offset: int) -> None:
    logs.append(KEY, 1, 0, b"one")
    with pytest.raises(BadRequest, match="has 3 bytes"):
        logs.append(KEY, 1, offset, b"three")
    assert whole(logs) == b"one"


def test_every_attempt_and_job_has_a_log_of_its_own(logs: Logs) -> None:
    others = [
        (KEY, 2),
        (replace(KEY, kind=JobKind.TEST), 1),
        (replace(KEY, arch=Arch.ALL), 1),
        (replace(KEY, update=1), 1),
    ]
    logs.append(KEY, 1, 0, b"mine")
    assert [logs.size(key, attempt) for key, attempt in others] == [0, 0, 0, 0]


def test_a_part_of_a_log_can_be_read(logs: Logs) -> None:
    logs.append(KEY, 1, 0, b"one two")
    assert logs.read(KEY, 1, 4, 2) == b"tw"
    assert logs.read(KEY, 1, 4, 100) == b"two"
    assert logs.read(KEY, 1, 7, 100) == b""
    assert logs.read(KEY, 1, 100, 100) == b""


@pytest.mark.parametrize(("offset", "count"), [(-1, 1), (0, -1)])
def test_a_log_is_not_read_backwards(logs: Logs, offset: int, count: int) -> None:
    logs.append(KEY, 1, 0, b"one")
    with pytest.raises(BadRequest):
        logs.read(KEY, 1, offset, count)


def test_the_same_part_sent_many_times_at_once_is_there_once(logs: Logs) -> None:
    parts = [(offset, b"%04d" % offset) for offset in range(0, 80, 4)]

    def send() -> None:
        for offset, data in parts:
            logs.append(KEY, 1, offset, data)

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert whole(logs) == b"".join(data for _offset, data in parts)


def test_logs_of_other_attempts_that_nobody_wrote_to_for_long_are_forgotten(logs: Logs) -> None:
    test = replace(KEY, kind=JobKind.TEST)
    for key, attempt in ((KEY, 1), (KEY, 2), (test, 1), (replace(KEY, update=13), 1)):
        logs.append(key, attempt, 0, b"x")
    now = datetime.now(UTC)
    assert logs.forget(12, [(KEY, 2)], now - timedelta(hours=1)) == 0
    assert logs.forget(12, [(KEY, 2)], now + timedelta(hours=1)) == 2
    assert [logs.size(KEY, 1), logs.size(KEY, 2), logs.size(test, 1)] == [0, 1, 0]
    assert logs.size(replace(KEY, update=13), 1) == 1
    assert logs.forget(99, [], now) == 0
