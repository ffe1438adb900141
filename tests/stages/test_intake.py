# SPDX-License-Identifier: GPL-3.0-or-later
"""Intake takes what a trusted person signed, whole and newer, and nothing else."""

import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.dsc import cleartext, read_changes, read_dsc
from coordinator.errors import BadSource, NotNewer, PatchfarmError
from coordinator.model import Origin, Signature, Source, Urgency
from coordinator.openpgp import SequoiaVerifier
from coordinator.ports import SourceEntry
from coordinator.stages import intake
from tests.sources import Person, as_files, make_changes, make_source, resign

ALICE = Person("alice")
VERSION = "1:1.0-1+deb12u1"


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return make_source(tmp_path / "source", "sample", VERSION, ALICE)


def take(paths: list[Path], signer: Person = ALICE) -> Source:
    """The whole way of an upload: signature, then the facts, then the files."""
    keyring = signer.write_cert(paths[0].parent.parent)
    offered = intake.sort_out(as_files(paths))
    return intake.uploaded(SequoiaVerifier().clearsigned(paths[0].read_bytes(), [keyring]), offered)


def take_changes(paths: list[Path], changes: Path, suites: tuple[str, ...] = ("bookworm-security",)) -> Urgency:
    source = take(paths)
    offered = intake.sort_out(as_files([changes, *paths]))
    signature = SequoiaVerifier().clearsigned(changes.read_bytes(), [ALICE.write_cert(changes.parent.parent)])
    return intake.read_changes(signature, offered, source, suites)


def test_a_signed_source_is_taken_with_all_that_it_says(paths: list[Path]) -> None:
    source = take(paths)
    assert (source.name, source.version, source.architectures) == ("sample", VERSION, ("any",))
    assert (source.builds_any, source.builds_all, source.has_tests) == (True, False, True)
    assert (source.origin, source.signed_by) == (Origin.UPLOAD, ALICE.fingerprint)
    assert source.files == tuple(as_files(paths))
    assert source.dsc.name == "sample_1.0-1+deb12u1.dsc"


def test_a_native_source_for_all_architectures_without_tests_says_so(tmp_path: Path) -> None:
    source = take(make_source(tmp_path / "s", "sample", "1.0", ALICE, native=True, architecture="all", tested=False))
    assert (source.builds_any, source.builds_all, source.has_tests) == (False, True, False)


def test_a_truncated_tarball_is_refused_with_both_sizes(paths: list[Path]) -> None:
    whole = paths[1].read_bytes()
    paths[1].write_bytes(whole[:-10])
    with pytest.raises(BadSource, match=f"{paths[1].name} has {len(whole) - 10} bytes, {len(whole)} were declared"):
        take(paths)


def test_an_altered_tarball_is_refused_with_both_digests(paths: list[Path]) -> None:
    whole = paths[2].read_bytes()
    declared = as_files(paths)[2].sha256
    paths[2].write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BadSource, match=f"has the sha256 [0-9a-f]{{64}}, {declared} was declared"):
        take(paths)


def test_a_file_that_was_not_offered_is_named(paths: list[Path]) -> None:
    with pytest.raises(BadSource, match=r"sample_1\.0\.orig\.tar\.xz is named but was not offered"):
        take([paths[0], paths[2]])


def swap(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new)


