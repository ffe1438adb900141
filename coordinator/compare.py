# SPDX-License-Identifier: GPL-3.0-or-later
"""Says whether two .deb files are the same and, where not, what differs. Unpacks nothing to disk.

Both files are hostile: whatever is in them is read in bounded pieces and only ever digested, counted or quoted.
"""

import bz2
import gzip
import hashlib
import lzma
import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from debian.arfile import ArError, ArFile, ArMember
from debian.deb822 import Deb822

from coordinator.errors import BadSource

#: Bytes that both parts of a package may unpack to, and that a file may have to be looked into rather than digested.
MAX_UNPACKED = 8 << 30
MAX_LOOKED_INTO = 64 << 20
MAX_MEMBERS = 100_000
#: Differences that are told one by one.
MAX_TOLD = 50
_MAX_READ = 64 << 20
_CHUNK = 1 << 18
_AR_MEMBERS = 10

#: A note `NT_GNU_BUILD_ID` in either byte order, a `.gnu_debuglink` whose file is named after the build-id, and a
#: `.gnu_debugaltlink` with the build-id of what dwz(1) made of a package's debug symbols.
_BUILD_ID = re.compile(
    rb"((?:\x04\x00{3}\x14\x00{3}\x03\x00{3}|\x00{3}\x04\x00{3}\x14\x00{3}\x03)GNU\x00).{20}", re.DOTALL
)
_DEBUG_LINK = re.compile(rb"[0-9a-f]{38}\.debug\x00{1,4}.{4}", re.DOTALL)
_DEBUG_ALT_LINK = re.compile(rb"(/\.dwz/[^\x00]{1,200}\x00).{20}", re.DOTALL)


@dataclass(frozen=True)
class Comparison:
    """What came of comparing a built package with a reference. No `differences` if `identical`, which is by sha256.

    `reference_verified`: the reference's digest came from an index that a signed Release vouches for.
    """

    identical: bool
    differences: tuple[str, ...]
    reference_verified: bool


@dataclass(frozen=True)
class Entry:
    """A member of a package's tar: what it is, and the digest of its bytes with and without a build-id in them."""

    kind: str
    mode: int
    owner: str
    mtime: float
    link: str
    sha256: str
    neutral: str


@dataclass(frozen=True)
class Contents:
    """A package unpacked to facts."""

    members: tuple[str, ...]
    fields: dict[str, str]
    control: dict[str, Entry]
    data: dict[str, Entry]


def compare(built: Path, reference: Path, *, reference_verified: bool) -> Comparison:
    """Compare two .deb files. Raises BadSource where one of them is no package that can be read within bounds."""
    if _digest(built) == _digest(reference):
        return Comparison(True, (), reference_verified)
    told = tuple(differences(contents(built), contents(reference)))
    if len(told) > MAX_TOLD:
        told = (*told[:MAX_TOLD], f"and {len(told) - MAX_TOLD} more")
    return Comparison(False, told or ("the same contents, packed differently",), reference_verified)


def differences(built: Contents, reference: Contents) -> Iterator[str]:
    """Every difference of two packages in a short line. What only follows from another difference is left out."""
    if built.members != reference.members:
        yield f"members: {' '.join(built.members)} instead of {' '.join(reference.members)}"
    for field in sorted(built.fields.keys() | reference.fields.keys()):
        ours, theirs = built.fields.get(field), reference.fields.get(field)
        if ours != theirs:
            yield f"control field {field}: {_quoted(ours)} instead of {_quoted(theirs)}"
    content = list(_entries(built.data, reference.data, ""))
    follows = {"control", "md5sums"} if content else {"control"}
    skipped = {name for name in follows if name in built.control and name in reference.control}
    scripts = [
        {name: entry for name, entry in side.control.items() if name not in skipped} for side in (built, reference)
    ]
    yield from _entries(scripts[0], scripts[1], "DEBIAN/")
    yield from content


def contents(path: Path) -> Contents:
    """What is in a .deb (deb(5)). Raises BadSource."""
    try:
        with path.open("rb") as stream:
            _check_ar(stream)
            archive = ArFile(fileobj=stream)
            parts = {member.name.partition(".tar")[0]: member for member in archive.getmembers()}
            budget = _Budget(MAX_UNPACKED)
            control, text = _tar(parts["control"], budget)
            data, _ = _tar(parts["data"], budget)
            return Contents(tuple(archive.getnames()), dict(Deb822(text.decode())), control, data)
    except _UNREADABLE as error:
        raise BadSource(f"{path.name} cannot be read as a package: {type(error).__name__}") from error


_UNREADABLE = (
    ArError, KeyError, tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError, ValueError, RecursionError
)  # fmt: skip


