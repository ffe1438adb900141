# SPDX-License-Identifier: GPL-3.0-or-later
"""What a worker knows of Debian's family: how a base system is made, what a source needs, and what apt means.

Addresses come with the order. No index is ever used that does not verify against the keyring that the order names.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from itertools import chain, dropwhile, takewhile
from pathlib import Path

from workers.errors import AttemptEnded, broken
from workers.unmet import missing
from workers.wire.arch import Arch
from workers.wire.order import Environment, Index
from workers.wire.report import Outcome

LEFT_OUT = "left out: "

#: Where a preparing step finds what a source needs, as a source control file of nothing else; recipes name it.
DEPENDS = "/usr/lib/patchfarm/depends.dsc"
#: dpkg's list of the packages that it knows, in every image.
STATUS = "/var/lib/dpkg/status"

#: What apt is told in every image.
SETTINGS = (
    'APT::Install-Recommends "false"',
    'Acquire::Languages "none"',
    'Acquire::PDiffs "false"',
    'Acquire::Retries "3"',
    # An index that cannot be had is else a warning, and the old one is used: also by autopkgtest, and by any recipe.
    'APT::Update::Error-Mode "any"',
)
_URL = re.compile(r"(https?|file|copy)://[^\s\[\]]+")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+/:~=-]*")

#: What a source needs before it can be built, in the words of Debian Policy 7.7; a source's own fields but for these
#: are no concern of apt's, and stay behind.
_RELATIONS = (
    "Build-Depends",
    "Build-Depends-Arch",
    "Build-Depends-Indep",
    "Build-Conflicts",
    "Build-Conflicts-Arch",
    "Build-Conflicts-Indep",
)
_SOURCE = "Format: 1.0\nSource: depends\nBinary: depends\nArchitecture: any\nVersion: 1\n"
_FIELD = re.compile(r"([!-,.-9;-~][!-9;-~]*):[ \t]*(.*)")
_DEPENDENCY = re.compile(r"[A-Za-z0-9.+~:<>=()\[\]|,! \t-]*")

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


def source_line(index: Index, keyring: Path) -> str:
    """An index as one line of sources.list(5), to be verified against the keyring alone.

    Raises AttemptEnded for what could be read as more than that.
    """
    words = (index.suite, *index.components)
    if not _URL.fullmatch(index.url) or not index.components or not all(map(_WORD.fullmatch, words)):
        raise broken(f"the order names an index that cannot be one: {index.url} {' '.join(words)}")
    return f"deb [signed-by={keyring}] {index.url} {' '.join(words)}\n"


def required_sources(environment: Environment, keyring: Path) -> str:
    """sources.list(5) of every index that has to verify."""
    return "".join(source_line(index, keyring) for index in environment.indices if not index.optional)


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
        # Every attempt's apt then asks for no more of the indices than what has changed since.
        "--skip=cleanup/apt/lists",
        *include,
        *settings,
        # A fixed line for a shell: its two values are in the environment, and no file needs to be executable.
        '--customize-hook=sh "$PATCHFARM_SCRIPTS/setup-image.sh" "$1"',
        suite,
        str(tarball),
        "-",
    ]


def depends(source: str) -> str:
    """A source control file that says of a package what it needs, and nothing else, from the package's own.

    What apt would not read as one field of one paragraph (deb822(5)) is refused: raises AttemptEnded.
    """
    fields = _fields(source)
    relations = {name: _relation(name, fields[name.lower()]) for name in _RELATIONS if name.lower() in fields}
    return _SOURCE + "".join(f"{name}: {value}\n" for name, value in relations.items() if value)


def _fields(source: str) -> dict[str, str]:
    """The first paragraph, without the signature around it, by the fields' names in small letters."""
    fields: dict[str, list[str]] = {}
    name = ""
    for line in _paragraph(source.split("\n")):
        match = _FIELD.fullmatch(line)
        if match and match[1].lower() not in fields:
            name = match[1].lower()
            fields[name] = [match[2]]
        elif name and line[0] in " \t":
            fields[name].append(line)
        else:
            raise broken(f"the source control file has a line that cannot be one: {line!r}")
    return {name: " ".join(lines) for name, lines in fields.items()}


def _paragraph(lines: Iterable[str]) -> Iterable[str]:
    rest: Iterator[str] = dropwhile(lambda line: not line.strip(), lines)
    first = next(rest, "")
    if first.strip() == "-----BEGIN PGP SIGNED MESSAGE-----":
        # Its own headers end with an empty line.
        rest = dropwhile(lambda line: not line.strip(), dropwhile(lambda line: bool(line.strip()), rest))
    else:
        rest = chain([first], rest)
    return takewhile(lambda line: line.strip() and not line.startswith("-----"), rest)


def _relation(name: str, value: str) -> str:
    """Packages and versions in one line, as they were written but for the space between them."""
    if not _DEPENDENCY.fullmatch(value):
        raise broken(f"the source control file's {name} cannot be read")
    return ", ".join(" ".join(one.split()) for one in value.split(",") if one.strip())


def packages_sha256(status: str) -> str:
    """What is installed, by name, architecture and version, as one sha256: equal for equal sets, in whatever order."""
    found = set()
    for paragraph in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.split("\n") if re.match(r"[A-Za-z-]+: ", line))
        if fields.get("Status", "").endswith(" installed"):
            found.add(" ".join(fields.get(name, "") for name in ("Package", "Architecture", "Version")))
    return hashlib.sha256("".join(f"{one}\n" for one in sorted(found)).encode()).hexdigest()


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
    mirror = why_not_the_mirror(tail)
    if mirror:
        return broken(mirror)
    lines = _printed(tail)
    unmet = _unmet(lines)
    if unmet:
        return AttemptEnded(Outcome.UNINSTALLABLE, unmet, missing(lines))
    return broken(f"{step}: {_last_error(lines) or f'exit code {exit_code}'}")


def why_not_the_mirror(tail: str) -> str:
    """What apt says of the mirror, where that is at fault; nothing where it is not."""
    return _apt_words(_first((line for line in _printed(tail) if line.startswith("E:")), _MIRROR))


def _printed(tail: str) -> list[str]:
    """The lines but for the commands themselves."""
    return [line for line in tail.splitlines() if not line.startswith("+ ")]


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
