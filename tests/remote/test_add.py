# SPDX-License-Identifier: GPL-3.0-or-later
"""`patchfarm worker add` for real: a farm, an SSH server, and a worker that comes to life on the other side of it."""

import getpass
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from coordinator import gpg
from tests.acceptance.kit import Shell
from tests.sshd import Sshd, public, running

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400)]

eventually = retry(
    retry=retry_if_exception_type(AssertionError), stop=stop_after_delay(90), wait=wait_fixed(0.5), reraise=True
)


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    shell = Shell(tmp_path_factory.mktemp("farm") / "home")
    shell("up")
    yield shell
    shell("down")
    for keys in (shell.home / "signer" / "gnupg", shell.home / "target" / "gnupg"):
        gpg.stop(keys)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """This machine, as another one that can be logged in to."""
    with running(tmp_path_factory.mktemp("host"), "ForceCommand none") as server:
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("there") / "w2"


def add(farm: Shell, host: Sshd, *options: str) -> str:
    where = f"{getpass.getuser()}@127.0.0.1:{host.port}"
    return farm("worker", "add", where, "--name", "w2", "--identity", str(host.identity), *options)


def worker(farm: Shell) -> dict[str, Any]:
    (found,) = (each for each in farm.json("worker", "list") if each["worker"]["name"] == "w2")
    return dict(found)


@pytest.fixture(scope="module")
def added(farm: Shell, host: Sshd, folder: Path) -> str:
    """What adding it printed. Nobody is there to be asked, so the key is named."""
    fingerprint = fingerprint_of(host)
    options = ("--folder", str(folder), "--clearance", "public", "--trust-domain", "rack-1")
    return add(farm, host, "--host-key", fingerprint, *options)


def fingerprint_of(host: Sshd) -> str:
    """As `ssh-keygen -lf` has it on the host itself."""
    argv = ["ssh-keygen", "-lf", f"{host.host_key}.pub"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()[1]


def test_a_host_is_a_worker_after_one_command(farm: Shell, host: Sshd, added: str, folder: Path) -> None:
    assert "rack-1" in added
    told = worker(farm)
    assert (told["presence"], told["worker"]["clearance"], told["worker"]["slots"]) == ("up", "public", 1)
    assert public(host.host_key) in (farm.home / "hosts" / "known_hosts").read_text()
    assert (folder / "token").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [(folder / name).stat().st_mode & 0o777 for name in ("farm.sock", "broker.sock")] == [0o600] * 2


def test_its_token_is_nowhere_in_the_farm(farm: Shell, added: str, folder: Path) -> None:
    assert added
    token = (folder / "token").read_bytes().strip()
    kept = [path for path in farm.home.rglob("*") if path.is_file()]
    assert [path for path in kept if token in path.read_bytes()] == []


def test_added_again_it_is_brought_up_to_date_and_keeps_what_it_has(
    farm: Shell, host: Sshd, added: str, folder: Path
) -> None:
    assert added
    token = (folder / "token").read_bytes()
    assert "rack-1" in add(farm, host)
    assert (folder / "token").read_bytes() == token
    assert worker(farm)["worker"]["clearance"] == "public"


def test_a_tunnel_that_is_cut_is_opened_again(farm: Shell, added: str) -> None:
    assert added
    heard = worker(farm)["worker"]["last_seen_at"]
    os.kill(tunnel(farm), signal.SIGKILL)

    @eventually
    def heard_again() -> None:
        assert worker(farm)["worker"]["last_seen_at"] > heard
        assert tunnel(farm)

    heard_again()


def tunnel(farm: Shell) -> int:
    """The process that holds it."""
    (row,) = (row for row in farm.json("status") if row["name"] == "tunnel-w2")
    return int(row["pid"])


def test_a_worker_drains_and_resumes(farm: Shell, added: str) -> None:
    assert added
    farm("worker", "drain", "w2", "--wait")
    assert worker(farm)["presence"] == "draining"
    farm("worker", "resume", "w2")
    assert worker(farm)["presence"] == "up"


def test_a_worker_that_is_removed_leaves_nothing_behind(farm: Shell, host: Sshd, added: str, folder: Path) -> None:
    assert added
    process = int((folder / "pid").read_text())
    farm("worker", "remove", "w2")
    assert not folder.exists()
    assert not Path(f"/proc/{process}/cwd").exists()
    assert [each["worker"]["name"] for each in farm.json("worker", "list") if each["worker"]["name"] == "w2"] == []
    assert [row["name"] for row in farm.json("status") if "tunnel" in row["name"]] == []
    assert farm.run("worker", "remove", "w2").code == 13