def _check_ar(stream: BinaryIO) -> None:
    """What the library does not ask for: few members, each of a size that only leads on."""
    stream.seek(len(b"!<arch>\n"))
    for _ in range(_AR_MEMBERS):
        header = stream.read(60)
        if not header:
            stream.seek(0)
            return
        if not re.fullmatch(rb"[0-9]{1,10} *", header[48:58]):
            raise ArError("a member without a size")
        size = int(header[48:58])
        stream.seek(size + size % 2, os.SEEK_CUR)
    raise ArError("more members than a package has")


class _Budget:
    """Counts bytes down; raises BadSource when there are none left."""

    def __init__(self, left: int) -> None:
        self._left = left

    def take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise BadSource(f"the package unpacks to more than {MAX_UNPACKED} bytes")


class _Bounded:
    """A stream for tarfile that gives no large piece at once: a header may ask for any size."""

    def __init__(self, stream: IO[bytes], budget: _Budget) -> None:
        self._stream = stream
        self._budget = budget
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        if size == 0:
            return b""
        if not 0 < size <= _MAX_READ:
            raise tarfile.ReadError("a header asks for more bytes than any real one has")
        data = self._stream.read(size)
        self._budget.take(len(data))
        return data


def _tar(member: ArMember, budget: _Budget) -> tuple[dict[str, Entry], bytes]:
    """The entries of a part by name, and the bytes of the one called `control`."""
    entries: dict[str, Entry] = {}
    control = b""
    bounded = cast("IO[bytes]", _Bounded(_unpacked(member), budget))
    with tarfile.open(fileobj=bounded, mode="r:") as tar:
        for info in tar:
            if len(entries) >= MAX_MEMBERS:
                raise BadSource(f"the package has more than {MAX_MEMBERS} members")
            if info.issparse():
                raise BadSource("the package has a sparse file, which dpkg-deb never makes")
            name = info.name.removeprefix("./")
            whole, neutral, begin = _digests(tar, info)
            owner = f"{info.uid}:{info.gid} {info.uname}:{info.gname}"
            kind = info.type.decode("latin-1")
            entries[name] = Entry(kind, info.mode, owner, info.mtime, info.linkname, whole, neutral)
            control = begin if name == "control" else control
    return entries, control


def _unpacked(member: ArMember) -> IO[bytes]:
    stream = cast("IO[bytes]", member)
    match Path(member.name).suffix:
        case ".xz":
            return cast("IO[bytes]", lzma.open(stream))
        case ".gz":
            return cast("IO[bytes]", gzip.open(stream))
        case ".bz2":
            return cast("IO[bytes]", bz2.open(stream))
        case ".tar":
            return stream
        case _:
            raise BadSource(f"{_printable(member.name)} is packed in a way that is not looked into")


def _digests(tar: tarfile.TarFile, info: tarfile.TarInfo) -> tuple[str, str, bytes]:
    """The sha256 of a file's bytes, the same without its build-id, and the bytes where there are not too many."""
    stream = tar.extractfile(info) if info.isreg() else None
    if stream is None:
        return "", "", b""
    whole = hashlib.sha256()
    kept = bytearray()
    while chunk := stream.read(_CHUNK):
        whole.update(chunk)
        if info.size <= MAX_LOOKED_INTO:
            kept += chunk
    data = bytes(kept)
    neutral = _without_build_id(data) if data.startswith(b"\x7fELF") else b""
    return whole.hexdigest(), hashlib.sha256(neutral).hexdigest() if neutral else whole.hexdigest(), data[:_CHUNK]


def _without_build_id(elf: bytes) -> bytes:
    return _DEBUG_ALT_LINK.sub(rb"\1", _DEBUG_LINK.sub(b"", _BUILD_ID.sub(rb"\1", elf)))


def _entries(built: dict[str, Entry], reference: dict[str, Entry], prefix: str) -> Iterator[str]:
    for name in sorted(built.keys() | reference.keys()):
        shown = prefix + _printable(name)
        ours, theirs = built.get(name), reference.get(name)
        if ours is None:
            yield f"{shown}: only in the reference"
        elif theirs is None:
            yield f"{shown}: only in what was built"
        elif ours != theirs:
            yield f"{shown}: {', '.join(_how(ours, theirs))}"


def _how(ours: Entry, theirs: Entry) -> Iterator[str]:
    if ours.kind != theirs.kind:
        yield "another kind of file"
    if ours.sha256 != theirs.sha256:
        yield "the build-id alone" if ours.neutral == theirs.neutral else "contents"
    if ours.mode != theirs.mode:
        yield f"mode {ours.mode:o} instead of {theirs.mode:o}"
    if ours.owner != theirs.owner:
        yield "owner"
    if ours.mtime != theirs.mtime:
        yield "time"
    if ours.link != theirs.link:
        yield "link target"


def _quoted(value: str | None) -> str:
    if value is None:
        return "nothing"
    return repr(value if len(value) <= 80 else value[:77] + "...")


def _printable(name: str) -> str:
    """A name as it may be shown on a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in name[:200])


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
