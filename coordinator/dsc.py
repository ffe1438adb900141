# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads control files, `.dsc`, `.changes` and `.buildinfo`, of Debian's format (Debian Policy 5.2, 5.4, 5.5; dsc(5)).

Only ever give it bytes that a signature, a signed index or an approved digest vouches for. It takes nothing that two
programs could read in two ways: no second paragraph, no field twice, no comment, no file name with a folder in it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from debian.deb822 import Deb822

from coordinator.errors import BadSource
from coordinator.model import File, Urgency

#: More than any real one; what is longer is not read at all.
MAX_BYTES = 1 << 20

_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]{1,99}")  # Debian Policy 5.6.1
_VERSION = re.compile(r"(?:[0-9]{1,9}:)?[0-9](?:[A-Za-z0-9.+~-]*[A-Za-z0-9.+~])?")  # Debian Policy 5.6.12
_ARCHITECTURE = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+){0,3}")  # Debian Policy 5.6.8
_DISTRIBUTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9./_-]{0,99}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+.~_-]{1,249}")
_LINE = re.compile(r"[!\"$-,.-9;-~][!-9;-~]*:.*|[ \t].*\S.*")
_SIZE = re.compile(r"[0-9]{1,15}")
_DIGEST_LENGTH = {"Files": 32, "Checksums-Md5": 32, "Checksums-Sha1": 40, "Checksums-Sha256": 64}
_SECTIONS = ("Files", "Checksums-Sha1", "Checksums-Sha256")
_BUILD_SECTIONS = ("Checksums-Md5", "Checksums-Sha1", "Checksums-Sha256")

_TAR = r"\.tar\.(?:gz|bz2|xz|lzma)"
_COMPONENT = r"(?:-[A-Za-z0-9][A-Za-z0-9-]*)?"
_ORIG, _ORIGS, _ORIG_ASC = rf"\.orig{_TAR}", rf"\.orig{_COMPONENT}{_TAR}", rf"\.orig{_COMPONENT}{_TAR}\.asc"


@dataclass(frozen=True)
class _Layout:
    """The files of a source package: `one` of each exactly, and `also` any of these."""

    one: tuple[str, ...]
    also: tuple[str, ...] = ()


#: What follows `<source>_<version>` in the names of each format's files (dpkg-source(1), "Source package formats").
_LAYOUTS: dict[str, tuple[_Layout, ...]] = {
    "1.0": (_Layout((r"\.tar\.gz",)), _Layout((r"\.orig\.tar\.gz", r"\.diff\.gz"), (_ORIG_ASC,))),
    "3.0 (native)": (_Layout((_TAR,), (rf"{_TAR}\.asc",)),),
    "3.0 (quilt)": (_Layout((_ORIG, rf"\.debian{_TAR}"), (_ORIGS, _ORIG_ASC)),),
}


@dataclass(frozen=True)
class SourceControl:
    """What a .dsc says; `files` without the .dsc itself, in its own order."""

    name: str
    version: str
    architectures: tuple[str, ...]
    builds_all: bool
    builds_any: bool
    has_tests: bool
    files: tuple[File, ...]

    @property
    def dsc_name(self) -> str:
        """The only name its own file may have."""
        return f"{self.name}_{without_epoch(self.version)}.dsc"


@dataclass(frozen=True)
class UploadControl:
    """What a .changes says."""

    source: str
    version: str
    architectures: tuple[str, ...]
    distribution: str
    urgency: Urgency
    files: tuple[File, ...]


@dataclass(frozen=True)
class BuildControl:
    """What a .buildinfo says of what was built (deb-buildinfo(5))."""

    source: str
    version: str
    files: tuple[File, ...]


def read_dsc(signed: bytes) -> SourceControl:
    """The facts of a .dsc. Raises BadSource."""
    fields = one_paragraph(signed, ".dsc")
    name, version = _matching(fields, "Source", _NAME), _matching(fields, "Version", _VERSION)
    architectures = _words(fields, "Architecture", _ARCHITECTURE)
    listed = _package_list(fields.get("Package-List", ""))
    control = SourceControl(
        name=name,
        version=version,
        architectures=architectures,
        builds_all="all" in architectures or "all" in listed,
        builds_any=any(arch != "all" for arch in architectures),
        has_tests="autopkgtest" in re.split(r"[,\s]+", fields.get("Testsuite", "")),
        files=_files(fields),
    )
    _refuse_foreign_files(control, _required(fields, "Format"))
    return control


