# SPDX-License-Identifier: GPL-3.0-or-later
"""Dependencies of Debian packages, one at a time, and whether given packages satisfy them. Pure.

Syntax: Debian Policy 7.1, virtual packages 7.5. What is not one is answered as such, for reports bring them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from debian.debian_support import Version

#: More than any real dependency has.
_MOST_BYTES, _MOST_ALTERNATIVES = 1000, 30

_NAME = r"[a-z0-9][a-z0-9.+-]+"
_VERSION = r"[A-Za-z0-9][A-Za-z0-9.+~:-]*"
_ALTERNATIVE = re.compile(rf"({_NAME})(?::[a-z0-9-]+)?(?: \((<<|<=|=|>=|>>) ({_VERSION})\))?")
_PROVIDED = re.compile(rf"({_NAME})(?: *\(= *({_VERSION})\))?")


@dataclass(frozen=True)
class Package:
    """A binary package of an archive; `provides` are names with their versions, or with none."""

    name: str
    version: str
    provides: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Alternative:
    """A package by name and, where `relation` is not empty, by version."""

    name: str
    relation: str
    version: str


#: Any one of them is enough.
Dependency = tuple[Alternative, ...]


def read(text: str) -> Dependency | None:
    """A dependency as a package asks for it, `libfoo-dev (>= 2) | libbar-dev`; None where that is none."""
    found = [_ALTERNATIVE.fullmatch(part) for part in text.split(" | ", _MOST_ALTERNATIVES)]
    if len(text) > _MOST_BYTES or not all(match and (not match[3] or is_version(match[3])) for match in found):
        return None
    return tuple(Alternative(match[1], match[2] or "", match[3] or "") for match in found if match)


def read_provides(text: str) -> tuple[tuple[str, str], ...]:
    """A Provides field; what is none of its entries is left out."""
    found = (_PROVIDED.fullmatch(part.strip()) for part in text.split(","))
    return tuple((match[1], match[2] or "") for match in found if match and (not match[2] or is_version(match[2])))


def is_version(text: str) -> bool:
    """Whether it can be compared as a version."""
    try:
        Version(text)
    except ValueError:
        return False
    return True


def satisfied(dependency: Dependency, packages: Iterable[Package]) -> bool:
    """Whether one of the packages is what is asked for, or provides it.

    Says nothing of whether it can be installed: only apt knows that.
    """
    offered = [offer for package in packages for offer in ((package.name, package.version), *package.provides)]
    return any(name == wanted.name and _fits(version, wanted) for wanted in dependency for name, version in offered)


def _fits(version: str, wanted: Alternative) -> bool:
    if not wanted.relation or not version:
        # What is provided without a version satisfies no relation to one.
        return not wanted.relation
    have, asked = Version(version), Version(wanted.version)
    return {
        "<<": have < asked,
        "<=": have <= asked,
        "=": have == asked,
        ">=": have >= asked,
        ">>": have > asked,
    }[wanted.relation]
