# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads Debian-format archives. Believes nothing that the signed Release does not vouch for, but where it says so."""

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

from debian.deb822 import Deb822
from debian.debian_support import Version

from coordinator.archive.release import Release, paragraphs, read_release
from coordinator.archive.transport import NotThere, Transport
from coordinator.depends import Package, read_provides
from coordinator.dsc import is_file_name
from coordinator.errors import ArchiveUnreachable, BadSignature
from coordinator.model import File
from coordinator.ports import BinaryEntry, SourceEntry, Verifier
from workers.wire.arch import Arch
from workers.wire.order import Index

__all__ = ["HttpArchive", "NotThere", "Transport"]

_MAX_RELEASE = 16 << 20
_MAX_PACKED = 256 << 20
#: Packed indices kept; the least recently used go first.
_KEPT = 40
_ROW = re.compile(r"([0-9a-f]{64}) ([0-9]{1,15}) (\S+)")


@dataclass(frozen=True)
class _Kept:
    """A packed index in the cache, and whether it is the one that the signed Release lists."""

    path: Path
    verified: bool


class HttpArchive:
    """The port Archive, over http, https and file addresses. `cache` holds packed indices by their sha256.

    `check_valid_until` off accepts a Release past its Valid-Until, as snapshots and frozen mirrors need it.
    """

    def __init__(
        self,
        cache: Path,
        verifier: Verifier,
        *,
        check_valid_until: bool = True,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        transport: Transport | None = None,
    ) -> None:
        self._cache = cache
        self._verifier = verifier
        self._check_valid_until = check_valid_until
        self._now = now
        self._transport = transport or Transport()

    def sources(self, index: Index, keyring: Path, name: str) -> list[SourceEntry]:
        """Every version of a source package the suite has, newest first. Raises ArchiveUnreachable, BadSignature."""
        release = self._release(index, keyring)
        found = [
            _source(paragraph)
            for component in index.components
            for paragraph in paragraphs(
                self._index(index, release, f"{component}/source/Sources", strict=True).path,
                lambda text: _has(text, "Package", name) and not _has(text, "Extra-Source-Only", "yes"),
                name,
            )
        ]
        return sorted(found, key=lambda entry: Version(entry.version), reverse=True)

    def binaries(self, index: Index, keyring: Path, source: str, arch: Arch) -> list[BinaryEntry]:
        """The binary packages of a source on an architecture, by name.

        Where the index does not match its Release they are not `verified`, and good for a comparison alone.
        """
        release = self._release(index, keyring)
        found: list[BinaryEntry] = []
        for component in index.components:
            kept = self._index(index, release, f"{component}/binary-{arch}/Packages", strict=False)
            found.extend(
                _binary(paragraph, kept.verified)
                for paragraph in paragraphs(kept.path, lambda text: _built_from(text, source), source)
            )
        return sorted(found, key=lambda entry: (entry.name, Version(entry.version)))

    def packages(self, index: Index, keyring: Path, arch: Arch, names: frozenset[str]) -> list[Package]:
        """Every package of an architecture that has or provides one of the names, from an index that verified.

        Raises ArchiveUnreachable, BadSignature.
        """
        release = self._release(index, keyring)
        return [
            Package(paragraph["Package"], _version(paragraph), read_provides(paragraph.get("Provides", "")))
            for component in index.components
            for paragraph in paragraphs(
                self._index(index, release, f"{component}/binary-{arch}/Packages", strict=True).path,
                lambda text: not names.isdisjoint(_offered(text)),
                *names,
            )
        ]

    def fetch(self, index: Index, path: str, file: File, into: BinaryIO) -> None:
        """Download a file of the archive into a seekable stream and check it; raises ArchiveUnreachable."""
        url = _below(index.url, path)
        hashing = _Hashing(into)
        size = self._transport.download(url, cast("BinaryIO", hashing), file.size, hashing.forget)
        _compare(url, file, size, hashing.digest())

    def _release(self, index: Index, keyring: Path) -> Release:
        url = _below(index.url, f"dists/{index.suite}/InRelease")
        data = BytesIO()
        self._transport.download(url, data, _MAX_RELEASE)
        try:
            signature = self._verifier.clearsigned(data.getvalue(), [keyring])
        except BadSignature as error:
            raise BadSignature(
                f"{url}: {error.message}",
                "Check that the mirror serves this suite, and that the recipe's archive keyring has its key.",
            ) from error
        release = read_release(signature.signed, url)
        if index.suite not in release.names:
            raise ArchiveUnreachable(f"{url} is the Release of {' or '.join(sorted(release.names))}, not {index.suite}")
        if self._check_valid_until and release.valid_until is not None and release.valid_until < self._now():
            raise ArchiveUnreachable(
                f"{url} was valid until {release.valid_until:%Y-%m-%d %H:%M} UTC only",
                "Use a mirror that is up to date; for a frozen one, set apt's Acquire::Check-Valid-Until to false.",
            )
        return release

    def _index(self, index: Index, release: Release, path: str, *, strict: bool) -> _Kept:
        listed = release.smallest(path)
        if listed is None:
            raise ArchiveUnreachable(f"the signed Release of {index.suite} at {index.url} does not list {path}")
        name, file = listed
        kept = self._kept(file.sha256, file)
        if _is(kept, file):
            os.utime(kept)
            return _Kept(kept, verified=True)
        return self._download(index, release, name, file, strict=strict)

    def _download(self, index: Index, release: Release, name: str, file: File, *, strict: bool) -> _Kept:
        self._cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._cache) as folder:
            fresh = Path(folder) / file.name
            with fresh.open("wb") as stream:
                url, size = self._first_there(_addresses(index, release, name, file), stream)
            digest = _digest(fresh)
            if strict:
                _compare(url, file, size, digest)
            kept = fresh.replace(self._kept(digest, file))
        self._forget()
        return _Kept(kept, verified=digest == file.sha256)

    def _first_there(self, urls: list[str], into: BinaryIO) -> tuple[str, int]:
        """Download from the first of the addresses that has it."""
        for url in urls[:-1]:
            try:
                return url, self._transport.download(url, into, _MAX_PACKED)
            except NotThere:
                continue
        return urls[-1], self._transport.download(urls[-1], into, _MAX_PACKED)

    def _kept(self, digest: str, file: File) -> Path:
        return self._cache / f"{digest}{Path(file.name).suffix}"

    def _forget(self) -> None:
        kept = sorted(self._cache.glob("[0-9a-f]" * 64 + "*"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in kept[_KEPT:]:
            path.unlink(missing_ok=True)


class _Hashing:
    """A stream that digests what is written through it."""

    def __init__(self, into: BinaryIO) -> None:
        self._into = into
        self._sha256 = hashlib.sha256()
        self.tell, self.seek, self.truncate = into.tell, into.seek, into.truncate

    def write(self, data: bytes) -> int:
        self._sha256.update(data)
        return self._into.write(data)

    def forget(self) -> None:
        self._sha256 = hashlib.sha256()

    def digest(self) -> str:
        return self._sha256.hexdigest()


def _addresses(index: Index, release: Release, name: str, file: File) -> list[str]:
    """Where an index may be: by its digest first, which a mirror in mid-sync still has (Acquire-By-Hash)."""
    folder = f"dists/{index.suite}/{name}".rpartition("/")[0]
    names = (f"by-hash/SHA256/{file.sha256}", file.name) if release.by_hash else (file.name,)
    return [_below(index.url, f"{folder}/{name}") for name in names]


def _below(url: str, path: str) -> str:
    """An address inside the archive, and never one that climbs out of it."""
    parts = path.split("/")
    if any(not re.fullmatch(r"[A-Za-z0-9+.~_:%-]+", part) or part in (".", "..") for part in parts):
        raise ArchiveUnreachable(f"{path[:120]!r} is not a path inside an archive")
    return f"{url.rstrip('/')}/{'/'.join(part.replace('%', '%25') for part in parts)}"


def _compare(url: str, file: File, size: int, digest: str) -> None:
    if size != file.size:
        raise ArchiveUnreachable(f"{url} has {size} bytes, its index says {file.size}")
    if digest != file.sha256:
        raise ArchiveUnreachable(f"{url} has the sha256 {digest}, its index says {file.sha256}")


def _is(path: Path, file: File) -> bool:
    return path.is_file() and path.stat().st_size == file.size and _digest(path) == file.sha256


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _has(text: str, field: str, value: str) -> bool:
    return re.search(rf"^{field}: *{re.escape(value)} *$", text, re.MULTILINE) is not None


def _built_from(text: str, source: str) -> bool:
    named = re.search(r"^Source: *([^ \n]+)", text, re.MULTILINE)
    return named[1] == source if named else _has(text, "Package", source)


def _offered(text: str) -> Iterator[str]:
    """The names that a package can be asked for by."""
    for field in re.finditer(r"^(?:Package|Provides):(.*)$", text, re.MULTILINE):
        yield from (name.split("(")[0].strip() for name in field[1].split(","))


def _source(paragraph: Deb822) -> SourceEntry:
    rows = [line for line in paragraph.get("Checksums-Sha256", "").splitlines() if line.strip()]
    files = [_file(row.strip(), paragraph) for row in rows]
    files.sort(key=lambda file: not file.name.endswith(".dsc"))
    if not files or not files[0].name.endswith(".dsc"):
        raise ArchiveUnreachable(f"the index lists no .dsc with a sha256 for {paragraph['Package']}")
    directory = _required(paragraph, "Directory").rstrip("/")
    return SourceEntry(paragraph["Package"], _version(paragraph), directory, tuple(files))


def _binary(paragraph: Deb822, verified: bool) -> BinaryEntry:
    path = _required(paragraph, "Filename")
    row = f"{_required(paragraph, 'SHA256')} {_required(paragraph, 'Size')} {path.rpartition('/')[2]}"
    arch, file = _required(paragraph, "Architecture"), _file(row, paragraph)
    return BinaryEntry(paragraph["Package"], _version(paragraph), arch, path, file, verified)


def _file(row: str, paragraph: Deb822) -> File:
    """A row `sha256 size name`."""
    match = _ROW.fullmatch(row)
    if match is None or not is_file_name(match[3]):
        raise ArchiveUnreachable(f"the index lists an unusable file for {paragraph['Package']}: {row[:160]!r}")
    return File(match[3], match[1], int(match[2]))


def _required(paragraph: Deb822, field: str) -> str:
    if field not in paragraph:
        raise ArchiveUnreachable(f"the index has a paragraph of {paragraph.get('Package')} without {field}")
    return str(paragraph[field])


def _version(paragraph: Deb822) -> str:
    text = _required(paragraph, "Version")
    try:
        Version(text)
    except ValueError:
        raise ArchiveUnreachable(f"the index has a version that is none: {text[:80]!r}") from None
    return text
