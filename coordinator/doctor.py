# SPDX-License-Identifier: GPL-3.0-or-later
"""What a farm on this machine needs, row by row: found, or what to type. It looks and never repairs.

`look` gathers facts; `judge` is pure and makes rows of them.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import httpx2

from coordinator import config, mirror
from coordinator.config import Settings
from coordinator.embedded import machine, running
from coordinator.embedded.preparation import ARCHIVE_KEYRING
from coordinator.errors import ArchiveUnreachable, EngineMissing
from workers.wire.arch import Arch, Tier

#: Programs by the Debian package that has them.
PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "redis-server": ("redis-server", "valkey-server"),
    "mmdebstrap": ("mmdebstrap",),
    "uidmap": ("newuidmap",),
    "gnupg": ("gpg",),
    "gpgv": ("gpgv",),
    "dpkg-dev": ("dpkg-source",),
    "reprepro": ("reprepro",),
    "openssh-server": ("sshd",),
    "openssh-client": ("ssh-keygen",),
    "util-linux": ("setpriv",),
}
#: Suites whose archives a farm reads: one of each archive is enough to know that it answers.
SUITES = ("bookworm", "bookworm-security")
#: Less than this and a build of any size fails, in bytes.
SPACE = 10 << 30
_OLDEST_PYTHON = (3, 11)
_SECONDS = 10
_NETWORK = "Check the network, or name another mirror in farm.toml."


class State(StrEnum):
    """`missing` stops a farm; `optional` makes it do less."""

    FOUND = "found"
    MISSING = "missing"
    OPTIONAL = "optional"


@dataclass(frozen=True)
class Row:
    """One requirement: what was seen of it, and what to do where it is not met."""

    name: str
    state: State
    seen: str
    advice: str = ""


@dataclass(frozen=True)
class Answer:
    """What a mirror or the container engine answered; `problem` is empty where all is well."""

    seen: str
    problem: str = ""
    advice: str = ""


@dataclass(frozen=True)
class Facts:
    """Everything that the rows are made of."""

    python: tuple[int, ...]
    programs: Mapping[str, Path | None]
    versions: Mapping[str, str]
    keyring: bool
    engine: Answer
    tiers: Mapping[Arch, Tier]
    mirrors: Mapping[str, Answer]
    home: Path
    free_bytes: int
    writable: bool
    runs: bool


def rows() -> list[Row]:
    """Every requirement of a farm here, as it is now."""
    return judge(look(config.load()))


def judge(facts: Facts) -> list[Row]:
    """What the facts mean."""
    return [
        _python(facts.python),
        *(_program(package, path, facts.versions.get(package, "")) for package, path in facts.programs.items()),
        _keyring(facts.keyring),
        _answer("container engine", facts.engine),
        *(_architecture(arch, facts.tiers.get(arch)) for arch in Arch if arch != Arch.ALL),
        *(_answer(f"mirror of {suite}", answer) for suite, answer in facts.mirrors.items()),
        _home(facts),
        Row("farm", State.FOUND, "running" if facts.runs else "not running"),
    ]


def healthy(rows: list[Row]) -> bool:
    """Whether nothing that is needed is missing."""
    return all(row.state != State.MISSING for row in rows)


def look(settings: Settings) -> Facts:
    """The facts, each asked of the machine itself."""
    home = settings.home
    nearest = next(folder for folder in (home, *home.parents) if folder.exists())
    return Facts(
        python=sys.version_info[:3],
        programs={package: machine.program(*names) for package, names in PROGRAMS.items()},
        versions=_versions(PROGRAMS),
        keyring=ARCHIVE_KEYRING.exists(),
        engine=_ask_engine(),
        tiers=machine.tiers(),
        mirrors={suite: _ask_mirror(suite, settings) for suite in SUITES},
        home=home,
        free_bytes=shutil.disk_usage(nearest).free,
        writable=os.access(nearest, os.W_OK | os.X_OK),
        runs=running(settings.paths),
    )


def _versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of Debian packages, of those that are installed; none where this is not Debian."""
    try:
        command = ["dpkg-query", "--show", "--showformat=${Package} ${Version}\n", *packages]
        told = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS).stdout
    except FileNotFoundError:
        return {}
    return dict(line.split(" ", 1) for line in told.splitlines() if not line.endswith(" "))


def _ask_engine() -> Answer:
    try:
        return Answer(machine.engine())
    except EngineMissing as error:
        return Answer("", error.message, error.advice)


def _ask_mirror(suite: str, settings: Settings) -> Answer:
    try:
        url = mirror.mirror_for(suite, settings.mirror, settings.security_mirror)
    except ArchiveUnreachable as error:
        return Answer("", error.message, error.advice)
    if not url.startswith("http"):
        return Answer(url)
    try:
        answer = httpx2.head(f"{url}/dists/{suite}/InRelease", timeout=_SECONDS, follow_redirects=True)
    except httpx2.HTTPError as error:
        return Answer(url, f"does not answer: {type(error).__name__}", _NETWORK)
    return Answer(url) if answer.is_success else Answer(url, f"answers {answer.status_code}", _NETWORK)


def _python(version: tuple[int, ...]) -> Row:
    seen = ".".join(str(part) for part in version)
    if version < _OLDEST_PYTHON:
        return Row("Python", State.MISSING, seen, "Use Debian 12 or later, or Python 3.11 or later.")
    return Row("Python", State.FOUND, seen)


def _program(package: str, path: Path | None, version: str) -> Row:
    if path is None:
        return Row(package, State.MISSING, "not here", f"Type: sudo apt-get install --no-install-recommends {package}")
    return Row(package, State.FOUND, f"{version} {path}".strip())


def _keyring(here: bool) -> Row:
    name = "debian-archive-keyring"
    if here:
        return Row(name, State.FOUND, str(ARCHIVE_KEYRING))
    return Row(name, State.MISSING, "not here", f"Type: sudo apt-get install {name}")


def _answer(name: str, answer: Answer) -> Row:
    if not answer.problem:
        return Row(name, State.FOUND, answer.seen)
    return Row(name, State.MISSING, f"{answer.seen} {answer.problem}".strip(), answer.advice)


def _architecture(arch: Arch, tier: Tier | None) -> Row:
    """One that cannot run here is left out of the plans of updates, which go on with the others."""
    if tier is not None:
        return Row(f"architecture {arch}", State.FOUND, str(tier))
    advice = "Type: sudo apt-get install qemu-user-static binfmt-support && sudo update-binfmts --enable"
    return Row(f"architecture {arch}", State.OPTIONAL, "cannot run here", advice)


def _home(facts: Facts) -> Row:
    seen = f"{facts.home}, {facts.free_bytes / 2**30:.0f} GiB free"
    if not facts.writable:
        return Row(
            "home", State.MISSING, f"{facts.home} cannot be written", "Name a folder of yours with PATCHFARM_HOME."
        )
    if facts.free_bytes < SPACE:
        return Row("home", State.OPTIONAL, seen, f"Free some: a build may need {SPACE >> 30} GiB.")
    return Row("home", State.FOUND, seen)
