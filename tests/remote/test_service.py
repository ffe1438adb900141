# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written on a host so that its worker runs, read by those who will read it there."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.remote import install, service
from coordinator.remote.book import Keeper
from coordinator.remote.service import Service
from tests.remote.kit import HOST, FakeRemote

USER = Service(replace(HOST, keeper=Keeper.USER, home="/home/me", uid=1000, folder="/home/me/w2"))
SYSTEM = Service(HOST)
BARE = Service(replace(HOST, keeper=Keeper.NONE))


def test_sh_reads_the_settings_as_they_were_meant(tmp_path: Path) -> None:
    hostile = {"PATCHFARM_A": "a 'b' $(id) `id` \"c\" \\ ;&|", "PATCHFARM_B": "redis://:p%40ss@h/0"}
    (tmp_path / "settings").write_bytes(service.settings(hostile))
    told = subprocess.run(
        ["sh", "-c", "set -a; . ./settings; env -0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"PATH": os.defpath},
    )
    assert dict(line.split("=", 1) for line in told.stdout.split("\0") if line.startswith("PATCHFARM_")) == hostile


def test_a_release_is_the_same_bytes_for_the_same_files_and_has_no_rubbish(tmp_path: Path) -> None:
    (tmp_path / "workers" / "__pycache__").mkdir(parents=True)
    (tmp_path / "workers" / "requirements.lock").write_text("celery")
    first = install.release(tmp_path)
    (tmp_path / "workers" / "__pycache__" / "x.pyc").touch()
    assert install.release(tmp_path) == first
    (tmp_path / "workers" / "requirements.lock").write_text("celery==6")
    assert install.release(tmp_path).name != first.name


def test_the_worker_that_is_sent_is_this_farms_own(tmp_path: Path) -> None:
    subprocess.run(["tar", "-x", "-C", str(tmp_path)], input=install.release().tar, check=True)
    assert (tmp_path / "workers" / "requirements.lock").is_file()
    assert (tmp_path / "workers" / "sandbox" / "run-step.sh").is_file()


def test_systemd_starts_it_again_and_leaves_its_containers_alone() -> None:
    unit = service.unit(SYSTEM).decode()
    for line in ("Restart=always", "KillMode=mixed", "KillSignal=SIGTERM", "NoNewPrivileges=yes", "ProtectHome=yes"):
        assert line in unit.splitlines()
    assert "KillSignal=SIGINT" in service.unit(SYSTEM, last=True).decode().splitlines()


def test_roots_unit_writes_one_folder_and_has_what_a_bootstrap_takes() -> None:
    lines = service.unit(SYSTEM).decode().splitlines()
    assert {"ProtectSystem=strict", f"ReadWritePaths={HOST.folder}"} <= set(lines)
    (rights,) = (set(line.split()) for line in lines if line.startswith("CapabilityBoundingSet="))
    assert {"CAP_MKNOD", "CAP_SYS_ADMIN", "CAP_SYS_CHROOT"} <= rights
    assert not {"CAP_NET_ADMIN", "CAP_SYS_MODULE", "CAP_SYS_PTRACE", "CAP_SYS_BOOT", "CAP_SYS_TIME"} & rights


def test_a_users_unit_takes_nothing_away_that_mmdebstrap_needs() -> None:
    assert "NoNewPrivileges" not in service.unit(USER).decode()
    assert USER.place == "/home/me/.config/systemd/user/patchfarm-worker-w2.service"
    assert "XDG_RUNTIME_DIR=/run/user/1000" in USER.start()[-1]


def test_a_users_systemd_is_asked_to_go_on_without_a_login_unless_it_does() -> None:
    remote = FakeRemote()
    install.start(remote, USER)
    assert ("loginctl", "enable-linger") in remote.ran
    again = FakeRemote()
    again.files[USER.lingering] = (b"", 0o644)
    install.start(again, USER)
    assert ("loginctl", "enable-linger") not in again.ran
    assert again.started


def test_a_worker_in_a_home_can_see_it_though_it_is_the_machines() -> None:
    at_home = Service(replace(HOST, folder="/root/w2"))
    assert "ProtectHome=no" in service.unit(at_home).decode().splitlines()


@pytest.mark.parametrize("made", [SYSTEM, USER, BARE])
def test_what_is_removed_is_stopped_first(made: Service) -> None:
    remote = FakeRemote()
    remote.files = {made.place: (b"", 0o644), f"{made.host.folder}/service": (b"", 0o700)}
    install.remove(remote, made)
    said = [" ".join(argv) for argv in remote.ran]
    ended = next(place for place, line in enumerate(said) if "disable" in line or line.endswith("service end"))
    assert ended < said.index(f"{made.host.folder}/run workers.leave")
    assert said[-1] == f"rm -rf -- {made.host.folder}"


def test_what_is_gone_already_is_no_trouble() -> None:
    remote = FakeRemote()
    install.remove(remote, SYSTEM)
    assert [argv[0] for argv in remote.ran] == ["test", "rm"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A worker that only waits for what it is told, kept by the script for hosts without systemd."""
    trap = 'for each in TERM INT; do trap "echo $each >>said; exit" $each; done'
    for name, text in (
        ("service", service.script().decode()),
        ("run", f"#!/bin/sh\n{trap}\necho $$ >pid\nwhile :; do sleep 0.1; done\n"),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o700)
    return tmp_path


def told(folder: Path, word: str) -> int:
    return subprocess.run([str(folder / "service"), word], cwd="/", timeout=30).returncode


@pytest.mark.parametrize(("word", "signal"), [("stop", "TERM"), ("end", "INT")])
def test_without_systemd_a_worker_is_started_once_and_hears_how_it_is_to_end(
    folder: Path, word: str, signal: str
) -> None:
    assert (told(folder, "start"), told(folder, "start")) == (0, 0)
    assert (told(folder, word), told(folder, word)) == (0, 0)
    assert (folder / "said").read_text().split() == [signal]


def test_a_process_that_merely_has_the_number_is_left_alone(folder: Path) -> None:
    with subprocess.Popen(["sleep", "60"], cwd="/") as other:
        (folder / "pid").write_text(f"{other.pid}\n")
        assert told(folder, "stop") == 0
        assert other.poll() is None
        other.kill()