def read_changes(signed: bytes) -> UploadControl:
    """The facts of a .changes. Raises BadSource."""
    fields = one_paragraph(signed, ".changes")
    urgency = _required(fields, "Urgency").split()[0].lower()
    if urgency not in set(Urgency):
        raise BadSource(f"the .changes has Urgency {urgency[:40]!r}; there are {', '.join(Urgency)}")
    return UploadControl(
        source=_matching(fields, "Source", _NAME),
        version=_matching(fields, "Version", _VERSION),
        architectures=_words(fields, "Architecture", _ARCHITECTURE),
        distribution=_matching(fields, "Distribution", _DISTRIBUTION),
        urgency=Urgency(urgency),
        files=_files(fields),
    )


def read_buildinfo(text: bytes) -> BuildControl:
    """The facts of a .buildinfo. Raises BadSource."""
    fields = one_paragraph(text, ".buildinfo")
    return BuildControl(
        source=_matching(fields, "Source", _NAME),
        version=_matching(fields, "Version", _VERSION),
        files=_files(fields, _BUILD_SECTIONS),
    )


def without_epoch(version: str) -> str:
    """The version as it stands in file names (Debian Policy 5.6.12)."""
    return version.split(":", 1)[-1]


def is_file_name(name: str) -> bool:
    """Whether it is a bare file name with nothing in it that a shell, a URL or a terminal could misread."""
    return _FILE_NAME.fullmatch(name) is not None


def cleartext(data: bytes) -> bytes:
    """The text of a cleartext-signed message (RFC 9580, 7) that is the whole of `data`; checks no signature.

    Raises BadSource where there is a single byte before, between or after that a signature would not cover.
    """
    lines = data.replace(b"\r\n", b"\n").split(b"\n")
    while lines and not lines[-1].strip():
        lines.pop()
    marks = [number for number, line in enumerate(lines) if line.startswith(b"-") and not line.startswith(b"- ")]
    if [lines[mark].rstrip() for mark in marks] != _ARMOR or marks[0] != 0 or marks[2] != len(lines) - 1:
        raise BadSource("it is not one cleartext-signed message with nothing before or after it")
    try:
        blank = lines.index(b"", 1, marks[1])
    except ValueError:
        raise BadSource("its signed text does not begin with an empty line") from None
    if any(not re.fullmatch(rb"Hash: [A-Za-z0-9, -]{1,80}", line) for line in lines[1:blank]):
        raise BadSource("it has an unknown header before the signed text, which no signature covers")
    return b"\n".join(line.removeprefix(b"- ") for line in lines[blank + 1 : marks[1]]) + b"\n"


_ARMOR = [b"-----BEGIN PGP SIGNED MESSAGE-----", b"-----BEGIN PGP SIGNATURE-----", b"-----END PGP SIGNATURE-----"]


def one_paragraph(signed: bytes, what: str) -> Deb822:
    """The fields, if it is one paragraph that all programs read alike. `what` names it in errors. Raises BadSource."""
    if len(signed) > MAX_BYTES:
        raise BadSource(f"the {what} has {len(signed)} bytes; {MAX_BYTES} is the most that is read")
    try:
        text = signed.decode().replace("\r\n", "\n").strip("\n")
    except UnicodeDecodeError as error:
        raise BadSource(f"the {what} is not UTF-8 at byte {error.start}") from None
    lines = text.split("\n")
    if lines != text.splitlines():
        raise BadSource(f"the {what} has characters that some programs take for the end of a line")
    for number, line in enumerate(lines, 1):
        if not _LINE.fullmatch(line) or any(ord(letter) < 32 and letter != "\t" for letter in line):
            raise BadSource(f"line {number} of the {what} is neither a field nor the continuation of one")
    names = [line.split(":", 1)[0].lower() for line in lines if line[0] not in " \t"]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadSource(f"the {what} has the field {twice[0][:80]} twice")
    return Deb822(text)


