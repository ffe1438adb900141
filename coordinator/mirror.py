# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the archive mirror that this machine's own apt uses: the farm names none itself.

Only sources of Debian's archive count; a machine has vendors' sources too.
"""

import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from debian.deb822 import Deb822

from coordinator.errors import ArchiveUnreachable

APT = Path("/etc/apt")
_FIELDS = ("ORIGIN", "REPO_URI", "RELEASE", "CODENAME", "SUITE")
_FOLDERS = {"debian", "debian-security"}
_ONE_LINE = re.compile(r"deb(?:-src)?\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)")
_ADVICE = "Name one with the setting `{setting}` in farm.toml, or add Debian's {archive} to this machine's apt sources."


@dataclass(frozen=True)
class AptSource:
    """A suite at an address that apt uses. `origin` is its Release's, empty where no list was downloaded yet."""

    url: str
    suites: tuple[str, ...]
    origin: str
    signed_by: str


def mirror_for(suite: str, settings_mirror: str, settings_security: str) -> str:
    """The address of the archive that has the suite; a setting wins. Raises ArchiveUnreachable with advice."""
    setting = settings_security if is_security(suite) else settings_mirror
    if setting:
        return setting.rstrip("/")
    found = pick(suite, from_apt()) or pick(suite, from_files(APT))
    if found is None:
        name, archive = ("security_mirror", "security archive") if is_security(suite) else ("mirror", "archive")
        raise ArchiveUnreachable(
            f"this machine's apt has no source of Debian's {archive} to take {suite} from",
            _ADVICE.format(setting=name, archive=archive),
        )
    return found


def checks_valid_until() -> bool:
    """Whether apt refuses a Release past its Valid-Until; machines on a frozen mirror have switched that off."""
    return "false" not in _said("apt-config", "shell", "VALUE", "Acquire::Check-Valid-Until/b")


def is_security(suite: str) -> bool:
    """Whether the suite is in the security archive; before bullseye they were called `buster/updates`."""
    return suite.endswith(("-security", "/updates"))


def pick(suite: str, sources: Iterable[AptSource]) -> str | None:
    """The address of a source of Debian's that has the suite itself or, failing that, one of its archive's suites."""
    same_archive = [
        source
        for source in sources
        if _is_debian(source) and any(is_security(name) == is_security(suite) for name in source.suites)
    ]
    exact = [source for source in same_archive if suite in source.suites]
    return next((source.url.rstrip("/") for source in (*exact, *same_archive)), None)


def from_apt() -> list[AptSource]:
    """What apt says it uses; nothing before its first `apt-get update`."""
    rows = _said("apt-get", "indextargets", "--format", "\t".join(f"$({field})" for field in _FIELDS)).splitlines()
    return [_from_row(row.split("\t")) for row in dict.fromkeys(rows) if row.count("\t") == len(_FIELDS) - 1]


def from_files(folder: Path) -> list[AptSource]:
    """What apt's source files say (sources.list(5)), in both styles."""
    paths = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    found: list[AptSource] = []
    for path in paths:
        if path.is_file() and path.suffix == ".sources":
            found.extend(_deb822_style(path.read_text(errors="replace")))
        elif path.is_file() and path.suffix == ".list":
            found.extend(_one_line_style(path.read_text(errors="replace")))
    return found


def _from_row(row: Sequence[str]) -> AptSource:
    # What apt does not know it repeats as it was asked, `$(ORIGIN)`.
    origin, url, *names = ("" if value.startswith("$(") else value for value in row)
    return AptSource(url, tuple(dict.fromkeys(name for name in names if name)), origin, "")


def _deb822_style(text: str) -> list[AptSource]:
    return [
        AptSource(url, tuple(fields.get("Suites", "").split()), "", fields.get("Signed-By", "").strip())
        for fields in Deb822.iter_paragraphs(text, use_apt_pkg=False)
        if fields.get("Enabled", "yes").lower() not in ("no", "false", "without", "off", "disable", "0")
        for url in fields.get("URIs", "").split()
    ]


def _one_line_style(text: str) -> list[AptSource]:
    lines = (_ONE_LINE.match(line.strip()) for line in text.splitlines())
    return [
        AptSource(line[2], (line[3],), "", _option(line[1] or "", "signed-by")) for line in lines if line is not None
    ]


def _option(options: str, name: str) -> str:
    pairs = (option.partition("=") for option in options.split())
    return next((value for key, _, value in pairs if key.lower() == name), "")


def _is_debian(source: AptSource) -> bool:
    """By its Release's Origin; without one by the keyring it is pinned to; without that by its folder's usual name."""
    if not source.url.startswith(("http://", "https://", "file:/")):
        return False
    if source.origin:
        return source.origin == "Debian"
    if source.signed_by:
        return Path(source.signed_by).name.startswith("debian-archive")
    return source.url.rstrip("/").rpartition("/")[2] in _FOLDERS


def _said(*command: str) -> str:
    """What a program of apt's prints; nothing where it fails or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
