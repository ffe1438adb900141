# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads from outside what a target has published, as its users' apt does: through its signed index."""

from pathlib import Path

from coordinator.errors import BadRecipe
from coordinator.ports import Archive, SourceEntry
from workers.wire.order import Index


class ArchiveTarget:
    """The port Target, for an archive at an address whose Release a certificate in `keyring` signs."""

    def __init__(self, archive: Archive, url: str, keyring: Path | None) -> None:
        self._archive = archive
        self._url = url
        self._keyring = keyring

    def versions(self, suite: str, source: str) -> list[str]:
        """The versions of a source it has."""
        return [entry.version for entry in self.sources(suite, source)]

    def sources(self, suite: str, source: str) -> list[SourceEntry]:
        """What it has of a source, each with its .dsc first. Raises ArchiveUnreachable, BadSignature, BadRecipe."""
        if not self._url or self._keyring is None:
            raise BadRecipe(
                "the target has no address to read its index from, or no keyring",
                "Set `url` and `keyring` of the target in farm.toml.",
            )
        index = Index(self._url, suite, ("main",))
        return self._archive.sources(index, self._keyring, source)
