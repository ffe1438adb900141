# SPDX-License-Identifier: GPL-3.0-or-later
"""How a file gets into an incoming queue, whatever the queue is: whole under its name, or not at all.

The bytes go to a hidden name made from their sha256, so that what a cut left there can only be the beginning of these
very bytes. Nothing is tried twice here: the engine's outbox does that.
"""

import hashlib
from collections.abc import Iterator
from typing import BinaryIO, Protocol

from coordinator.errors import UploadFailed
from coordinator.model import File

#: How many bytes go at once; no SFTP server has to take more in one packet (draft-ietf-secsh-filexfer-02, 3).
CHUNK = 2**15


class Incoming(Protocol):
    """A folder that a queue daemon looks into. Everything but `discard` raises OSError."""

    def size(self, name: str) -> int | None:
        """None where there is no such file."""

    def read(self, name: str, offset: int) -> Iterator[bytes]:
        """What it holds from `offset` on."""

    def write(self, name: str, offset: int, source: BinaryIO) -> None:
        """Add the rest of the source at `offset`; 0 begins the file anew. Raises where any write was refused."""

    def place(self, part: str, name: str) -> None:
        """Give the part its name, replacing what has it."""

    def discard(self, name: str) -> None:
        """Take a file away if that can be done; never raises."""


def bring(incoming: Incoming, file: File, source: BinaryIO) -> None:
    """Bring one file in, unless it is there. The source is at its beginning, and is read from there if need be.

    Raises UploadFailed where bytes are missing in the end, and what the queue raises.
    """
    if _is_there(incoming, file):
        return
    part = f".{file.sha256[:32]}.part"
    offset = _arrived(incoming, part, file.size, source)
    _write(incoming, part, offset, source)
    arrived = incoming.size(part)
    if arrived != file.size:
        incoming.discard(part)
        raise UploadFailed(f"of the {file.size} bytes of {file.name} the target has {arrived or 0} after the upload")
    incoming.place(part, file.name)


def refusal(where: str, name: str, error: OSError) -> UploadFailed:
    """What to say when the queue itself does not take a file."""
    if isinstance(error, FileNotFoundError):
        return UploadFailed(
            f"{name} went away from {where} before it was whole",
            "Nothing may touch the hidden files of the incoming queue. See to that, then `patchfarm retry N`.",
        )
    if isinstance(error, PermissionError):
        return UploadFailed(
            f"{where} does not allow to write {name}",
            "Let the farm's user write, rename and remove in the incoming folder, then `patchfarm retry N`.",
        )
    return UploadFailed(
        f"{where} did not take {name}: {error.strerror or error}",
        "Most often its disk or the quota there is full: free space, then `patchfarm retry N`.",
    )


def no_folder(where: str, folder: str) -> UploadFailed:
    """What to say when there is no incoming queue."""
    return UploadFailed(
        f"{where} has no folder {folder}",
        "Correct the target's `incoming` in farm.toml or make the folder, then `patchfarm retry N`.",
    )


def _is_there(incoming: Incoming, file: File) -> bool:
    """Whether the name has these very bytes. A file that may not be read, or was just taken away, is not there."""
    digest = hashlib.sha256()
    try:
        if incoming.size(file.name) != file.size:
            return False
        for data in incoming.read(file.name, 0):
            digest.update(data)
    except OSError:
        return False
    return digest.hexdigest() == file.sha256


def _arrived(incoming: Incoming, part: str, whole: int, source: BinaryIO) -> int:
    """How much is there already, with the source moved to what comes next; 0 where what is there is odd.

    Its end is compared: after a crash of the target, a file may have its size and yet no bytes.
    """
    size = incoming.size(part)
    if not size or size > whole:
        return 0
    offset = max(0, size - CHUNK)
    source.seek(offset)
    ours = source.read(size - offset)
    try:
        if b"".join(incoming.read(part, offset)) == ours:
            return size
    except OSError:
        pass
    source.seek(0)
    return 0


def _write(incoming: Incoming, part: str, offset: int, source: BinaryIO) -> None:
    """A refused write leaves nothing behind: there may be a hole, and the space may be what is missing."""
    try:
        incoming.write(part, offset, source)
    except TimeoutError:
        raise
    except OSError:
        incoming.discard(part)
        raise
