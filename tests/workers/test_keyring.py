# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker trusts the keyrings that it has, whatever an order would like it to."""

from pathlib import Path

import pytest

from workers.errors import AttemptEnded
from workers.keyring import ending_of, keyring_in


def test_the_workers_own_keyring_goes_before_the_machines(tmp_path: Path) -> None:
    own, shared = tmp_path / "own", tmp_path / "shared"
    for folder in (own, shared):
        folder.mkdir()
    (shared / "debian-archive-keyring.gpg").write_bytes(b"shared")
    assert keyring_in(own, "debian-archive", shared).read_bytes() == b"shared"
    (own / "debian-archive.pgp").write_bytes(b"own")
    assert keyring_in(own, "debian-archive", shared).read_bytes() == b"own"


def test_a_keyring_that_is_not_there_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AttemptEnded, match=f"no keyring 'mine'; put it into {tmp_path} as mine.pgp"):
        keyring_in(tmp_path, "mine", tmp_path)


@pytest.mark.parametrize("name", ["", "../debian-archive", "a/b", "A", ".hidden", "a\n", "x" * 64])
def test_a_name_that_could_be_a_path_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(AttemptEnded, match="cannot be one"):
        keyring_in(tmp_path, name, tmp_path)


def test_apt_is_shown_by_the_name_whether_a_keyring_is_text(tmp_path: Path) -> None:
    text, binary = tmp_path / "a.pgp", tmp_path / "b.asc"
    text.write_bytes(b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
    binary.write_bytes(b"\x99\x02")
    assert (ending_of(text), ending_of(binary)) == (".asc", ".gpg")
