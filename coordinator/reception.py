# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes source packages in: brings intake what it judges by, and makes an update of what it accepts.

Nothing of a source is unpacked here, and of its files only the .dsc and the .changes are read.
"""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from coordinator import dsc
from coordinator.errors import ArchiveUnreachable, BadSource, UnknownName
from coordinator.model import ENDED, File, Source, Update, UpdateState, Urgency
from coordinator.ports import Archive, Blobs, Clock, SourceEntry, Store, Target, Verifier
from coordinator.recipe import Recipe, Recipes, keyring_in
from coordinator.stages import intake, publish
from workers.wire.order import Index

_OPEN = tuple(state for state in UpdateState if state not in ENDED)


@dataclass(frozen=True)
class Reception:
    """What intake needs of the farm. `keyrings` is the folder of the keyrings that recipes name."""

    store: Store
    blobs: Blobs
    clock: Clock
    verifier: Verifier
    archive: Archive
    recipes: Recipes
    keyrings: Path
    targets: Callable[[str], Target]
    index: Callable[[str], Index]

    def uploaded(self, submitter: str, suite: str, files: Sequence[File], urgency: Urgency | None) -> Update:
        """An update of files in the blobs that a person signed. Raises BadSource, NotNewer, UnknownName."""
        rules, text = self.recipes.of_suite(suite)
        offered = intake.sort_out(files)
        for file in files:
            self._check_is_here(file)
        keyrings = [keyring_in(self.keyrings, name) for name in rules.source.keyrings]
        source = intake.uploaded(self.verifier.clearsigned(self._read(offered.dsc), keyrings), offered)
        asked = None
        if offered.changes is not None:
            signature = self.verifier.clearsigned(self._read(offered.changes), keyrings)
            asked = intake.read_changes(signature, offered, source, [suite])
        return self._accept(submitter, source, rules, text, urgency or asked or rules.urgency)

    def from_archive(self, submitter: str, suite: str, name: str, version: str | None) -> Update:
        """An update of a source that the first of the recipe's archive suites with it has; the newest unless said."""
        rules, text = self.recipes.of_suite(suite)
        keyring = keyring_in(self.keyrings, rules.source.archive_keyring)
        entry = self._fetch(self._find(rules, keyring, name, version))
        source = intake.from_archive(self._read(entry.files[0]), entry)
        return self._accept(submitter, source, rules, text, rules.urgency)

    def _find(self, rules: Recipe, keyring: Path, name: str, version: str | None) -> list[tuple[Index, SourceEntry]]:
        """Where the version is that counts: the one asked for, or the newest of the first suite with any."""
        looked_in = [self.index(suite) for suite in rules.source.from_archive]
        listed = [(index, entry) for index in looked_in for entry in self.archive.sources(index, keyring, name)]
        wanted = version or (listed[0][1].version if listed else "")
        found = [(index, entry) for index, entry in listed if entry.version == wanted]
        if not found:
            raise UnknownName(
                f"there is no source {f'{name} {wanted}'.strip()[:200]!r} in {', '.join(rules.source.from_archive)}",
                "Name a source package, not a binary one; `apt-cache showsrc` finds it.",
            )
        return found

    def _fetch(self, found: list[tuple[Index, SourceEntry]]) -> SourceEntry:
        """Bring the files from the first place that has them: pools lag behind their indices, and not all alike."""
        *others, last = found
        for index, entry in others:
            with suppress(ArchiveUnreachable):
                self._bring(index, entry)
                return entry
        self._bring(*last)
        return last[1]

    def _accept(self, submitter: str, source: Source, rules: Recipe, text: str, urgency: Urgency) -> Update:
        published = self.targets(rules.publish.target).versions(rules.suite, source.name)
        intake.refuse_unless_newer(source.name, source.version, published)
        now = self.clock.now()
        return Update(
            id=0,
            revision=0,
            state=UpdateState.RECEIVED,
            source=source,
            suite=rules.suite,
            recipe=rules.name,
            recipe_sha256=self.blobs.add(text.encode()),
            urgency=urgency,
            submitter=submitter,
            approvals_needed=rules.approve.people,
            created_at=now,
            changed_at=now,
        )

    def refuse_comeback(self, update: Update, rules: Recipe) -> None:
        """Raises NotNewer where another update took the place of one that failed: on its way, or in the archive.

        What the archive has may be the update itself, which failed because that showed too late.
        """
        others = [
            other
            for other in self.store.updates(_OPEN, limit=1000)
            if (other.suite, other.source.name) == (update.suite, update.source.name)
        ]
        intake.refuse_beside(update, others)
        shown = self.targets(rules.publish.target).sources(update.suite, update.source.name)
        if not publish.has_arrived(update, shown):
            versions = [entry.version for entry in shown]
            intake.refuse_unless_newer(update.source.name, update.source.version, versions)

    def _bring(self, index: Index, entry: SourceEntry) -> None:
        """Download the source's files into the blobs, but for those that are there."""
        for file in entry.files:
            if self.blobs.has(file.sha256):
                self.blobs.keep(file.sha256)
                continue
            with tempfile.TemporaryFile() as stream:
                self.archive.fetch(index, f"{entry.directory}/{file.name}", file, stream)
                stream.seek(0)
                self.blobs.put(file.sha256, file.size, stream)

    def _check_is_here(self, file: File) -> None:
        size = self.blobs.keep(file.sha256).stat().st_size
        if size != file.size:
            raise BadSource(f"{file.name} has {size} bytes, {file.size} were declared")

    def _read(self, file: File) -> bytes:
        if file.size > dsc.MAX_BYTES:
            raise BadSource(f"{file.name} has {file.size} bytes; {dsc.MAX_BYTES} is the most that is read")
        return self.blobs.path(file.sha256).read_bytes()
