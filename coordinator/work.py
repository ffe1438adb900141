# SPDX-License-Identifier: GPL-3.0-or-later
"""What the orders of every kind of job have in common: filled-in commands, inputs, limits; and a judged report.

Pure. A value fills a placeholder inside one argv element; nothing here ever joins a command line.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from debian.debian_support import Version

from coordinator import depends
from coordinator.dsc import is_file_name, without_epoch
from coordinator.model import File, Job, JobState, Source, TestResult, Update
from coordinator.recipe import Recipe, StepRules, WorkRules
from workers.wire.arch import Arch
from workers.wire.order import Environment, Index, Input, Order, Step
from workers.wire.report import Report

#: The files that a signature goes into, so that they are other bytes afterwards (debsign(1)). Nothing else ever is.
SIGNED_INSIDE = (".dsc", ".buildinfo", ".changes")

#: More dependencies than these no honest worker reports, and no more are named to people.
_MOST_MISSING, _MOST_NAMES = 100, 5
#: How much is told of why an index was left out.
_MOST_WORDS = 200


@dataclass(frozen=True)
class Judgement:
    """What a report means for its job. Without a `state` the package is not to blame and the job is tried again."""

    state: JobState | None
    reason: str
    tests: tuple[TestResult, ...] = ()


@dataclass(frozen=True)
class Site:
    """What the farm adds to a recipe to make an order: the recipe's indices with addresses, and the lease."""

    indices: tuple[Index, ...]
    lease_seconds: int


def host_of(recipe: Recipe, arch: Arch) -> Arch:
    """The architecture of the container a job runs in: `all` is built where the recipe says."""
    return recipe.arch.all_on if arch == Arch.ALL else arch


def unfit(report: Report) -> str:
    """Why the files that came out cannot be kept under their names; empty where they can."""
    names = [artifact.name for artifact in report.artifacts]
    bad = [name for name in names if not is_file_name(name)]
    if bad:
        return f"a file came out whose name is no plain one: {bad[0][:80]!r}"
    return "two files with the same name came out" if len(set(names)) < len(names) else ""


def unmet(report: Report) -> Judgement:
    """What it means that apt could not satisfy the dependencies: where it is said which, they are waited for.

    Apt says nothing of the package where it did not see all of the archive.
    """
    missing = report.missing
    if not missing or len(missing) > _MOST_MISSING or not all(map(depends.read, missing)):
        if report.left_out:
            return Judgement(None, f"{report.reason}, without {report.left_out[0][:_MOST_WORDS]}")
        return Judgement(JobState.UNINSTALLABLE, report.reason)
    more = f" and {len(missing) - _MOST_NAMES} more" if len(missing) > _MOST_NAMES else ""
    return Judgement(JobState.DEP_WAIT, f"waits for {', '.join(missing[:_MOST_NAMES])}{more}")


def tree_of(source: Source) -> str:
    """The folder that `dpkg-source --extract` is told to unpack into: the one it would choose itself."""
    return f"{source.name}-{Version(source.version).upstream_version}"


def fill(argv: Sequence[str], values: Mapping[str, str], changes: Sequence[str]) -> tuple[str, ...]:
    """The argv with its placeholders replaced; an element that is `{changes}` becomes one element per name."""
    filled: list[str] = []
    for element in argv:
        if element == "{changes}":
            filled.extend(changes)
        else:
            filled.append(re.sub(r"\{([a-z]+)\}", lambda found: values[found[1]], element))
    return tuple(filled)


def make_order(update: Update, job: Job, recipe: Recipe, rules: WorkRules, site: Site, inputs: Sequence[File]) -> Order:
    """The order for a job's current attempt."""
    values = {
        "dsc": update.source.dsc.name,
        "tree": tree_of(update.source),
        "source": update.source.name,
        "version": without_epoch(update.source.version),
        "build": "all" if job.arch == Arch.ALL else "any",
        "half": "indep" if job.arch == Arch.ALL else "arch",
        "arch": str(job.arch),
        "cores": str(recipe.limits.cores),
    }
    changes = tuple(f"./{file.name}" for file in inputs if file.name.endswith(".changes"))
    return Order(
        job=update.key(job),
        attempt=job.attempt,
        host=host_of(recipe, job.arch),
        environment=environment_of(recipe, site.indices),
        inputs=tuple(Input(file.name, file.sha256, file.size) for file in inputs),
        steps=tuple(_step(rule, values, changes) for rule in rules.step),
        collect=rules.collect,
        limits=recipe.limits.limits(),
        lease_seconds=site.lease_seconds,
        runtime=recipe.environment.runtime,
    )


def environment_of(recipe: Recipe, indices: tuple[Index, ...]) -> Environment:
    """What a job of the recipe runs in, from its indices with their addresses."""
    rules = recipe.environment
    return Environment(recipe.family, recipe.suite, recipe.source.archive_keyring, indices, rules.packages)


def _step(rule: StepRules, values: Mapping[str, str], changes: Sequence[str]) -> Step:
    return Step(
        name=rule.name,
        run=tuple(fill(argv, values, changes) for argv in rule.run),
        user=rule.user,
        network=rule.network,
        prepares=rule.prepares,
    )
