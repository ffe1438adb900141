# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan: which jobs an update needs.

Enters received; needs the source's Architecture field, the recipe and what the workers offer; leaves planned.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from debian.debian_support import DpkgArchTable

from coordinator.errors import BadSource
from coordinator.model import Job, JobState, Source
from coordinator.recipe import Recipe
from workers.wire.arch import Arch
from workers.wire.order import JobKind


@dataclass(frozen=True)
class JobPlan:
    """The jobs, and the architectures that source and recipe name but no worker offers."""

    jobs: tuple[Job, ...]
    left_out: tuple[Arch, ...]


def plan(source: Source, recipe: Recipe, offered: Iterable[Arch]) -> JobPlan:
    """Architectures = the source's ∩ the recipe's ∩ what workers offer; `all` is built once, and by itself.

    Raises BadSource where nothing is left to build.
    """
    workers = frozenset(offered)
    wanted = [arch for arch in recipe.arch.build if source.builds_any and _fits(arch, source.architectures)]
    built = [arch for arch in wanted if arch in workers]
    builds_all = source.builds_all and recipe.arch.all_on in workers
    if not built and not builds_all:
        raise BadSource(
            f"nothing to build: {source.name} is for {' '.join(source.architectures)}, "
            f"the recipe builds {' '.join(recipe.arch.build)}, workers offer {' '.join(sorted(workers)) or 'nothing'}",
            "Start a worker for one of these architectures, or use a suite whose recipe has one.",
        )
    builds = [*built, Arch.ALL] if builds_all else built
    tested = (built or [recipe.arch.all_on]) if source.has_tests else []
    return JobPlan(
        jobs=(
            *(Job(JobKind.BUILD, arch, JobState.QUEUED) for arch in builds),
            *(Job(JobKind.TEST, arch, JobState.WAITING) for arch in tested),
        ),
        left_out=(
            *(arch for arch in wanted if arch not in workers),
            *((Arch.ALL,) if source.builds_all and not builds_all else ()),
        ),
    )


def _fits(arch: Arch, declared: tuple[str, ...]) -> bool:
    """Whether an architecture or wildcard of the source (Debian Policy 11.1.1) covers this one."""
    table = DpkgArchTable.load_arch_table()
    return any(table.matches_architecture(str(arch), name) for name in declared if name != "all")
