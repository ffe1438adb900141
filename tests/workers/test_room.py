# SPDX-License-Identifier: GPL-3.0-or-later
"""When an engine's disk counts as full: before it is, in bytes or in files."""

import os
from contextlib import closing
from pathlib import Path

import docker
import pytest

from workers.sandbox.room import Look, lacking, of_engine

GIB = 1 << 30


def disk(free: int, size: int, files: int = 1_000_000, of_files: int = 10_000_000) -> Look:
    """A file system with blocks of a KiB, of which root may have a tenth more than others."""
    blocks, left = size >> 10, free >> 10
    return lambda _: os.statvfs_result(
        (4096, 1024, blocks, left + blocks // 10, left, of_files, files + 1_000_000, files, 0, 255)
    )


@pytest.mark.parametrize(
    ("look", "lacks"),
    [
        (disk(2 * GIB, 1000 * GIB), ""),
        (disk(GIB // 2, 1000 * GIB), "512 MiB are free"),
        (disk(GIB // 2, 10 * GIB), ""),
        (disk(GIB // 16, 10 * GIB), "64 MiB are free"),
        (disk(2 * GIB, 1000 * GIB, files=99_999), "there is room for 99999 files"),
        (disk(2 * GIB, 1000 * GIB, files=0, of_files=0), ""),
    ],
)
def test_a_disk_is_full_before_nothing_is_left(look: Look, lacks: str) -> None:
    assert lacking(Path("/"), look) == lacks


def test_a_disk_that_is_not_here_is_not_known(tmp_path: Path) -> None:
    assert lacking(tmp_path / "elsewhere") == ""


def test_an_engine_on_another_machine_has_no_disk_here() -> None:
    with closing(docker.DockerClient(base_url="http://127.0.0.1:1", version="1.41")) as remote:
        assert of_engine(remote, disk(0, GIB))() == ""


@pytest.mark.engine
def test_the_engines_own_disk_is_looked_at(client: docker.DockerClient) -> None:
    looked: list[Path] = []

    def look(folder: Path) -> os.statvfs_result:
        looked.append(folder)
        return disk(0, GIB)(folder)

    assert of_engine(client, look)() == "0 MiB are free"
    assert [str(folder) for folder in looked] == [client.api.info()["DockerRootDir"]]
