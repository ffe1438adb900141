# SPDX-License-Identifier: GPL-3.0-or-later
"""The mirror is the one that the machine's apt uses for Debian, whatever else apt uses."""

from pathlib import Path

import pytest

from coordinator import mirror
from coordinator.errors import ArchiveUnreachable
from coordinator.mirror import AptSource, from_files, mirror_for, pick

MAIN = AptSource("http://a.example/debian/", ("bookworm", "oldstable"), "Debian", "")
UPDATES = AptSource("http://u.example/debian/", ("bookworm-updates",), "Debian", "")
SECURITY = AptSource("http://s.example/debian-security/", ("bookworm-security",), "Debian", "")
VENDOR = AptSource("http://vendor.example/debian/", ("bookworm", "bookworm-security"), "Vendor", "")
ALL = [VENDOR, UPDATES, MAIN, SECURITY]


@pytest.mark.parametrize(
    ("suite", "url"),
    [
        ("bookworm", "http://a.example/debian"),
        ("oldstable", "http://a.example/debian"),
        ("bookworm-updates", "http://u.example/debian"),
        ("bookworm-security", "http://s.example/debian-security"),
        ("trixie-security", "http://s.example/debian-security"),
        ("trixie", "http://u.example/debian"),
    ],
)
def test_a_suite_comes_from_its_own_source_or_one_of_the_same_archive(suite: str, url: str) -> None:
    assert pick(suite, ALL) == url


@pytest.mark.parametrize("suite", ["bookworm", "bookworm-security"])
def test_a_vendors_source_is_never_taken(suite: str) -> None:
    assert pick(suite, [VENDOR]) is None


@pytest.mark.parametrize("suite", ["bookworm", "bookworm-security"])
def test_a_setting_wins_over_what_apt_uses(suite: str) -> None:
    url = "http://s.example/b" if suite.endswith("-security") else "http://m.example/a"
    assert mirror_for(suite, "http://m.example/a/", "http://s.example/b/") == url


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)


def test_sources_in_the_style_of_fields_are_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        "sources.list.d/debian.sources",
        "Types: deb\n# from a snapshot\nURIs: http://m.example/debian\nSuites: bookworm bookworm-updates\n"
        "Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n"
        "Types: deb\nURIs: http://m.example/sec\nSuites: bookworm-security\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n"
        "Enabled: no\nTypes: deb\nURIs: http://old.example/debian\nSuites: bookworm\n",
    )
    found = from_files(tmp_path)
    assert [source.url for source in found] == ["http://m.example/debian", "http://m.example/sec"]
    assert pick("bookworm-security", found) == "http://m.example/sec"


def test_sources_in_the_style_of_lines_are_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        "sources.list",
        "# deb http://no.example/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/usr/share/keyrings/vendor.gpg] http://vendor.example/debian bookworm main\n"
        "deb http://m.example/debian bookworm main contrib\n"
        "deb-src http://m.example/debian-security bookworm-security main\n",
    )
    found = from_files(tmp_path)
    assert pick("bookworm", found) == "http://m.example/debian"
    assert pick("bookworm-security", found) == "http://m.example/debian-security"


def test_a_source_pinned_to_a_vendors_keyring_is_not_debians(tmp_path: Path) -> None:
    write(tmp_path, "sources.list.d/vendor.sources", VENDOR_SOURCES)
    assert pick("bookworm", from_files(tmp_path)) is None


VENDOR_SOURCES = "Types: deb\nURIs: https://vendor.example/debian\nSuites: bookworm\nSigned-By: /etc/apt/vendor.gpg\n"


def test_switched_off_files_are_not_read(tmp_path: Path) -> None:
    write(tmp_path, "sources.list.d/debian.sources.disabled", VENDOR_SOURCES)
    assert from_files(tmp_path) == []


def test_no_source_at_all_is_told_with_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(mirror, "APT", tmp_path)
    with pytest.raises(ArchiveUnreachable, match="no source of Debian's security archive") as refused:
        mirror_for("bookworm-security", "http://m.example/a", "")
    assert "`security_mirror`" in refused.value.advice


def fake_apt(folder: Path, name: str, prints: str) -> None:
    """A program of apt's that prints just that."""
    (folder / name).write_text(f"#!/bin/sh\nprintf '%s' '{prints}'\n")
    (folder / name).chmod(0o755)


def test_what_apt_tells_is_read_with_the_gaps_it_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "Debian\thttp://m.example/debian/\tbookworm\tbookworm\toldstable\n" * 2
    fake_apt(tmp_path, "apt-get", rows + "$(ORIGIN)\thttp://v.example/x/\tnodistro\t$(CODENAME)\t\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert mirror.from_apt() == [
        AptSource("http://m.example/debian/", ("bookworm", "oldstable"), "Debian", ""),
        AptSource("http://v.example/x/", ("nodistro",), "", ""),
    ]


@pytest.mark.parametrize(("prints", "checks"), [("VALUE=false", False), ("VALUE=true", True), ("", True)])
def test_whether_a_release_may_be_out_of_date_is_what_apt_says(
    prints: str, checks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_apt(tmp_path, "apt-config", prints)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert mirror.checks_valid_until() is checks
