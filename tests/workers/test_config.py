# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker's settings, and which architectures a machine offers."""

from pathlib import Path

import pytest

from workers.config import BadConfig, from_environment, tiers_of
from workers.wire.arch import Arch, Tier

GOOD = {
    "PATCHFARM_URL": "http://127.0.0.1:1/",
    "PATCHFARM_BROKER": "redis+socket:///run/redis.sock?virtual_host=0",
    "PATCHFARM_WORKER_NAME": "w1",
    "PATCHFARM_TOKEN_FILE": "/nowhere/token",
    "PATCHFARM_FARM": "farm",
    "PATCHFARM_WORKER_HOME": "/nowhere",
}


def _binfmt(folder: Path, name: str, status: str, flags: str) -> Path:
    (folder / name).write_text(f"{status}\ninterpreter /x\nflags: {flags}\n")
    return folder


def test_the_environment_says_everything() -> None:
    config = from_environment({**GOOD, "PATCHFARM_SLOTS": "2"})
    assert (config.url, config.worker, config.slots) == ("http://127.0.0.1:1", "w1", 2)
    assert set(config.tiers.values()) == {Tier.NATIVE}


@pytest.mark.parametrize("key", sorted(GOOD))
def test_a_missing_setting_is_named(key: str) -> None:
    with pytest.raises(BadConfig, match=key):
        from_environment({**GOOD, key: ""})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("PATCHFARM_WORKER_NAME", "a/b"),
        ("PATCHFARM_FARM", "--x"),
        ("PATCHFARM_SLOTS", "0"),
        ("PATCHFARM_ARCHES", "vax"),
    ],
)
def test_a_wrong_setting_is_named(key: str, value: str) -> None:
    with pytest.raises(BadConfig, match=key):
        from_environment({**GOOD, key: value})


def test_the_token_is_read_when_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one\n")
    config = from_environment({**GOOD, "PATCHFARM_TOKEN_FILE": str(tmp_path / "token")})
    assert config.token() == "one"


def test_a_machine_runs_its_own_architectures_natively(tmp_path: Path) -> None:
    assert tiers_of("x86_64", tmp_path) == {Arch.AMD64: Tier.NATIVE, Arch.I386: Tier.NATIVE}
    assert tiers_of("vax", tmp_path) == {}


def test_an_interpreter_registered_for_every_container_emulates(tmp_path: Path) -> None:
    assert tiers_of("x86_64", _binfmt(tmp_path, "qemu-aarch64", "enabled", "PF"))[Arch.ARM64] is Tier.EMULATED


@pytest.mark.parametrize(("status", "flags"), [("disabled", "PF"), ("enabled", "P")])
def test_an_interpreter_that_containers_do_not_find_does_not_count(tmp_path: Path, status: str, flags: str) -> None:
    assert Arch.ARM64 not in tiers_of("x86_64", _binfmt(tmp_path, "qemu-aarch64", status, flags))
