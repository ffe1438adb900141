# SPDX-License-Identifier: GPL-3.0-or-later
"""A bootstrap ends with the process that began it, and what is left of it can be removed without harm."""

import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from workers import bootstrap
from workers.wire.order import Environment

BEGIN = """
import sys
from pathlib import Path
from workers.bootstrap import bootstrap
from workers.keyring import SHARED
from workers.wire.arch import Arch
from workers.wire.order import Environment, Index

environment = Environment("deb", "bookworm", "debian-archive", (Index(sys.argv[1], "bookworm", ("main",)),), ())
keyring = SHARED / "debian-archive-keyring.gpg"
say = lambda said: print(said.decode(), flush=True)
bootstrap(environment, Arch.AMD64, Path(sys.argv[2]), keyring, say, lambda: None)
"""


def running(folder: Path) -> list[int]:
    """The processes that have a folder in their arguments."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in process.read_bytes():
                found.append(int(process.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.engine
def test_a_bootstrap_ends_when_its_process_is_killed_and_leaves_nothing_mounted(
    debian: Environment, tmp_path: Path
) -> None:
    folder = tmp_path / "image-1"
    folder.mkdir()
    command = [sys.executable, "-c", BEGIN, debian.indices[0].url, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert any("extracting archives" in line for line in worker.stdout)
        watched = [os.pidfd_open(process) for process in running(folder) if process != worker.pid]
        assert watched
        worker.kill()
    for descriptor in watched:
        assert select.select([descriptor], [], [], 10)[0]
        os.close(descriptor)
    left = list(Path(tempfile.gettempdir()).glob(f"{bootstrap._prefix(tmp_path)}*"))
    assert not any(str(place) in Path("/proc/mounts").read_text() for place in left)
    bootstrap.clear(tmp_path)
    assert not any(place.exists() for place in (*left, folder))


def test_only_what_a_worker_left_itself_is_cleared(tmp_path: Path) -> None:
    mine, other = tmp_path / "one", tmp_path / "other"
    for home in (mine, other):
        (home / "image-1" / "part").mkdir(parents=True)
        (home / "attempts").mkdir()
    bootstrap.clear(mine)
    assert [path.name for path in mine.iterdir()] == ["attempts"]
    assert (other / "image-1" / "part").exists()
