# SPDX-License-Identifier: GPL-3.0-or-later
"""The attempt's log: bounded here, complete there."""

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from workers.errors import AttemptEnded
from workers.log import AttemptLog, Shipper


def test_bytes_over_the_limit_are_dropped_and_the_farms_own_lines_are_not(tmp_path: Path) -> None:
    log = AttemptLog(tmp_path / "log", 4)
    log.write(b"abcdef")
    log.note("too long")
    log.write(b"more")
    assert log.path.read_bytes() == b"abcd== too long\n"
    assert log.full


def test_its_digest_is_that_of_what_was_kept(tmp_path: Path) -> None:
    log = AttemptLog(tmp_path / "log", 4)
    log.write(b"abcdef")
    assert log.sha256 == hashlib.sha256(b"abcd").hexdigest()


def test_the_tail_begins_where_it_is_told_and_is_never_longer_than_asked(tmp_path: Path) -> None:
    log = AttemptLog(tmp_path / "log", 100)
    log.write(b"0123456789\xff")
    assert log.tail(since=8) == "89�"
    assert log.tail(since=0, count=2) == "9�"


def test_everything_written_arrives_even_where_the_other_side_takes_less(tmp_path: Path) -> None:
    log = AttemptLog(tmp_path / "log", 1000)
    there = bytearray()

    def take_three(offset: int, data: bytes) -> int:
        assert offset == len(there)
        there.extend(data[:3])
        return len(there)

    shipper = Shipper(log, take_three, pytest.fail)
    log.write(b"0123456789")
    shipper.close()
    assert bytes(there) == b"0123456789"


def test_a_log_that_cannot_be_sent_is_an_error_at_its_end(tmp_path: Path) -> None:
    log = AttemptLog(tmp_path / "log", 1000)
    told: list[str] = []
    shipper = Shipper(log, lambda _offset, _data: 0, told.append)
    log.write(b"x")
    with pytest.raises(OSError, match="keeps the log at 0 bytes"):
        shipper.close()
    assert told == ["the log did not arrive: the coordinator keeps the log at 0 bytes"]


def test_who_leaves_a_log_to_another_process_does_not_wait_for_a_coordinator_that_is_away(tmp_path: Path) -> None:
    log = AttemptLog(tmp_path / "log", 1000)
    asked, back, answered = threading.Event(), threading.Event(), threading.Event()

    def send(offset: int, data: bytes) -> int:
        asked.set()
        back.wait(30)
        answered.set()
        return offset + len(data)

    shipper = Shipper(log, send, pytest.fail)
    log.write(b"x")
    assert asked.wait(30)
    shipper.abandon()
    assert not answered.is_set()
    back.set()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_what_is_printed_again_is_not_kept_again_however_it_comes(tmp_path: Path, size: int) -> None:
    log = AttemptLog(tmp_path / "log", 1000)
    log.write(b"before 012345")
    take = log.continuing(since=7)
    give(take, b"0123456789", size)
    assert log.path.read_bytes() == b"before 0123456789"


@pytest.mark.parametrize("size", [1, 2, 100])
def test_what_is_printed_otherwise_than_before_is_noticed_however_it_comes(tmp_path: Path, size: int) -> None:
    log = AttemptLog(tmp_path / "log", 1000)
    log.write(b"012345")
    take = log.continuing(since=0)
    with pytest.raises(AttemptEnded, match="is not the one"):
        give(take, b"012x45", size)


def give(take: Callable[[bytes], None], printed: bytes, size: int) -> None:
    for start in range(0, len(printed), size):
        take(printed[start : start + size])
