# SPDX-License-Identifier: GPL-3.0-or-later
"""What a recipe file says: how the updates of one suite are built, tested, approved, signed and published.

TOML in, frozen values out; an unknown key or a wrong type raises BadRecipe with the place. A command is an argv list;
an element may name one of the PLACEHOLDERS, which the build and test stages fill in whole. No shell ever sees it.
"""

import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from coordinator.errors import BadRecipe, UnknownName
from coordinator.model import Urgency
from workers.wire.arch import Arch
from workers.wire.order import Limits, Network, User

#: `{dsc}` the source control file's name; `{tree}` the unpacked source; `{source}` and `{version}` without epoch;
#: `{build}` what dpkg-buildpackage takes, `any` or `all`, and `{half}` the same for apt-get, `arch` or `indep`;
#: `{arch}` the job's architecture; `{cores}` how many it may use;
#: `{changes}` becomes one element per .changes of the builds.
PLACEHOLDERS = frozenset({"dsc", "tree", "source", "version", "build", "half", "arch", "cores", "changes"})

_UNITS = {"s": 1, "m": 60, "h": 3600}
_BYTES = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def _seconds(text: str) -> str:
    if not re.fullmatch(r"[1-9]\d*[smh]", text):
        raise ValueError("a time like 90s, 30m or 4h was expected")
    return text


def _bytes(text: str) -> str:
    if not re.fullmatch(r"[1-9]\d*(KiB|MiB|GiB)", text):
        raise ValueError("a size like 64MiB or 8GiB was expected")
    return text


def _argv(argv: tuple[str, ...]) -> tuple[str, ...]:
    if not argv:
        raise ValueError("a command is a list with at least the program")
    for element in argv:
        unknown = set(re.findall(r"\{([^{}]*)\}", element)) - PLACEHOLDERS
        if unknown:
            raise ValueError(f"unknown placeholder {sorted(unknown)}; there are {sorted(PLACEHOLDERS)}")
    return argv


Duration = Annotated[str, AfterValidator(_seconds)]
Size = Annotated[str, AfterValidator(_bytes)]
Argv = Annotated[tuple[str, ...], AfterValidator(_argv)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=lambda name: name.replace("_", "-"))


class SourceRules(_Table):
    """Which sources intake takes: keyrings by name, and the suites `--from-archive` looks in, the first that has it."""

    keyrings: tuple[str, ...]
    archive_keyring: str
    from_archive: tuple[str, ...]


class IndexRule(_Table):
    """One suite the build environment uses. The mirror's address is the farm's business, not the recipe's."""

    suite: str
    components: tuple[str, ...] = ("main",)
    optional: bool = False


class EnvironmentRules(_Table):
    """The base image: the first index is bootstrapped. `runtime` is the OCI runtime, by the engine's name for it."""

    indices: tuple[IndexRule, ...] = Field(min_length=1)
    packages: tuple[str, ...] = ()
    runtime: str = Field(default="", pattern=r"^[A-Za-z0-9._-]*$")


class ArchRules(_Table):
    """The architectures the suite is built for, and the one that builds `Architecture: all`."""

    build: tuple[Arch, ...] = Field(min_length=1)
    all_on: Arch


class LimitRules(_Table):
    """What one attempt may use."""

    time: Duration
    cores: int = Field(gt=0)
    memory: Size
    processes: int = Field(gt=0)
    disk: Size
    log: Size
    output: Size
    output_files: int = Field(gt=0)

    def limits(self) -> Limits:
        """The same in seconds and bytes."""
        return Limits(
            seconds=int(self.time[:-1]) * _UNITS[self.time[-1]],
            cores=self.cores,
            memory_bytes=_in_bytes(self.memory),
            processes=self.processes,
            disk_bytes=_in_bytes(self.disk),
            log_bytes=_in_bytes(self.log),
            output_bytes=_in_bytes(self.output),
            output_files=self.output_files,
        )


class StepRules(_Table):
    """One container and the commands that run in it, in order."""

    name: str = Field(pattern=r"^[a-z][a-z-]*$")
    run: tuple[Argv, ...] = Field(min_length=1)
    user: User = User.BUILDER
    network: Network = Network.NONE
    prepares: bool = False


class WorkRules(_Table):
    """The steps of a kind of job and the files collected after the last one (glob patterns in the work directory)."""

    step: tuple[StepRules, ...] = Field(min_length=1)
    collect: tuple[str, ...]


class ApproveRules(_Table):
    """How many people other than the submitter must approve."""

    people: int = Field(ge=1)


class SignRules(_Table):
    """A key by the name the signer knows; never a path."""

    key: str


class PublishRules(_Table):
    """A target by the name the farm's settings know."""

    target: str


class Recipe(_Table):
    """A whole recipe file, in pipeline order."""

    recipe: Literal[1]
    name: str
    family: Literal["deb"]
    suite: str
    urgency: Urgency
    source: SourceRules
    environment: EnvironmentRules
    arch: ArchRules
    limits: LimitRules
    build: WorkRules
    test: WorkRules
    approve: ApproveRules
    sign: SignRules
    publish: PublishRules


R = TypeVar("R", bound=Recipe)


def parse(text: str, where: str) -> Recipe:
    """The recipe in a TOML text; `where` names it in errors."""
    return read(Recipe, text, where)


def read(kind: type[R], text: str, where: str) -> R:
    """The same, as that kind of recipe."""
    try:
        # By way of JSON, where strictness still takes a list for a tuple and a word for an enum, but no "2" for 2.
        return kind.model_validate_json(json.dumps(tomllib.loads(text), default=str), strict=True)
    except tomllib.TOMLDecodeError as error:
        raise BadRecipe(f"{where}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadRecipe(f"{where}: {place}: {first['msg']}") from error


def keyring_in(folder: Path, name: str) -> Path:
    """Of a keyring that a recipe names: `<name>/`, `<name>.asc` or `<name>.pgp` in the folder. Raises BadRecipe."""
    possible = (folder / f"{name}{ending}" for ending in ("", ".asc", ".pgp"))
    found = next((path for path in possible if path.exists()), None)
    if found is None:
        raise BadRecipe(f"the recipe's keyring {name!r} is not there", f"Put it into {folder}.")
    return found


class Recipes:
    """The recipe files of a folder, by the suite they are for."""

    def __init__(self, folder: Path) -> None:
        self._texts = {path: path.read_text() for path in sorted(folder.rglob("*.toml"))}
        self._by_suite: dict[str, tuple[Recipe, str]] = {}
        for recipe, text in self._parsed():
            if recipe.suite in self._by_suite:
                raise BadRecipe(f"{recipe.name} and {self._by_suite[recipe.suite][0].name} are both for {recipe.suite}")
            self._by_suite[recipe.suite] = recipe, text

    def _parsed(self) -> list[tuple[Recipe, str]]:
        return [(parse(text, path.name), text) for path, text in self._texts.items()]

    def suites(self) -> list[str]:
        """Every suite there is a recipe for."""
        return sorted(self._by_suite)

    def of_suite(self, suite: str) -> tuple[Recipe, str]:
        """The recipe and its text, which is what an update pins by sha256."""
        if suite not in self._by_suite:
            raise UnknownName(
                f"there is no recipe for the suite {suite!r}; there is one for {', '.join(self.suites())}"
            )
        return self._by_suite[suite]


def _in_bytes(size: str) -> int:
    return int(size[:-3]) * _BYTES[size[-3:]]
