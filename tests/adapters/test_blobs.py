# SPDX-License-Identifier: GPL-3.0-or-later
"""Blobs: whole and checked, or not there at all."""

import errno
import io
import os
import stat
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from coordinator.errors import BadRequest, BadSource, DiskFull, UnknownName
from coordinator.model import sha256_of
from coordinator.ports import Blobs
from coordinator.store.blobs import FolderBlobs
from tests.fakes.world import HandClock

DATA = b"a patched source"
SHA256 = sha256_of(DATA)
NOT_NAMES = ["", "a" * 63, "A" * 64, "g" * 64, "../" * 21 + "a", "a" * 64 + "\n", "٣" * 64]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def blobs(root: Path, clock: HandClock) -> Blobs:
    return FolderBlobs(root, clock.now)


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if not path.is_dir()]


class Broken(io.BytesIO):
    """Gives some bytes, then fails."""

    def __init__(self, error: OSError) -> None:
        super().__init__(DATA[:5])
        self._error = error

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        if not data:
            raise self._error
        return data


def test_bytes_are_kept_under_their_digest(blobs: Blobs, root: Path) -> None:
    blobs.put(SHA256, len(DATA), io.BytesIO(DATA))
    assert blobs.has(SHA256)
    assert blobs.path(SHA256) == root / SHA256[:2] / SHA256
    assert blobs.path(SHA256).read_bytes() == DATA
    assert files(root) == [blobs.path(SHA256)]


def test_bytes_can_be_added_without_knowing_their_digest(blobs: Blobs) -> None:
    assert blobs.add(DATA) == SHA256
    assert blobs.add(b"") == sha256_of(b"")
    assert blobs.path(SHA256).read_bytes() == DATA


def test_a_blob_larger_than_a_chunk_is_whole(blobs: Blobs) -> None:
    data = bytes(range(256)) * 10_000
    blobs.put(sha256_of(data), len(data), io.BytesIO(data))
    assert blobs.path(sha256_of(data)).read_bytes() == data


def test_a_stream_that_gives_little_at_a_time_is_read_to_its_end(blobs: Blobs) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(1, size or 0))

    blobs.put(SHA256, len(DATA), Slow(DATA))
    assert blobs.path(SHA256).read_bytes() == DATA


def test_a_blob_is_for_its_owner_alone(blobs: Blobs) -> None:
    blobs.add(DATA)
    assert stat.S_IMODE(blobs.path(SHA256).stat().st_mode) == 0o600


def test_what_is_here_already_has_to_come_no_less_and_stays_as_it_is(blobs: Blobs, root: Path) -> None:
    blobs.add(DATA)
    blobs.put(SHA256, len(DATA), io.BytesIO(DATA))
    with pytest.raises(BadSource, match="was announced, and the bytes have"):
        blobs.put(SHA256, len(DATA), io.BytesIO(b"x" * len(DATA)))
    with pytest.raises(BadSource, match=f"{len(DATA)} bytes were announced, 0 came"):
        blobs.put(SHA256, len(DATA), io.BytesIO())
    assert [path.read_bytes() for path in files(root)] == [DATA]


def test_a_known_digest_with_another_size_is_refused(blobs: Blobs) -> None:
    blobs.add(DATA)
    with pytest.raises(BadSource, match="3 bytes were announced, more than that came"):
        blobs.put(SHA256, 3, io.BytesIO(DATA))


def test_a_truncated_tarball_is_refused_with_both_sizes(blobs: Blobs, root: Path) -> None:
    with pytest.raises(BadSource, match="16 bytes were announced, 15 came"):
        blobs.put(SHA256, len(DATA), io.BytesIO(DATA[:-1]))
    assert files(root) == []


def test_no_more_is_read_than_was_announced(blobs: Blobs, root: Path) -> None:
    stream = io.BytesIO(DATA + b"x" * 100)
    with pytest.raises(BadSource, match="16 bytes were announced, more than that came"):
        blobs.put(SHA256, len(DATA), stream)
    assert stream.tell() == len(DATA) + 1
    assert files(root) == []


def test_altered_bytes_are_refused_with_both_digests(blobs: Blobs, root: Path) -> None:
    altered = DATA[::-1]
    with pytest.raises(BadSource, match=f"{SHA256} was announced, and the bytes have {sha256_of(altered)}"):
        blobs.put(SHA256, len(DATA), io.BytesIO(altered))
    assert files(root) == []
    assert not blobs.has(SHA256)


