# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads from apt's answer which dependencies of a package the archive does not have. Believes nothing else of it.

The form is the same in apt 2.6 and 3.0, whichever solver: ` builddeps:FILE : Depends: NAME (>= 2) but …`, each further
dependency and alternative on a line of its own below the first. A name without a version that is `not going to be
installed` is in the archive: something else keeps it out, and nothing is gained by waiting for it.
"""

import re
from collections.abc import Iterable, Iterator

#: More of them, or longer ones, are not reported.
MOST, MOST_BYTES = 50, 1000

# apt's own `builddeps:essentials` is no wish of the package's.
_FIRST = re.compile(r" builddeps:(?!essentials )\S+ : (.*)")
_FURTHER = re.compile(r" {8,}(\S.*)")
_WISH = re.compile(
    r"([a-z0-9][a-z0-9.+-]+(?::[a-z0-9-]+)?)(?: \((<=?|=|>=?) ([A-Za-z0-9][A-Za-z0-9.+~:-]*)\))?(?: but (.*?))?(?: or)?"
)
# What apt prints and what it means in a control file (Debian Policy 7.1), where `<` is not strict.
_RELATIONS = {"<": "<<", ">": ">>"}
_KEPT_OUT = "it is not going to be installed"


def missing(lines: Iterable[str]) -> tuple[str, ...]:
    """The dependencies as the package asks for them, `libfoo-dev (>= 2) | libbar-dev`; empty where apt names none."""
    found = (_dependency(wishes) for wishes in _grouped(_said(lines)))
    return tuple(dict.fromkeys(text for text in found if text and len(text) <= MOST_BYTES))[:MOST]


def _said(lines: Iterable[str]) -> Iterator[str]:
    """What apt says of the package itself: the line that names it, and those that are set in below it."""
    inside = False
    for line in lines:
        match = _FIRST.fullmatch(line.rstrip()) or (_FURTHER.fullmatch(line.rstrip()) if inside else None)
        inside = match is not None
        if match:
            yield match[1]


def _grouped(said: Iterable[str]) -> Iterator[list[str]]:
    """The alternatives of each dependency; what is conflicted with is none."""
    group: list[str] = []
    for words in said:
        kind, named, wish = words.partition(": ")
        if named and kind.isalpha():
            yield group
            group = [wish] if kind in ("Depends", "PreDepends") else []
        elif group:
            group.append(words)
    yield group


def _dependency(wishes: list[str]) -> str:
    """Empty where it is none, or where all of it is in the archive."""
    found = [match for match in map(_WISH.fullmatch, wishes) if match]
    if len(found) != len(wishes) or all(match[4] == _KEPT_OUT and not match[2] for match in found):
        return ""
    return " | ".join(
        f"{match[1]} ({_RELATIONS.get(match[2], match[2])} {match[3]})" if match[2] else match[1] for match in found
    )
