# SPDX-License-Identifier: GPL-3.0-or-later
"""The project names no mirror and no package registry: where packages come from is the machine's to say.

The hosts that must not appear are read from this machine's own configuration, so that this file names none either.
"""

import re
import shutil
import subprocess
import sys

from tests.architecture.tree import files, place, text

#: What the hosts of archives and registries are called everywhere; those reserved for examples are nobody's.
ARCHIVE = re.compile(
    r"\b(?:deb|ftp\d?|archive|security|mirrors?|snapshot|ports|registry|pypi|npm|rubygems|crates|proxy|hub)"
    r"\.(?!example\b)(?:[a-z0-9-]+\.)*(?:org|com|net|io|dev|eu|de|uk)\b"
)
HOST = re.compile(r"(?:https?|ftp)://(?:[^/@\s]*@)?([a-z0-9.-]+\.[a-z]{2,})")


def said_by(*command: str) -> str:
    """What a program of the machine prints; nothing where there is no such program."""
    if shutil.which(command[0]) is None:
        return ""
    return subprocess.run(command, capture_output=True, text=True).stdout


def configured_hosts() -> set[str]:
    """Where this machine gets packages from, by its own account."""
    told = (
        said_by("apt-get", "indextargets", "--format", "$(SITE)"),
        said_by(sys.executable, "-m", "pip", "config", "list"),
        said_by(sys.executable, "-m", "pip", "install", "--help"),
        said_by("npm", "config", "get", "registry"),
    )
    return {host for answer in told for host in HOST.findall(answer)}


def test_no_file_names_a_host_that_this_machine_gets_packages_from() -> None:
    hosts = configured_hosts()
    assert {place(path) for path in files() for host in hosts if host in text(path)} == set()


def test_no_file_names_a_host_that_looks_like_an_archive_or_a_registry() -> None:
    found = {place(path): match.group() for path in files() if (match := ARCHIVE.search(text(path)))}
    assert found == {}


def test_the_pattern_would_find_one() -> None:
    assert ARCHIVE.search("mirror." + "somewhere.net")
    assert not ARCHIVE.search("http://mirror.example.org/debian")
