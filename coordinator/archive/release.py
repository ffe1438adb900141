# SPDX-License-Identifier: GPL-3.0-or-later
"""What an archive's signed Release lists, and the paragraphs of the indices it lists. Knows no network.

Format: the archive's own description at wiki.debian.org/DebianRepository/Format. Give it verified bytes only.
"""

import gzip
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import BinaryIO, cast

from debian.deb822 import Deb822

from coordinator.errors import ArchiveUnreachable
from coordinator.model import File

#: Bytes an index may have once unpacked, and a paragraph in it.
MAX_INDEX = 2 << 30
MAX_PARAGRAPH = 8 << 20
_CHUNK = 1 << 20
_LINE = re.compile(r"([0-9a-f]{64})\s+([0-9]{1,15})\s+(\S+)")
_ENDINGS = (".xz", ".gz", "")


@dataclass(frozen=True)
class Release:
    """A suite's Release: its names, until when it holds, and its files by their path below the suite's folder."""

    names: frozenset[str]
    valid_until: datetime | None
    by_hash: bool
    files: dict[str, File]

    def smallest(self, path: str) -> tuple[str, File] | None:
        """The best packed form of an index that is listed, by its path without an ending."""
        found = ((path + ending, self.files.get(path + ending)) for ending in _ENDINGS)
        return next(((name, file) for name, file in found if file is not None), None)


def read_release(signed: bytes, where: str) -> Release:
    """The facts of a Release; `where` names it in errors. Raises ArchiveUnreachable."""
    fields = Deb822(signed.decode("utf-8", "replace"))
    found = (_LINE.fullmatch(line.strip()) for line in fields.get("SHA256", "").splitlines())
    files = {line[3]: File(line[3].rpartition("/")[2], line[1], int(line[2])) for line in found if line is not None}
    if not files:
        raise ArchiveUnreachable(f"{where} lists no file with a sha256")
    names = frozenset(fields[field] for field in ("Codename", "Suite") if field in fields)
    until = fields.get("Valid-Until")
    return Release(names, _date(until, where) if until else None, fields.get("Acquire-By-Hash") == "yes", files)


def paragraphs(path: Path, wanted: Callable[[str], bool], *hints: str) -> Iterator[Deb822]:
    """The paragraphs of a packed index that `wanted` takes, by their text, in constant memory.

    Only paragraphs with one of the words `hints` in them are asked about: an index has tens of thousands.
    Raises ArchiveUnreachable where it cannot be unpacked or is too large.
    """
    needles = [hint.encode() for hint in hints]
    for region in _regions(path):
        if not any(needle in region for needle in needles):
            continue
        for block in region.split(b"\n\n"):
            text = block.decode("utf-8", "replace") if any(needle in block for needle in needles) else ""
            if text and wanted(text):
                yield Deb822(text)


def _regions(path: Path) -> Iterator[bytes]:
    """The index in pieces that end where a paragraph ends."""
    rest = b""
    for chunk in _unpacked(path):
        whole, end, rest = (rest + chunk).rpartition(b"\n\n")
        if end:
            yield whole
        if len(rest) > MAX_PARAGRAPH:
            raise ArchiveUnreachable(f"the index {path.name} has a paragraph of more than {MAX_PARAGRAPH} bytes")
    yield rest


def _unpacked(path: Path) -> Iterator[bytes]:
    size = 0
    try:
        with _open(path) as stream:
            while chunk := stream.read(_CHUNK):
                size += len(chunk)
                if size > MAX_INDEX:
                    raise ArchiveUnreachable(f"the index {path.name} unpacks to more than {MAX_INDEX} bytes")
                yield chunk
    except (lzma.LZMAError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ArchiveUnreachable(f"the index {path.name} cannot be unpacked: {error}") from error


def _open(path: Path) -> BinaryIO:
    if path.suffix == ".xz":
        return cast("BinaryIO", lzma.open(path))
    if path.suffix == ".gz":
        return cast("BinaryIO", gzip.open(path))
    return path.open("rb")


def _date(text: str, where: str) -> datetime:
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        raise ArchiveUnreachable(f"{where} has a Valid-Until that is no date: {text[:60]!r}") from None
    if date.tzinfo is None:
        raise ArchiveUnreachable(f"{where} has a Valid-Until without a time zone: {text[:60]!r}")
    return date
