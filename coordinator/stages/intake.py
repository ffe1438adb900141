# SPDX-License-Identifier: GPL-3.0-or-later
"""Intake: whether a source package is what it claims to be and may become an update.

Enters with the files offered and the verified bytes of their .dsc and .changes; leaves with a Source or a refusal.
It opens no file and checks no signature: only bytes that a signature or an archive's index vouches for come here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from debian.debian_support import Version

from coordinator.dsc import UploadControl, cleartext, is_file_name, read_dsc
from coordinator.dsc import read_changes as read_changes_fields
from coordinator.errors import BadSource, NotNewer
from coordinator.model import File, Origin, Signature, Source, Update, Urgency
from coordinator.ports import SourceEntry


@dataclass(frozen=True)
class Offered:
    """The files of a submission by what they are: one .dsc, at most one .changes, and the others."""

    dsc: File
    changes: File | None
    files: tuple[File, ...]


def sort_out(files: Sequence[File]) -> Offered:
    """Which of the files is which. Raises BadSource for a bad or double name, no .dsc or more than one."""
    names = [file.name for file in files]
    for name in names:
        if not is_file_name(name):
            raise BadSource(f"{name[:80]!r} is not a plain file name")
        if names.count(name) > 1:
            raise BadSource(f"{name} is offered twice")
    dscs = [file for file in files if file.name.endswith(".dsc")]
    changes = [file for file in files if file.name.endswith(".changes")]
    if len(dscs) != 1 or len(changes) > 1:
        raise BadSource(
            f"a submission is one .dsc and at most one .changes; this has {len(dscs)} and {len(changes)}",
            "Submit one source package at a time: its .dsc or _source.changes, and the files that it names.",
        )
    return Offered(dscs[0], next(iter(changes), None), tuple(files))


def uploaded(signature: Signature, offered: Offered) -> Source:
    """The source that a person signed; every file it names must be offered as it says. Raises BadSource."""
    source = _source(signature.signed, offered.dsc, Origin.UPLOAD, signature.fingerprint)
    check_files(source.files, offered.files)
    return source


def from_archive(dsc: bytes, entry: SourceEntry) -> Source:
    """The source that an archive's signed Release vouches for, whoever signed its .dsc once. Raises BadSource."""
    text = cleartext(dsc) if dsc.startswith(b"-----BEGIN") else dsc
    source = _source(text, entry.files[0], Origin.ARCHIVE, "")
    if (source.name, source.version) != (entry.name, entry.version):
        raise BadSource(
            f"the index says {entry.name} {entry.version}, {source.dsc.name} says {source.name} {source.version}"
        )
    check_files(source.files, entry.files)
    return source


def read_changes(signature: Signature, offered: Offered, source: Source, suites: Sequence[str]) -> Urgency:
    """The urgency that a source upload's .changes asks for, once it agrees with all else. Raises BadSource.

    `suites` are the names that Distribution may have: the suite's, and any other that its archive has for it.
    """
    changes = read_changes_fields(signature.signed)
    if (changes.source, changes.version) != (source.name, source.version):
        raise BadSource(
            f"the .changes is of {changes.source} {changes.version}, the .dsc of {source.name} {source.version}"
        )
    if changes.architectures != ("source",):
        raise BadSource(
            f"the .changes brings {' '.join(changes.architectures)}; only `source` is taken, the farm builds the rest",
            "Make it with `dpkg-buildpackage -S`.",
        )
    if changes.distribution not in suites:
        raise BadSource(
            f"the .changes is for {changes.distribution}, the submission for {suites[0]}",
            f"Set the distribution in debian/changelog to {suites[0]}, or submit to the other suite.",
        )
    _refuse_other_signer(signature, source)
    _check_changes_files(changes, offered, source)
    return changes.urgency


def check_files(declared: Sequence[File], offered: Sequence[File]) -> None:
    """Every declared file must be offered with that size and digest. Raises BadSource with both."""
    by_name = {file.name: file for file in offered}
    missing = [file.name for file in declared if file.name not in by_name]
    if missing:
        raise BadSource(f"{', '.join(missing)} is named but was not offered", "Submit every file that the .dsc names.")
    for file in declared:
        other = by_name[file.name]
        if other.size != file.size:
            raise BadSource(f"{file.name} has {other.size} bytes, {file.size} were declared")
        if other.sha256 != file.sha256:
            raise BadSource(f"{file.name} has the sha256 {other.sha256}, {file.sha256} was declared")


def refuse_beside(update: Update, others: Sequence[Update]) -> None:
    """Raises NotNewer where another of these updates of its source, and not an older one, is on its way already."""
    versions = [other.source.version for other in others if other.id != update.id]
    refuse_unless_newer(update.source.name, update.source.version, versions, "is on its way already")


def refuse_unless_newer(
    source: str, version: str, others: Sequence[str], where: str = "the archive has already"
) -> None:
    """Raises NotNewer where any of the other versions is not older (Debian Policy 5.6.12 has the order)."""
    newest = max(others, key=Version, default=None)
    if newest is not None and Version(version) <= Version(newest):
        raise NotNewer(f"{source} {version} is not newer than {newest}, which {where}")


def _source(signed: bytes, dsc: File, origin: Origin, signed_by: str) -> Source:
    control = read_dsc(signed)
    if dsc.name != control.dsc_name:
        raise BadSource(f"{dsc.name} says it is {control.name} {control.version}; it would be {control.dsc_name} then")
    return Source(
        name=control.name,
        version=control.version,
        architectures=control.architectures,
        builds_all=control.builds_all,
        builds_any=control.builds_any,
        has_tests=control.has_tests,
        origin=origin,
        signed_by=signed_by,
        files=(dsc, *control.files),
    )


def _refuse_other_signer(signature: Signature, source: Source) -> None:
    if signature.fingerprint != source.signed_by:
        raise BadSource(
            f"the .changes is signed by {signature.fingerprint}, the .dsc by {source.signed_by}",
            "Sign both with one key: `debsign` with the .changes does.",
        )


def _check_changes_files(changes: UploadControl, offered: Offered, source: Source) -> None:
    check_files(changes.files, offered.files)
    named = {file.name for file in changes.files}
    if source.dsc.name not in named:
        raise BadSource(f"the .changes does not name {source.dsc.name}")
    unnamed = {file.name for file in offered.files if file != offered.changes} - named
    unnamed -= {file.name for file in source.files}
    if unnamed:
        raise BadSource(f"{', '.join(sorted(unnamed))} is offered, and neither the .changes nor the .dsc names it")