def _required(fields: Mapping[str, str], field: str) -> str:
    value = str(fields.get(field, "")).strip()
    if not value:
        raise BadSource(f"the field {field} is missing")
    return value


def _matching(fields: Mapping[str, str], field: str, pattern: re.Pattern[str]) -> str:
    value = _required(fields, field)
    if len(value) > 200 or not pattern.fullmatch(value):
        raise BadSource(f"{field} {value[:80]!r} is not as Debian Policy 5.6 asks")
    return value


def _words(fields: Mapping[str, str], field: str, pattern: re.Pattern[str]) -> tuple[str, ...]:
    words = tuple(_required(fields, field).split())
    for word in words:
        if not pattern.fullmatch(word):
            raise BadSource(f"{field} has {word[:80]!r}, which is not as Debian Policy 5.6 asks")
    return words


def _package_list(text: str) -> frozenset[str]:
    """The architectures for which a Package-List names a binary package."""
    found = re.findall(r"\sarch=(\S+)", text)
    return frozenset(arch for entry in found for arch in entry.split(","))


def _files(fields: Mapping[str, str], sections: Sequence[str] = _SECTIONS) -> tuple[File, ...]:
    """The files that every section names alike; the digest that counts is the sha256."""
    tables = {section: _table(_required(fields, section), section) for section in sections}
    sizes = {section: {name: size for name, (_, size) in table.items()} for section, table in tables.items()}
    for section in sections:
        if sizes[section] != sizes["Checksums-Sha256"]:
            differ = sorted(dict(sizes[section].items() ^ sizes["Checksums-Sha256"].items()))
            raise BadSource(f"{section} and Checksums-Sha256 do not name the same files and sizes: {', '.join(differ)}")
    return tuple(File(name, digest, size) for name, (digest, size) in tables["Checksums-Sha256"].items())


def _table(text: str, section: str) -> dict[str, tuple[str, int]]:
    """Name → digest and size. A .changes' Files has two more columns, section and priority."""
    table: dict[str, tuple[str, int]] = {}
    for line in filter(None, map(str.strip, text.split("\n"))):
        columns = line.split()
        digest, size, name = columns[0], columns[min(1, len(columns) - 1)], columns[-1]
        if len(columns) not in ((3, 5) if section == "Files" else (3,)) or not _SIZE.fullmatch(size):
            raise BadSource(f"{section} has a line that is not a digest, a size and a name: {line[:80]!r}")
        if not re.fullmatch(f"[0-9a-f]{{{_DIGEST_LENGTH[section]}}}", digest):
            raise BadSource(f"{section} has a digest that is none: {digest[:80]!r}")
        if not is_file_name(name):
            raise BadSource(f"{section} names {name[:80]!r}, which is not a plain file name")
        if name in table:
            raise BadSource(f"{section} names {name} twice")
        table[name] = digest, int(size)
    return table


def _refuse_foreign_files(control: SourceControl, form: str) -> None:
    """Every file must be one that dpkg-source makes for this very source and version."""
    layouts = _LAYOUTS.get(form)
    if layouts is None:
        raise BadSource(f"source format {form[:40]!r} is not taken; {', '.join(_LAYOUTS)} are")
    names = [file.name for file in control.files]
    for name in names:
        if not name.startswith(f"{control.name}_"):
            raise BadSource(f"{name} does not belong to {control.name} {control.version}")
    if not any(_fits(names, control, layout) for layout in layouts):
        raise BadSource(
            f"these are not the files of {control.name} {control.version} in format {form}: {', '.join(names)}"
        )


def _fits(names: list[str], control: SourceControl, layout: _Layout) -> bool:
    one, also = ([_pattern(control, end) for end in ends] for ends in (layout.one, layout.also))
    known = all(any(pattern.fullmatch(name) for pattern in (*one, *also)) for name in names)
    return known and all(sum(bool(pattern.fullmatch(name)) for name in names) == 1 for pattern in one)


def _pattern(control: SourceControl, end: str) -> re.Pattern[str]:
    """What comes from upstream has the version without Debian's revision in its name, all else the whole."""
    version = without_epoch(control.version)
    if end.startswith(r"\.orig"):
        version = version.rpartition("-")[0] or version
    return re.compile(re.escape(f"{control.name}_{version}") + end)
