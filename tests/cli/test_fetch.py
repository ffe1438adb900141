# SPDX-License-Identifier: GPL-3.0-or-later
"""`fetch`: checked files, and nothing overwritten."""

import json
from pathlib import Path

import pytest

from coordinator.model import File, UpdateState
from tests.cli.conftest import Shell
from tests.web.kit import FakeFarm, file, update


def offer(farm: FakeFarm, **signed: bytes) -> None:
    """Let the update have signed files of those names and bytes."""
    for data in signed.values():
        farm.blobs.add(data)
    files = tuple(file(name.replace("__", "."), data) for name, data in signed.items())
    farm.store.known = update(UpdateState.PUBLISHED, signed=files)


def test_signed_files_arrive_and_are_named(shell: Shell, farm: FakeFarm, tmp_path: Path) -> None:
    offer(farm, hello__changes=b"changes", hello__deb=b"deb")
    said = shell("fetch", "1", "-o", str(tmp_path / "out"))
    assert said.out.split() == [str(tmp_path / "out" / name) for name in ("hello.changes", "hello.deb")]
    assert (tmp_path / "out/hello.deb").read_bytes() == b"deb"
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_fetching_twice_changes_nothing(shell: Shell, farm: FakeFarm, tmp_path: Path) -> None:
    offer(farm, hello__deb=b"deb")
    assert [shell("fetch", "1", "-o", str(tmp_path)).code for _ in range(2)] == [0, 0]


def test_what_is_there_and_something_else_stays(shell: Shell, farm: FakeFarm, tmp_path: Path) -> None:
    offer(farm, hello__deb=b"deb")
    (tmp_path / "hello.deb").write_bytes(b"mine")
    assert shell("fetch", "1", "-o", str(tmp_path)).code == 2
    assert (tmp_path / "hello.deb").read_bytes() == b"mine"


def test_a_link_to_elsewhere_is_not_written_through(shell: Shell, farm: FakeFarm, tmp_path: Path) -> None:
    offer(farm, hello__deb=b"deb")
    (tmp_path / "hello.deb").symlink_to(tmp_path / "elsewhere")
    assert shell("fetch", "1", "-o", str(tmp_path)).code == 2
    assert not (tmp_path / "elsewhere").exists()


def test_other_bytes_than_promised_are_not_kept(shell: Shell, farm: FakeFarm, tmp_path: Path) -> None:
    offer(farm, hello__deb=b"deb")
    farm.blobs.path(farm.store.known.signed[0].sha256).write_bytes(b"evil")
    assert shell("fetch", "1", "-o", str(tmp_path / "out")).code == 1
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "..", "", ".bashrc", "a\x1bb"])
def test_a_name_that_is_a_path_is_refused(shell: Shell, farm: FakeFarm, tmp_path: Path, name: str) -> None:
    farm.store.known = update(UpdateState.PUBLISHED, signed=(File(name, farm.blobs.add(b"x"), 1),))
    assert shell("fetch", "1", "-o", str(tmp_path / "out")).code == 1
    assert not (tmp_path / "out").exists()


def test_nothing_is_fetched_before_it_is_signed(shell: Shell) -> None:
    assert shell("fetch", "1").code == 16


def test_what_was_fetched_is_told_as_json(shell: Shell, farm: FakeFarm, tmp_path: Path) -> None:
    offer(farm, hello__deb=b"deb")
    (told,) = json.loads(shell("fetch", "1", "-o", str(tmp_path), "--json").out)
    assert told == {"name": "hello.deb", "sha256": file("", b"deb").sha256, "size": 3}
