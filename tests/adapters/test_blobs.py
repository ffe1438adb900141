# SPDX-License-Identifier: GPL-3.0-or-later
"""Blobs: whole and checked, or not there at all."""

import errno
import io
import stat
from pathlib import Path

import pytest

from coordinator.errors import BadRequest, BadSource, DiskFull, UnknownName
from coordinator.model import sha256_of
from coordinator.ports import Blobs
from coordinator.store.blobs import FolderBlobs

DATA = b"a patched source"
SHA256 = sha256_of(DATA)
NOT_NAMES = ["", "a" * 63, "A" * 64, "g" * 64, "../" * 21 + "a", "a" * 64 + "\n", "٣" * 64]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def blobs(root: Path) -> Blobs:
    return FolderBlobs(root)


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


def test_what_is_here_already_is_not_read_again(blobs: Blobs) -> None:
    blobs.add(DATA)
    stream = io.BytesIO(DATA)
    blobs.put(SHA256, len(DATA), stream)
    assert stream.tell() == 0


def test_a_known_digest_with_another_size_is_refused(blobs: Blobs) -> None:
    blobs.add(DATA)
    with pytest.raises(BadSource, match=f"3 bytes were announced, {len(DATA)} came"):
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
