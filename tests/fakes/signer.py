# SPDX-License-Identifier: GPL-3.0-or-later
"""A signer that pulls as the real one does and looks at nothing: what it returns is a test's to say."""

from collections.abc import Iterator
from contextlib import suppress

from coordinator.dsc import cleartext, without_epoch
from coordinator.errors import PatchfarmError
from coordinator.model import File, Update
from coordinator.service import Coordinator
from tests.sources import DATE, Person


class HandSigner:
    """Honest until told otherwise: `away`, `refuses` with a reason, or `alters` the files of that ending."""

    def __init__(self, farm: Coordinator, key: Person) -> None:
        self._farm = farm
        self._key = key
        self.away = False
        self.refuses = ""
        self.alters = ""

    def work(self) -> None:
        """One look at what waits."""
        for request in [] if self.away else self._farm.signing_requests():
            number = request.update.id
            if self.refuses:
                self._farm.refused(number, self.refuses)
                continue
            # What does not work now is asked for again.
            with suppress(PatchfarmError):
                self._farm.signed(number, self.sign(request.update))

    def sign(self, update: Update) -> list[File]:
        """The .changes of all architectures, then every file, signed inside where it has a place for it."""
        files = [self._signed(file) for file in self._shipped(update)]
        source, version = update.source.name, without_epoch(update.source.version)
        text = (
            f"Format: 1.8\nDate: {DATE}\nSource: {source}\nVersion: {update.source.version}\n"
            f"Distribution: {update.suite}\nChecksums-Sha256:\n"
            + "".join(f" {file.sha256} {file.size} {file.name}\n" for file in files)
        )
        return [self._keep(f"{source}_{version}_multi.changes", self._key.clearsign(text)), *files]

    def _shipped(self, update: Update) -> Iterator[File]:
        files = {file.name: file for file in (*update.source.files, *update.built_files())}
        return (file for name, file in sorted(files.items()) if not name.endswith(".changes"))

    def _signed(self, file: File) -> File:
        data = self._farm.blobs.path(file.sha256).read_bytes()
        if self.alters and file.name.endswith(self.alters):
            return self._keep(file.name, data + b"and more")
        if file.name.endswith(".dsc"):
            return self._keep(file.name, self._key.clearsign(cleartext(data)))
        if file.name.endswith(".buildinfo"):
            return self._keep(file.name, self._key.clearsign(data))
        return file

    def _keep(self, name: str, data: bytes) -> File:
        return File(name, self._farm.blobs.add(data), len(data))
