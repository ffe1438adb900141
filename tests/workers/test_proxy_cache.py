# SPDX-License-Identifier: GPL-3.0-or-later
"""How large the proxy's cache becomes: run-proxy.sh around a proxy that only waits."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from workers.bootstrap import SCRIPTS

MOST = 1 << 20
MINUTE = 60


class Cache:
    """The folder of a proxy that is up; a minute of the script's takes it a moment."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "cache"
        self._programs = home / "bin"
        self._scratch = home / "tmp"
        for folder in (self.folder, self._programs, self._scratch):
            folder.mkdir()
        self.program("sleep", f"exec {shutil.which('sleep')} 0.05")
        self.program("apt-cacher-ng", 'echo up >up; exec tail --follow --pid="$$" /dev/null')

    def program(self, name: str, script: str) -> None:
        path = self._programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def file(self, name: str, size: int, minutes: int) -> Path:
        """One that was asked for so many minutes ago."""
        path = self.folder / name
        path.write_bytes(bytes(size))
        ago = time.time() - minutes * MINUTE
        os.utime(path, (ago, ago))
        return path

    def start(self) -> "subprocess.Popen[bytes]":
        place = {"PATH": f"{self._programs}:{os.environ['PATH']}", "TMPDIR": str(self._scratch)}
        command = ["sh", str(SCRIPTS / "run-proxy.sh"), str(MOST), "Port: 1"]
        return subprocess.Popen(command, cwd=self.folder, env=place, start_new_session=True)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


@pytest.fixture
def up(cache: Cache) -> Iterator["subprocess.Popen[bytes]"]:
    """The proxy, and whatever the script has started beside it, until the test is over."""
    process = cache.start()
    wait_for(cache.folder / "up")
    yield process
    end(process)


def end(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(path: Path, there: bool = True) -> None:
    while path.exists() is not there:
        time.sleep(0.01)


def test_what_was_asked_for_longest_ago_goes_until_there_is_room(cache: Cache, up: "subprocess.Popen[bytes]") -> None:
    young = cache.file("young", MOST // 2, 30)
    old = cache.file("old", MOST * 3 // 4, 90)
    wait_for(old, there=False)
    assert young.exists()
    assert up.poll() is None


def test_what_was_asked_for_just_now_stays_while_there_is_less_than_twice_as_much(
    cache: Cache, up: "subprocess.Popen[bytes]"
) -> None:
    young = cache.file("young", MOST * 3 // 2, 1)
    old = cache.file("old", 4096, 6)
    wait_for(old, there=False)
    assert young.exists()
    assert up.poll() is None


def test_a_proxy_with_twice_as_much_ends_and_begins_anew_without_it(
    cache: Cache, up: "subprocess.Popen[bytes]"
) -> None:
    young = cache.file("young", MOST * 2, 0)
    assert up.wait(30) == -signal.SIGKILL
    (cache.folder / "up").unlink()
    with cache.start() as again:
        wait_for(cache.folder / "up")
        assert not young.exists()
        end(again)
