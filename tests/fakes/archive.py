# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives in memory: one to take sources from, and one to publish to, with the queue that uploads arrive in."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from coordinator.depends import Package
from coordinator.dsc import cleartext, without_epoch
from coordinator.errors import ArchiveUnreachable, UploadFailed
from coordinator.model import File
from coordinator.ports import BinaryEntry, SourceEntry
from tests.sources import as_files
from workers.wire.arch import Arch
from workers.wire.order import Index


class MemoryArchive:
    """An Archive of the sources that were put in; `unreachable` is what stands on the way, `gone` what it lost.

    The indices of suites that are `broken` do not verify; every other can be read.
    """

    def __init__(self) -> None:
        self._sources: dict[str, list[SourceEntry]] = {}
        self._bytes: dict[str, bytes] = {}
        #: Binary packages by suite.
        self.has: dict[str, list[Package]] = {}
        self.unreachable = ""
        self.gone: set[str] = set()
        self.broken: set[str] = set()

    def put(self, suite: str, name: str, version: str, paths: Sequence[Path]) -> None:
        """Publish a source package in a suite; the newest comes last, as in a test's story."""
        entry = SourceEntry(name, version, f"pool/main/{name[0]}/{name}", tuple(as_files(list(paths))))
        self._sources[suite] = [entry, *self._sources.get(suite, [])]
        self._bytes |= {file.sha256: path.read_bytes() for file, path in zip(entry.files, paths, strict=True)}

    def swap(self, path: Path, data: bytes) -> None:
        """The mirror now sends other bytes than its index lists."""
        self._bytes[as_files([path])[0].sha256] = data

    def sources(self, index: Index, keyring: Path, name: str) -> list[SourceEntry]:
        self._answer()
        return [entry for entry in self._sources.get(index.suite, []) if entry.name == name]

    def binaries(self, index: Index, keyring: Path, source: str, arch: Arch) -> list[BinaryEntry]:
        self._answer()
        return []

    def packages(self, index: Index, keyring: Path, arch: Arch, names: frozenset[str]) -> list[Package]:
        self._answer()
        if index.suite in self.broken:
            raise ArchiveUnreachable(f"the index of {index.suite} has another sha256 than its Release says")
        offered = self.has.get(index.suite, [])
        return [each for each in offered if not names.isdisjoint({each.name, *(name for name, _ in each.provides)})]

    def fetch(self, index: Index, path: str, file: File, into: BinaryIO) -> None:
        self._answer()
        if path.rpartition("/")[2] in self.gone:
            raise ArchiveUnreachable(f"{index.url}/{path} is not there")
        into.write(self._bytes[file.sha256])

    def _answer(self) -> None:
        if self.unreachable:
            raise ArchiveUnreachable(self.unreachable)


class MemoryTarget:
    """A Target that publishes what a .changes brings, at once; while it `hides`, its index shows none of that.

    `error` is what reading its index ends with.
    """

    def __init__(self) -> None:
        self._published: list[tuple[str, SourceEntry]] = []
        self._arrived: list[tuple[str, SourceEntry]] = []
        self.files: dict[str, File] = {}
        self.unreachable = False
        self.hides = False
        self.error: Exception | None = None

    def publish(self, suite: str, source: str, version: str) -> None:
        """A version of a source is in the suite's index, whoever made it."""
        dsc = File(f"{source}_{without_epoch(version)}.dsc", "f" * 64, 1)
        self._published.append((suite, SourceEntry(source, version, "pool", (dsc,))))

    def sources(self, suite: str, source: str) -> list[SourceEntry]:
        if self.error is not None:
            raise self.error
        if self.unreachable:
            raise ArchiveUnreachable("the target does not answer")
        shown = self._published if self.hides else [*self._published, *self._arrived]
        return [entry for place, entry in shown if (place, entry.name) == (suite, source)]

    def versions(self, suite: str, source: str) -> list[str]:
        return [entry.version for entry in self.sources(suite, source)]

    def receive(self, file: File, path: Path) -> None:
        """A file arrived whole; a .changes starts the target's work."""
        self.files[file.name] = file
        if file.name.endswith(".changes"):
            fields = dict(re.findall(r"^(\w+): (.*)$", cleartext(path.read_bytes()).decode(), re.MULTILINE))
            source, version = fields["Source"], fields["Version"]
            dsc = self.files[f"{source}_{without_epoch(version)}.dsc"]
            self._arrived.append((fields["Distribution"], SourceEntry(source, version, "pool", (dsc,))))


class MemoryUploader:
    """An Uploader into a MemoryTarget that takes up where it was cut.

    `fails` counts the calls that it still refuses, with `error`; each call takes a number of `cuts`, after so many
    files it breaks.
    """

    def __init__(self, target: MemoryTarget) -> None:
        self._target = target
        self._there: set[File] = set()
        self.sent: list[str] = []
        self.calls = 0
        self.fails = 0
        self.error: Exception = UploadFailed("the target does not take it")
        self.cuts: list[int] = []

    def upload(self, files: Sequence[tuple[File, Path]]) -> Iterator[str]:
        self.calls += 1
        if self.fails:
            self.fails -= 1
            raise self.error
        left = self.cuts.pop(0) if self.cuts else len(files)
        for file, path in files:
            if file in self._there:
                continue
            if not left:
                raise UploadFailed("the connection was cut")
            left -= 1
            self._there.add(file)
            self.sent.append(file.name)
            self._target.receive(file, path)
            yield file.name