BAD_EDITS = {
    "a path out of the folder": (
        lambda text: text + f" {'0' * 32} 3 ../../etc/evil\n",
        "names '../../etc/evil', which is not a plain file name",
    ),
    "an absolute path": (lambda text: text + f" {'0' * 32} 3 /etc/evil\n", "not a plain file name"),
    "a file in Files alone": (
        lambda text: text + f" {'0' * 32} 3 sample_1.0.orig-evil.tar.xz\n",
        "Files and Checksums-Sha256 do not name the same files and sizes: sample_1.0.orig-evil.tar.xz",
    ),
    "another size in Files": (
        lambda text: text[: text.index("Files:")] + _other_size(text),
        "the same files and sizes",
    ),
    "no sha256": (swap("Checksums-Sha256:", "Checksums-Sha224:"), "the field Checksums-Sha256 is missing"),
    "a name twice": (lambda text: text + text.rstrip("\n").rpartition("\n")[2] + "\n", "twice"),
    "a field twice": (lambda text: text + "source: other\n", "has the field source twice"),
    "a second paragraph": (lambda text: text + "\nSource: evil\n", "neither a field nor the continuation"),
    "a comment": (lambda text: "# hidden\n" + text, "neither a field nor the continuation"),
    "a line end for some": (swap("Binary: sample", "Binary: sample\u2028Source: evil"), "for the end of a line"),
    "a control character": (swap("Binary: sample", "Binary: sample\x1b[2J"), "neither a field nor"),
    "an upper-case name": (swap("Source: sample", "Source: Sample"), "Debian Policy 5.6"),
    "a version with a slash": (swap("Version: 1:1.0", "Version: 1:1/0"), "Debian Policy 5.6"),
    "a version without a number": (swap("Version: 1:1.0", "Version: 1:x"), "Debian Policy 5.6"),
    "another version": (swap("Version: 1:1.0-1", "Version: 1:1.0-2"), "are not the files of sample"),
    "another source": (swap("Source: sample", "Source: example"), "does not belong to example"),
    "a bad architecture": (swap("Architecture: any", "Architecture: any;rm"), "Architecture has 'any;rm'"),
    "an unknown format": (swap("3.0 (quilt)", "3.0 (git)"), "format '3.0 \\(git\\)' is not taken"),
    "another known format": (swap("3.0 (quilt)", "3.0 (native)"), "are not the files of sample .* in format 3.0"),
    "no version": (swap("Version:", "X-Version:"), "the field Version is missing"),
    "a digest that is none": (swap("Checksums-Sha256:\n ", "Checksums-Sha256:\n x"), "a digest that is none"),
    "a size that is none": (swap("Files:\n ", "Files:\n 00 "), "is not a digest, a size and a name"),
}


def _other_size(text: str) -> str:
    digest, size, _name = text[text.index("Files:") :].split("\n")[1].split()
    return text[text.index("Files:") :].replace(f"{digest} {size}", f"{digest} {int(size) + 1}")


@pytest.mark.parametrize("what", BAD_EDITS)
def test_a_properly_signed_dsc_is_refused_for(what: str, paths: list[Path]) -> None:
    edit, message = BAD_EDITS[what]
    resign(paths[0], ALICE, edit)
    with pytest.raises(BadSource, match=message):
        take(paths)


def test_a_dsc_under_another_name_is_refused(paths: list[Path]) -> None:
    paths[0] = paths[0].rename(paths[0].with_name("other_1.0.dsc"))
    with pytest.raises(BadSource, match=r"other_1\.0\.dsc says it is sample"):
        take(paths)


@pytest.mark.parametrize("names", [[], ["a_1.dsc", "b_1.dsc"], ["a_1.dsc", "a.changes", "b.changes"]])
def test_a_submission_is_one_source_package(names: list[str], paths: list[Path]) -> None:
    files = [replace(as_files(paths)[0], name=name) for name in names]
    with pytest.raises(BadSource, match=r"one \.dsc and at most one \.changes"):
        intake.sort_out(files)


@pytest.mark.parametrize("name", ["../a.dsc", "a/b.dsc", "", "-rf.dsc", ".dsc", "a b.dsc", "a\n.dsc", "ä.dsc"])
def test_an_offered_file_has_a_plain_name(name: str, paths: list[Path]) -> None:
    with pytest.raises(BadSource, match="is not a plain file name"):
        intake.sort_out([replace(as_files(paths)[0], name=name)])


def test_no_file_is_offered_twice(paths: list[Path]) -> None:
    with pytest.raises(BadSource, match="is offered twice"):
        intake.sort_out(as_files([*paths, paths[1]]))


def test_the_changes_of_a_source_upload_gives_the_urgency(paths: list[Path]) -> None:
    assert take_changes(paths, make_changes(paths, ALICE, urgency="critical")) == Urgency.CRITICAL


def test_the_changes_may_name_the_suite_by_another_of_its_names(paths: list[Path]) -> None:
    changes = make_changes(paths, ALICE, distribution="oldstable-security")
    assert take_changes(paths, changes, ("bookworm-security", "oldstable-security")) == Urgency.HIGH


def test_the_changes_for_another_suite_is_refused_with_both(paths: list[Path]) -> None:
    with pytest.raises(BadSource, match="is for unstable, the submission for bookworm-security"):
        take_changes(paths, make_changes(paths, ALICE, distribution="unstable"))


