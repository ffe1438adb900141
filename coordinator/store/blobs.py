# SPDX-License-Identifier: GPL-3.0-or-later
"""Files by sha256 in a folder. A name appears only when its bytes are whole, checked and on the disk.

A file's modification time says when somebody last was about to refer to it; whoever forgets what nobody did for long
looks at that and removes it under one lock, so that nothing is promised to be here and gone a moment later.
"""

import fcntl
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from coordinator.errors import BadRequest, BadSource, UnknownName
from coordinator.model import sha256_of
from coordinator.store.disk import room_in

_NAME = re.compile(r"[0-9a-f]{64}")
#: A file, or as _write names one that is not whole.
_OURS = re.compile(r"[0-9a-f]{64}|\..*\.part")
_CHUNK = 2**20
_AGAIN = "Send it again; if that does not help, the file itself is damaged."


class FolderBlobs:
    """The real Blobs: `<root>/<first two digits>/<sha256>`. Readable by its owner alone, for fixes are secret at first.

    Any number of threads and processes may use the same folder.
    """

    def __init__(self, root: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._root = root
        self._now = now

    def put(self, sha256: str, size: int, stream: BinaryIO) -> None:
        """Keep what the stream holds; raises BadSource where digest or size differ, DiskFull where there is no room.

        What is here already is kept as if it had just come. It is no less asked for: who knows a digest alone has not
        brought a file.
        """
        if not _NAME.fullmatch(sha256) or size < 0:
            raise BadRequest("a blob has 64 lower-case hexadecimal digits for a name, and a size")
        place = self._place(sha256)
        if self._touch(place):
            _check(sha256, size, stream)
            return
        with room_in(self._root):
            place.parent.mkdir(parents=True, exist_ok=True)
            _write(place, sha256, size, stream, self._now().timestamp())
            _sync(place.parent)
            _sync(self._root)

    def add(self, data: bytes) -> str:
        """Keep bytes and answer their sha256."""
        sha256 = sha256_of(data)
        self.put(sha256, len(data), BytesIO(data))
        return sha256

    def has(self, sha256: str) -> bool:
        """Whether it is here."""
        return _NAME.fullmatch(sha256) is not None and self._place(sha256).is_file()

    def path(self, sha256: str) -> Path:
        """Where to read it; raises UnknownName."""
        if not self.has(sha256):
            raise UnknownName(f"there is no file with the sha256 {sha256[:64]}")
        return self._place(sha256)

    def keep(self, sha256: str) -> Path:
        """The same, for who is about to refer to it: from now it counts as new. Raises UnknownName."""
        place = self.path(sha256)
        if not self._touch(place):
            raise UnknownName(f"there is no file with the sha256 {sha256}")
        return place

    def forget(self, beginning: str, before: datetime) -> int:
        """Remove what begins with these two digits and nobody kept since; answers how many. Cut uploads go too."""
        gone = 0
        for place in list(self._shelf(beginning)):
            # One that was whole meanwhile has another name now.
            with _locked(place.parent), suppress(FileNotFoundError):
                if place.stat().st_mtime < before.timestamp():
                    place.unlink()
                    gone += 1
        return gone

    def _shelf(self, beginning: str) -> Iterator[Path]:
        folder = self._root / beginning
        if re.fullmatch(r"[0-9a-f]{2}", beginning) and folder.is_dir():
            yield from (place for place in folder.iterdir() if _OURS.fullmatch(place.name))

    def _touch(self, place: Path) -> bool:
        """Make it new; answers whether it is here."""
        if not place.is_file():
            return False
        with _locked(place.parent):
            try:
                # Never older than it was, whatever the clock says.
                now = max(self._now().timestamp(), place.stat().st_mtime)
                os.utime(place, (now, now))
            except FileNotFoundError:
                return False
        return True

    def _place(self, sha256: str) -> Path:
        return self._root / sha256[:2] / sha256


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Nobody else keeps or forgets anything in the folder. Works between processes; a lock ends with its process."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(place: Path, sha256: str, size: int, stream: BinaryIO, at: float) -> None:
    descriptor, name = tempfile.mkstemp(dir=place.parent, prefix=".", suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _check(sha256, size, stream, file.write)
            file.flush()
            os.utime(file.fileno(), (at, at))
            os.fsync(file.fileno())
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)


def _check(sha256: str, size: int, stream: BinaryIO, write: Callable[[bytes], object] = len) -> None:
    """Read it to its end, and hand on what it says; raises BadSource where that is not what was announced."""
    digest, count = hashlib.sha256(), 0
    # One byte more than announced is enough to know that there are too many.
    while chunk := stream.read(min(_CHUNK, size + 1 - count)):
        digest.update(chunk)
        write(chunk)
        count += len(chunk)
    _check_size(sha256, size, count)
    if digest.hexdigest() != sha256:
        raise BadSource(f"sha256 {sha256} was announced, and the bytes have {digest.hexdigest()}", _AGAIN)


def _check_size(sha256: str, announced: int, found: int) -> None:
    if found != announced:
        more = "more than that" if found == announced + 1 else f"{found}"
        raise BadSource(f"{sha256}: {announced} bytes were announced, {more} came", _AGAIN)


def _sync(folder: Path) -> None:
    """So that a new name in it outlives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
