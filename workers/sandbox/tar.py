# SPDX-License-Identifier: GPL-3.0-or-later
"""The tar streams in which files go into a container and come out, in constant memory.

What comes out is hostile: one regular file of a bounded size, or nothing. No member's name becomes a path here.
"""

import io
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from workers.sandbox import FILE_NAME, OutputRefused, OutputTooLarge

#: User and group of `builder` in every base image.
BUILDER: Final = 1000

_CHUNK: Final = 1 << 20
#: Every bit of Go's fs.ModeType: set where a file is not a regular one.
_NOT_REGULAR: Final = 0x8F280000


def stream(files: Sequence[tuple[str, Path]]) -> Iterator[bytes]:
    """A tar of the files under the given names, owned by the builder."""
    for name, path in files:
        member = tarfile.TarInfo(name)
        member.size = path.stat().st_size
        member.mode = 0o644
        member.uid = member.gid = BUILDER
        member.mtime = int(path.stat().st_mtime)
        yield member.tobuf(tarfile.GNU_FORMAT)
        yield from _content(path, member.size)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _content(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece
    yield bytes(-size % tarfile.BLOCKSIZE)


def refuse_unless_small_file(path: str, status: Mapping[str, Any] | None, most: int) -> None:
    """Look at what the engine says of a file before a byte of it is read; raises OutputRefused, OutputTooLarge."""
    mode = int(status["mode"]) if status else _NOT_REGULAR
    if mode & _NOT_REGULAR:
        raise OutputRefused(f"{path} is not a regular file")
    if status and int(status["size"]) > most:
        raise OutputTooLarge(f"{path} is larger than the {most} bytes that are left")


def only_file(path: str, pieces: Iterator[bytes], into: Path, most: int) -> int:
    """Write the one regular file of a tar stream to `into`; answers its size, raises OutputRefused."""
    try:
        with tarfile.open(fileobj=io.BufferedReader(_Pieces(pieces), _CHUNK), mode="r|") as archive:
            member = archive.next()
            if member is None or member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
                raise OutputRefused(f"{path} is not a regular file")
            if member.size > most:
                raise OutputTooLarge(f"{path} is larger than the {most} bytes that are left")
            into.unlink(missing_ok=True)
            _copy(archive, member, into)
            return member.size
    except tarfile.TarError as error:
        raise OutputRefused(f"{path} came out of the container damaged") from error


def files(pieces: Iterator[bytes], into: Path, most_bytes: int, most_files: int) -> list[str]:
    """Write the regular files of a folder's tar stream to `into`, by their bare names; answers why of the others.

    Raises OutputTooLarge before anything is written that would be too much, and OutputRefused for a damaged stream.
    """
    refused = []
    try:
        with tarfile.open(fileobj=io.BufferedReader(_Pieces(pieces), _CHUNK), mode="r|") as archive:
            for number, member in enumerate(archive):
                if number > most_files:
                    raise OutputTooLarge(f"more than {most_files} files came out")
                why = _why_not(member, into) if number or not member.isdir() else ""
                if why:
                    refused.append(why)
                elif member.isreg():
                    most_bytes -= member.size
                    if most_bytes < 0:
                        raise OutputTooLarge(f"{_name(member)} is larger than what is left of the limit")
                    _copy(archive, member, into / _name(member))
    except tarfile.TarError as error:
        raise OutputRefused("what came out of the container is damaged") from error
    return refused


def _name(member: tarfile.TarInfo) -> str:
    return member.name.rpartition("/")[2]


def _why_not(member: tarfile.TarInfo, into: Path) -> str:
    name = _name(member)
    if not FILE_NAME.fullmatch(name):
        return f"{name!r} is no name for a file"
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        return f"{name} is not a regular file"
    return f"there are two {name}" if (into / name).exists() else ""


def _copy(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    content = archive.extractfile(member)
    assert content is not None  # noqa: S101  # it is a regular file
    with path.open("xb") as file:
        while piece := content.read(_CHUNK):
            file.write(piece)


class _Pieces(io.RawIOBase):
    """An iterator of bytes as a file to read from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