@pytest.mark.parametrize("arch", ["amd64", "source amd64"])
def test_the_changes_with_binaries_is_refused(arch: str, paths: list[Path]) -> None:
    with pytest.raises(BadSource, match="only `source` is taken"):
        take_changes(paths, make_changes(paths, ALICE, arch=arch))


def test_the_changes_and_the_dsc_must_be_signed_by_one(paths: list[Path]) -> None:
    source, changes = take(paths), make_changes(paths, ALICE)
    signature = Signature(cleartext(changes.read_bytes()), "f" * 40)
    with pytest.raises(BadSource, match=f"signed by {'f' * 40}, the .dsc by {ALICE.fingerprint}"):
        intake.read_changes(signature, intake.sort_out(as_files([changes, *paths])), source, ("bookworm-security",))


def test_a_file_that_neither_names_is_refused(paths: list[Path]) -> None:
    changes, stray = make_changes(paths, ALICE), paths[0].with_name("stray.txt")
    stray.write_text("x")
    offered, source = intake.sort_out(as_files([changes, stray, *paths])), take(paths)
    signature = Signature(cleartext(changes.read_bytes()), ALICE.fingerprint)
    with pytest.raises(BadSource, match=r"stray\.txt is offered, and neither"):
        intake.read_changes(signature, offered, source, ("bookworm-security",))


def entry(paths: list[Path], version: str = VERSION) -> SourceEntry:
    return SourceEntry("sample", version, "pool/main/s/sample", tuple(as_files(paths)))


def test_a_source_that_the_archive_vouches_for_needs_no_known_signer(paths: list[Path]) -> None:
    source = intake.from_archive(paths[0].read_bytes(), entry(paths))
    assert (source.origin, source.signed_by, source.files) == (Origin.ARCHIVE, "", tuple(as_files(paths)))


def test_a_dsc_that_is_not_what_the_index_says_is_refused(paths: list[Path]) -> None:
    with pytest.raises(BadSource, match=r"the index says sample 2.0-1, .* says sample 1:1.0-1\+deb12u1"):
        intake.from_archive(paths[0].read_bytes(), entry(paths, "2.0-1"))


@pytest.mark.parametrize("published", [[], ["1:1.0-1"], ["1:1.0-1", "1:1.0-1+deb12u0", "9.9"], ["1:1.0-1+deb12u1~"]])
def test_a_version_newer_than_every_published_one_is_taken(published: list[str]) -> None:
    intake.refuse_unless_newer("sample", VERSION, published)


@pytest.mark.parametrize("published", [VERSION, "1:1.0-1+deb12u2", "2:0.1"])
def test_a_version_that_is_not_newer_is_refused_with_both_versions(published: str) -> None:
    with pytest.raises(NotNewer) as refused:
        intake.refuse_unless_newer("sample", VERSION, ["0.1", published])
    assert refused.value.message == f"sample {VERSION} is not newer than {published}, which the archive has already"


VERSIONS = st.from_regex(r"([0-9]:)?[0-9][a-z0-9.+~]{0,4}(-[a-z0-9.+~]{1,4})?", fullmatch=True)


@settings(max_examples=40, deadline=None)
@given(ours=VERSIONS, published=VERSIONS)
def test_the_order_of_versions_is_that_of_dpkg(ours: str, published: str) -> None:
    newer = subprocess.run(["dpkg", "--compare-versions", ours, "gt", published]).returncode == 0
    try:
        intake.refuse_unless_newer("sample", ours, [published])
    except NotNewer:
        assert not newer
    else:
        assert newer


def read_all(data: bytes) -> None:
    for read in (read_dsc, read_changes, lambda data: read_dsc(cleartext(data))):
        with suppress(PatchfarmError):
            read(data)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_at_all_make_it_fail_in_another_way(data: bytes) -> None:
    read_all(data)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    paths = make_source(tmp_path_factory.mktemp("texts"), "sample", VERSION, ALICE)
    signed = [path.read_bytes() for path in (paths[0], make_changes(paths, ALICE))]
    return [*signed, *map(cleartext, signed)]


@settings(max_examples=200, deadline=None)
@given(which=st.integers(0, 3), at=st.integers(0, 3000), cut=st.integers(0, 200), piece=st.binary(max_size=20))
def test_no_mutation_makes_it_fail_in_another_way(
    texts: list[bytes], which: int, at: int, cut: int, piece: bytes
) -> None:
    text = texts[which]
    at %= len(text)
    read_all(text[:at] + piece + text[at + cut :])
