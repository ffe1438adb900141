# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes one .changes of those that the builds of all architectures made (deb-changes(5)). Pure.

devscripts' mergechanges is not used: it gives the field Binary to a shell, so that a .changes, which a package's build
can write as it likes, could run commands where the keys are (seen with 2.23.4+deb12u2). It also takes the first of two
files of one name, and does not notice that they differ.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from debian.deb822 import Deb822

from coordinator.dsc import one_paragraph, read_buildinfo, read_changes
from coordinator.errors import SignerRefused
from coordinator.model import File, Update


@dataclass(frozen=True)
class Digests:
    """Of a file's bytes as they are shipped. The weak ones are for programs that still ask for them."""

    md5: str
    sha1: str
    sha256: str
    size: int


#: The digest that a section of a .changes or .buildinfo holds.
_SECTIONS = {"Files": "md5", "Checksums-Md5": "md5", "Checksums-Sha1": "sha1", "Checksums-Sha256": "sha256"}
_LISTINGS = ("Checksums-Sha1", "Checksums-Sha256", "Files")
#: The fields that the builds make differently, or that are not theirs to say; as all names of fields, in any case.
_MADE_ANEW = {"binary", "architecture", "distribution", "description", *map(str.lower, _LISTINGS)}
#: dpkg-genchanges' order; any other field comes behind these, and the files last of all.
_ORDER: tuple[str, ...] = (
    *("Format", "Date", "Source", "Binary", "Architecture", "Version", "Distribution", "Urgency"),
    *("Maintainer", "Changed-By", "Description", "Closes", "Changes"),
)


def check(text: bytes, update: Update, shipped: Sequence[File]) -> None:
    """Refuse a build's .changes of another package, or one that names a file that nobody approved."""
    control = read_changes(text)
    _refuse_others(".changes", (control.source, control.version), update, set(control.files) - set(shipped))


def check_buildinfo(text: bytes, update: Update, shipped: Sequence[File]) -> None:
    """The same of a .buildinfo."""
    control = read_buildinfo(text)
    _refuse_others(".buildinfo", (control.source, control.version), update, set(control.files) - set(shipped))


def merge(texts: Sequence[bytes], suite: str, digests: Mapping[str, Digests]) -> str:
    """One .changes of them all, for that suite, with these digests.

    Its Distribution is the suite, whatever the package's changelog says: a source from the archive still names the
    suite that it was made for. Raises SignerRefused where the files are not exactly those of `digests`, or where the
    builds do not agree on anything else.
    """
    paragraphs = [one_paragraph(text, ".changes") for text in texts]
    places = _places(paragraphs)
    if places.keys() != digests.keys():
        differ = ", ".join(sorted(places.keys() ^ digests.keys()))
        raise SignerRefused(f"the builds' .changes do not name exactly the files that were approved: {differ}")
    fields = _agreed(paragraphs)
    for name in ("Binary", "Architecture"):
        fields[name] = " ".join(_words(paragraphs, name))
    fields["Distribution"], fields["Description"] = suite, _descriptions(paragraphs)
    for section in _LISTINGS:
        fields[section] = _listing(section, places, digests)
    return _in_order(fields)


def corrected(text: str, name: str, digests: Digests) -> str:
    """A .buildinfo that names the file with the digests that it has now, wherever it names it at all."""
    lines, section = text.split("\n"), ""
    for number, line in enumerate(lines):
        if not line.startswith((" ", "\t")):
            section = line.partition(":")[0].title()
        elif section in _SECTIONS and line.split()[-1:] == [name]:
            lines[number] = f" {getattr(digests, _SECTIONS[section])} {digests.size} {name}"
    return "\n".join(lines)


def _refuse_others(what: str, names: tuple[str, str], update: Update, strange: set[File]) -> None:
    if names != (update.source.name, update.source.version):
        raise SignerRefused(f"a {what} is of {' '.join(names)}, not of {update.source.name} {update.source.version}")
    if strange:
        listed = ", ".join(sorted({file.name for file in strange}))
        raise SignerRefused(f"a {what} names files that are not those that were approved: {listed}")


def _agreed(paragraphs: Sequence[Deb822]) -> Deb822:
    fields = Deb822()
    for paragraph in paragraphs:
        for name, value in paragraph.items():
            if name.lower() not in _MADE_ANEW and fields.setdefault(name, value) != value:
                raise SignerRefused(f"the builds' .changes do not agree on {name}")
    return fields


def _in_order(fields: Deb822) -> str:
    known = {name.lower() for name in (*_ORDER, *_LISTINGS)}
    ordered = Deb822()
    for name in (*_ORDER, *(name for name in fields if name.lower() not in known), *_LISTINGS):
        if fields.get(name):
            ordered[name] = fields[name]
    return str(ordered.dump())


def _words(paragraphs: Iterable[Deb822], field: str) -> list[str]:
    return sorted({word for paragraph in paragraphs for word in paragraph.get(field, "").split()})


def _descriptions(paragraphs: Iterable[Deb822]) -> str:
    """One line for each binary package: where architectures word it differently, one of them."""
    lines: dict[str, str] = {}
    for paragraph in paragraphs:
        for line in filter(None, map(str.strip, paragraph.get("Description", "").split("\n"))):
            lines.setdefault(line.split()[0], line)
    return "".join(f"\n {lines[name]}" for name in sorted(lines))


def _places(paragraphs: Iterable[Deb822]) -> dict[str, tuple[str, str]]:
    """Section and priority of each file, which stand in Files between size and name."""
    places: dict[str, tuple[str, str]] = {}
    for paragraph in paragraphs:
        for line in filter(None, map(str.strip, paragraph["Files"].split("\n"))):
            found = re.fullmatch(r"\S+\s+\S+\s+(\S+)\s+(\S+)\s+(\S+)", line)
            if found is None:
                raise SignerRefused(f"a .changes does not give section and priority of a file: {line[:80]!r}")
            places.setdefault(found[3], (found[1], found[2]))
    return places


def _listing(section: str, places: Mapping[str, tuple[str, str]], digests: Mapping[str, Digests]) -> str:
    def line(name: str) -> str:
        columns = [getattr(digests[name], _SECTIONS[section]), str(digests[name].size)]
        return " ".join((*columns, *(places[name] if section == "Files" else ()), name))

    return "".join(f"\n {line(name)}" for name in digests)
