# SPDX-License-Identifier: GPL-3.0-or-later
"""What a worker knows of Debian's family: how a base system is made, and what apt means when it fails.

Addresses come with the order. No index is ever used that does not verify against the archive's keyring.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from workers.errors import AttemptEnded, broken
from workers.wire.arch import Arch
from workers.wire.order import Environment, Index
from workers.wire.report import Outcome

#: In the worker's own system it verifies the bootstrap; in the image, where apt depends on it, everything later.
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

LEFT_OUT = "left out: "

#: What apt is told in every image.
SETTINGS = (
    'APT::Install-Recommends "false"',
    'Acquire::Languages "none"',
    'Acquire::PDiffs "false"',
    'Acquire::Retries "3"',
)
_URL = re.compile(r"(https?|file|copy)://[^\s\[\]]+")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+/:~=-]*")

#: What apt prints when the mirror, not the dependencies, is at fault.
_MIRROR = re.compile(
    r"Failed to fetch|Hash Sum mismatch|has unexpected size|Temporary failure resolving|Could not resolve|"
    r"Could not connect|Unable to connect|Connection (failed|timed out)|is not signed|NO_PUBKEY|"
    r"no longer has a Release file|does not have a Release file|is not valid yet|Release file .* expired|"
    r"No space left on device|Some index files failed"
)
#: What it prints when the archive does not have what the package asks for.
_DEPENDENCIES = re.compile(
    r"Unable to correct problems|have unmet dependencies|could not be satisfied|Unable to satisfy|"
    r"Unable to locate package|has no installation candidate|is not installable|Unsatisfi|"
    r"Depends: .* but "
)


def source_line(index: Index) -> str:
    """An index as one line of sources.list(5); raises AttemptEnded for what could be read as more than that."""
    words = (index.suite, *index.components)
    if not _URL.fullmatch(index.url) or not index.components or not all(map(_WORD.fullmatch, words)):
        raise broken(f"the order names an index that cannot be one: {index.url} {' '.join(words)}")
    return f"deb [signed-by={KEYRING}] {index.url} {' '.join(words)}\n"


def required_sources(environment: Environment) -> str:
    """sources.list(5) of every index that has to verify."""
    return "".join(source_line(index) for index in environment.indices if not index.optional)


def optional_sources(environment: Environment) -> dict[str, Index]:
    """The others, by the name of the file each gets under sources.list.d."""
    return {f"optional-{number}.list": index for number, index in enumerate(environment.indices) if index.optional}


def bootstrap_command(environment: Environment, arch: Arch, tarball: Path) -> list[str]:
    """What makes a system with build-essential and the packages of the environment; sources come on its stdin."""
    suite = environment.indices[0].suite
    if not _WORD.fullmatch(suite) or not all(map(_WORD.fullmatch, environment.packages)):
        raise broken("the order names a suite or a package that cannot be one")
    include = [f"--include={','.join(environment.packages)}"] if environment.packages else []
    settings = [f"--aptopt={setting}" for setting in SETTINGS]
    return [
        "mmdebstrap",
        "--variant=buildd",
        f"--arch={arch}",
        "--format=tar",
        *include,
        *settings,
        # A fixed line for a shell: its two values are in the environment, and no file needs to be executable.
        '--customize-hook=sh "$PATCHFARM_SCRIPTS/setup-image.sh" "$1"',
        suite,
        str(tarball),
        "-",
    ]


def left_out(lines: Iterable[str], optional: dict[str, Index], arch: Arch) -> tuple[str, ...]:
    """What the hook says of optional indices that did not verify, for people."""
    found = []
    for line in lines:
        if line.startswith(LEFT_OUT):
            name, _, why = line.removeprefix(LEFT_OUT).partition(" ")
            if name in optional:
                found.append(f"{optional[name].suite} {arch}: {_apt_words(why) or 'did not verify'}")
    return tuple(found)


def why_bootstrap_failed(lines: Iterable[str]) -> str:
    """The line of mmdebstrap's and apt's that says most."""
    kept = [line for line in lines if not line.startswith("E: mmdebstrap failed to run")]
    return _first(kept, _MIRROR) or _last_error(kept) or (kept[-1].strip() if kept else "it said nothing")


def why_unprepared(tail: str, step: str, exit_code: int) -> AttemptEnded:
    """What a preparing step's failure means, from the end of what it printed.

    The mirror goes first: dependencies look unmet when an index is missing.
    """
    lines = [line for line in tail.splitlines() if not line.startswith("+ ")]
    mirror = _first((line for line in lines if line.startswith("E:")), _MIRROR)
    if mirror:
        return broken(_apt_words(mirror))
    unmet = _unmet(lines)
    if unmet:
        return AttemptEnded(Outcome.UNINSTALLABLE, unmet)
    return broken(f"{step}: {_last_error(lines) or f'exit code {exit_code}'}")


def _unmet(lines: list[str]) -> str:
    """The first dependency that is not met, or apt's summary where it names none."""
    named = _first(lines, re.compile(r"Depends: .* but |Unable to locate package|no installation candidate"))
    summary = _first((line for line in lines if line.startswith("E:")), _DEPENDENCIES)
    return _apt_words(named or summary) if named or summary else ""


def _first(lines: Iterable[str], pattern: re.Pattern[str]) -> str:
    return next((line.strip() for line in lines if pattern.search(line)), "")


def _last_error(lines: list[str]) -> str:
    return next((line.strip() for line in reversed(lines) if re.match(r"(E|dpkg|Err|error)\b.*:", line)), "")


def _apt_words(line: str) -> str:
    return line.strip().removeprefix("E:").strip()
