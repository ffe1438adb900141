# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks whether an archive has what a job waits for, in the indices that its recipe builds from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from coordinator import depends
from coordinator.depends import Dependency, Package
from coordinator.errors import ArchiveUnreachable, BadSignature
from coordinator.model import Job
from coordinator.ports import Archive
from coordinator.recipe import Recipe
from coordinator.work import host_of
from workers.wire.arch import Arch
from workers.wire.order import Index


@dataclass(frozen=True)
class Supply:
    """Where a recipe's packages come from. `keyring` finds the keyring that a recipe names, or raises BadRecipe."""

    archive: Archive
    indices: Callable[[Recipe], tuple[Index, ...]]
    keyring: Callable[[str], Path]

    def still_missing(self, job: Job, recipe: Recipe) -> list[str]:
        """What the archive still does not have of the job's missing dependencies.

        Raises ArchiveUnreachable or BadSignature where an index that is not optional cannot be read.
        """
        wanted = {text: depends.read(text) for text in job.report.missing} if job.report else {}
        found = self._packages(recipe, host_of(recipe, job.arch), [one for one in wanted.values() if one])
        return [text for text, one in wanted.items() if one is None or not depends.satisfied(one, found)]

    def _packages(self, recipe: Recipe, arch: Arch, wanted: Sequence[Dependency]) -> list[Package]:
        names = frozenset(alternative.name for dependency in wanted for alternative in dependency)
        keyring = self.keyring(recipe.source.archive_keyring)
        found: list[Package] = []
        for index in self.indices(recipe):
            try:
                found += self.archive.packages(index, keyring, arch, names)
            except (ArchiveUnreachable, BadSignature):
                # As for a worker: an optional index that does not verify has nothing to offer.
                if not index.optional:
                    raise
        return found