def test_a_full_disk_is_told_apart_and_nothing_is_left_behind(blobs: Blobs, root: Path) -> None:
    with pytest.raises(DiskFull, match="blobs"):
        blobs.put(SHA256, len(DATA), Broken(OSError(errno.ENOSPC, "No space left on device")))
    assert files(root) == []


def test_a_connection_that_breaks_leaves_nothing_behind(blobs: Blobs, root: Path) -> None:
    with pytest.raises(ConnectionResetError):
        blobs.put(SHA256, len(DATA), Broken(ConnectionResetError()))
    assert files(root) == []


@pytest.mark.parametrize("name", NOT_NAMES)
def test_nothing_but_a_sha256_is_a_name(blobs: Blobs, root: Path, name: str) -> None:
    with pytest.raises(BadRequest):
        blobs.put(name, len(DATA), io.BytesIO(DATA))
    assert not blobs.has(name)
    with pytest.raises(UnknownName):
        blobs.path(name)
    assert not root.exists()


def test_a_negative_size_is_refused_and_nothing_is_read(blobs: Blobs) -> None:
    stream = io.BytesIO(DATA)
    with pytest.raises(BadRequest):
        blobs.put(SHA256, -2, stream)
    assert stream.tell() == 0


def test_a_blob_that_nobody_sent_is_unknown(blobs: Blobs) -> None:
    with pytest.raises(UnknownName, match=SHA256):
        blobs.path(SHA256)


DAY = 24 * 3600


def forget(blobs: Blobs, clock: HandClock, sha256: str = SHA256) -> int:
    """What nobody kept for a day goes."""
    return blobs.forget(sha256[:2], clock.now() - timedelta(days=1))


def test_what_nobody_kept_for_long_is_forgotten_and_may_come_again(blobs: Blobs, clock: HandClock) -> None:
    blobs.add(DATA)
    clock.move(DAY)
    assert (forget(blobs, clock), blobs.has(SHA256)) == (0, True)
    clock.move(1)
    assert (forget(blobs, clock), blobs.has(SHA256)) == (1, False)
    assert blobs.add(DATA) == SHA256
    assert blobs.path(SHA256).read_bytes() == DATA


@pytest.mark.parametrize("again", [lambda blobs: blobs.keep(SHA256), lambda blobs: blobs.add(DATA)])
def test_what_is_kept_or_comes_again_counts_as_new(
    blobs: Blobs, clock: HandClock, again: Callable[[Blobs], object]
) -> None:
    blobs.add(DATA)
    clock.move(DAY + 1)
    again(blobs)
    assert (forget(blobs, clock), blobs.has(SHA256)) == (0, True)


def test_a_clock_that_is_set_back_makes_nothing_older(blobs: Blobs, clock: HandClock) -> None:
    blobs.add(DATA)
    clock.move(-10 * DAY)
    blobs.keep(SHA256)
    clock.move(10 * DAY)
    assert forget(blobs, clock) == 0


def test_what_is_not_here_cannot_be_kept(blobs: Blobs) -> None:
    with pytest.raises(UnknownName, match=SHA256):
        blobs.keep(SHA256)


def test_what_a_cut_upload_left_goes_with_the_rest_and_nothing_else_does(
    blobs: Blobs, clock: HandClock, root: Path
) -> None:
    blobs.add(DATA)
    for name in (".cut.part", "notes"):
        (root / SHA256[:2] / name).touch()
        os.utime(root / SHA256[:2] / name, (0, 0))
    assert forget(blobs, clock) == 1
    assert sorted(path.name for path in files(root)) == sorted([SHA256, "notes"])


@pytest.mark.parametrize("beginning", ["..", "", "zz", "a", "../x"])
def test_nothing_is_forgotten_outside_the_blobs(blobs: Blobs, clock: HandClock, beginning: str) -> None:
    blobs.add(DATA)
    assert blobs.forget(beginning, clock.now() + timedelta(days=9)) == 0


def test_what_is_promised_to_be_here_is_here_whoever_forgets_meanwhile(blobs: Blobs, clock: HandClock) -> None:
    ending = threading.Event()
    blobs.add(DATA)

    def forget_all() -> None:
        while not ending.is_set():
            blobs.forget(SHA256[:2], clock.now())

    thread = threading.Thread(target=forget_all)
    thread.start()
    try:
        for _ in range(300):
            clock.move(2)
            blobs.add(DATA)
            assert blobs.path(SHA256).read_bytes() == DATA
    finally:
        ending.set()
        thread.join()
