# SPDX-License-Identifier: GPL-3.0-or-later
"""One .changes of many, and what a .buildinfo says after the .dsc was signed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from debian.deb822 import Deb822

from coordinator.dsc import read_changes
from coordinator.errors import BadSource, PatchfarmError, SignerRefused
from coordinator.signer.changes import Digests, check, check_buildinfo, corrected, merge
from coordinator.signer.evidence import shipped
from coordinator.signer.upload import digests_of
from tests.signer.kit import Edit, Made, make

NEW = Digests("1" * 32, "2" * 40, "3" * 64, 5)


def merged(folder: Path, edits: dict[str, Edit] | None = None, suite: str = "bookworm-security") -> str:
    """The .changes of all the builds."""
    made = make(folder / "farm", edits)
    built = made.lay_out(folder)
    for text in built:
        check(text, made.update, shipped(made.update))
    return merge(built, suite, {file.name: digests_of(folder / file.name) for file in shipped(made.update)})


def test_it_names_the_source_once_and_what_every_build_made(tmp_path: Path) -> None:
    made = make(tmp_path / "other")
    control = read_changes(merged(tmp_path).encode())
    assert {file.name for file in control.files} == {file.name for file in shipped(made.update)}
    assert control.architectures == ("amd64", "i386", "source")


def test_all_else_is_as_every_build_says(tmp_path: Path) -> None:
    fields = Deb822(merged(tmp_path))
    assert list(fields)[:5] == ["Format", "Date", "Source", "Binary", "Architecture"]
    assert list(fields)[-3:] == ["Checksums-Sha1", "Checksums-Sha256", "Files"]
    assert (fields["Binary"], fields["Urgency"], fields["Closes"]) == ("hello", "high", "123")
    assert fields["Description"] == "\n hello      - greets"
    assert fields["Changes"].endswith("\n .\n   * Greet safely.")


def test_it_is_for_the_suite_whatever_the_changelog_says(tmp_path: Path) -> None:
    fields = Deb822(merged(tmp_path, suite="bookworm"))
    assert fields["Distribution"] == "bookworm"
    assert "bookworm-security; urgency=high" in fields["Changes"]


def test_no_other_spelling_of_a_field_gets_past_it(tmp_path: Path) -> None:
    text = merged(tmp_path, {".changes": lambda text: text.replace("Distribution:", "distribution:")})
    assert read_changes(text.encode()).distribution == "bookworm-security"
    assert "distribution:" not in text


def test_what_only_some_say_is_kept(tmp_path: Path) -> None:
    text = merged(
        tmp_path, {"_amd64.changes": lambda text: text.replace("Closes:", "Launchpad-Bugs-Fixed: 7\nCloses:")}
    )
    assert Deb822(text)["Launchpad-Bugs-Fixed"] == "7"


@pytest.mark.parametrize("field", ["Urgency: low", "Maintainer: Mallory <m@example.org>", "Date: another"])
def test_builds_that_do_not_agree_are_refused(tmp_path: Path, field: str) -> None:
    name = field.partition(":")[0]

    def edit(text: str) -> str:
        return "".join(f"{field}\n" if line.startswith(f"{name}:") else line for line in text.splitlines(True))

    with pytest.raises(SignerRefused, match=f"do not agree on {name}"):
        merged(tmp_path, {"_i386.changes": edit})


def test_a_file_that_no_changes_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SignerRefused, match=r"not name exactly .*: hello_1\.0-1_i386\.deb$"):
        merged(tmp_path, {"_i386.changes": lambda text: _without(text, "_i386.deb")})


STRANGE: dict[str, Edit] = {
    "another digest": lambda text: text.replace(_digest(text, ".deb"), "0" * 64),
    "another size": lambda text: text.replace(" 21 ", " 22 "),
    "a file of another name": lambda text: text.replace("hello_1.0-1_amd64.deb", "hello_1.0-2_amd64.deb"),
    "another source": lambda text: text.replace("Source: hello", "Source: goodbye"),
    "another version": lambda text: text.replace("Version: 1:1.0-1", "Version: 1.0-1"),
}


@pytest.mark.parametrize("what", STRANGE)
def test_a_changes_that_says_other_than_was_approved_is_refused(tmp_path: Path, what: str) -> None:
    with pytest.raises(SignerRefused, match=r"^a \.changes (names files|is of)"):
        merged(tmp_path, {"_amd64.changes": STRANGE[what]})


UNREADABLE: dict[str, Edit] = {
    "a path": lambda text: text.replace("hello_1.0-1_amd64.deb", "../hello_1.0-1_amd64.deb"),
    "two paragraphs": lambda text: f"{text}\n{text}",
    "a field twice": lambda text: f"{text}Source: hello\n",
    "a signature": lambda text: f"-----BEGIN PGP SIGNED MESSAGE-----\n\n{text}",
    "a file in one section only": lambda text: f"{text} {'0' * 32} 1 misc optional extra\n",
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_a_changes_that_is_not_read_in_one_way_is_refused(tmp_path: Path, what: str) -> None:
    with pytest.raises(BadSource):
        merged(tmp_path, {"_amd64.changes": UNREADABLE[what]})


def test_a_changes_without_sections_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SignerRefused, match="section and priority"):
        merged(tmp_path, {"_amd64.changes": lambda text: text.replace(" misc optional", "")})


def test_nothing_in_a_changes_is_given_to_a_shell(tmp_path: Path) -> None:
    command = f"hello'$(touch${{IFS}}{tmp_path}/run)'"
    text = merged(tmp_path, {"_amd64.changes": lambda text: text.replace("Binary: hello", f"Binary: {command}")})
    assert command in text
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace(_digest(text, ".deb"), "0" * 64),
        lambda text: text.replace("hello_1.0-1_amd64.deb", "other_1.0-1_amd64.deb"),
        lambda text: text.replace("Version: 1:1.0-1", "Version: 1:1.0-2"),
        lambda text: f"{text}\n{text}",
    ],
)
def test_a_buildinfo_of_anything_else_is_refused(tmp_path: Path, edit: Callable[[str], str]) -> None:
    made = make(tmp_path / "farm")
    with pytest.raises(PatchfarmError):
        check_buildinfo(edit(made.text("_amd64.buildinfo").decode()).encode(), made.update, shipped(made.update))


def test_a_buildinfo_gets_the_new_digests_of_the_dsc_and_nothing_else() -> None:
    old = [f" {'a' * 32} 4 x.dsc", f" {'b' * 32} 4 x.deb", f" {'a' * 40} 4 x.dsc", f" {'a' * 64} 4 x.dsc"]
    text = "Format: 1.0\nChecksums-Md5:\n{}\n{}\nChecksums-Sha1:\n{}\nChecksums-Sha256:\n{}\nEnvironment:\n A=x.dsc\n"
    new = [f" {'1' * 32} 5 x.dsc", old[1], f" {'2' * 40} 5 x.dsc", f" {'3' * 64} 5 x.dsc"]
    assert corrected(text.format(*old), "x.dsc", NEW) == text.format(*new)


def test_files_that_nobody_approved_are_named(made: Made) -> None:
    fewer = [file for file in shipped(made.update) if not file.name.endswith(".deb")]
    with pytest.raises(SignerRefused, match=r"approved: hello_1\.0-1_amd64\.deb$"):
        check(made.text("_amd64.changes"), made.update, fewer)


def _digest(text: str, ending: str) -> str:
    """The sha256 that a text gives for the first file called so."""
    return next(line.split()[0] for line in text.splitlines() if line.endswith(ending) and len(line.split()[0]) == 64)


def _without(text: str, ending: str) -> str:
    return "".join(line for line in text.splitlines(True) if not line.rstrip().endswith(ending))
