# SPDX-License-Identifier: GPL-3.0-or-later
"""A home is made once, for its own account alone, and is left as it is afterwards."""

import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from coordinator.config import Home
from coordinator.embedded import preparation
from coordinator.errors import PatchfarmError, UnknownName
from coordinator.model import Clearance, Role
from tests.fakes.store import MemoryStore
from workers.wire.arch import Arch, Tier
from workers.wire.report import Offer

OFFER = Offer("here", {Arch.AMD64: Tier.NATIVE}, 1, "host", 1, 1 << 30)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    prepared = Home(tmp_path / "farm")
    preparation.folders(prepared)
    return prepared


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_nobody_else_may_look_into_any_folder_of_a_home(home: Home) -> None:
    assert {mode(path) for path in (home.root, *home.root.rglob("*"))} == {0o700}


def test_making_the_folders_twice_does_no_harm(home: Home) -> None:
    preparation.folders(home)


def test_a_home_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PatchfarmError) as caught:
        preparation.folders(Home(tmp_path / "file" / "farm"))
    assert "PATCHFARM_HOME" in caught.value.advice


def test_every_farm_chooses_a_name_and_a_port_of_its_own() -> None:
    first, second = (tomllib.loads(preparation.first_settings()) for _ in range(2))
    assert re.fullmatch(r"f[0-9a-f]{6}", first["farm"])
    assert first["farm"] != second["farm"]
    assert first["url"] == f"http://{first['listen']}"


def test_a_token_is_made_once_of_256_bits_and_only_its_owner_may_read_it(home: Home) -> None:
    token = preparation.token(home, "me.token")
    assert re.fullmatch(r"[\w-]{43}", token)
    assert preparation.token(home, "me.token") == token
    assert preparation.token(home, "worker.token") != token
    assert mode(home.secrets / "me.token") == 0o600


def test_the_farms_own_worker_may_see_all_until_a_person_says_otherwise() -> None:
    store = MemoryStore()
    preparation.grant(store, "here", Role.WORKER, "secret")
    store.seen(OFFER, NOW)
    assert [worker.clearance for worker in store.workers()] == [Clearance.EMBARGOED]
    store.admit("here", None, Clearance.PUBLIC)
    preparation.grant(store, "here", Role.WORKER, "secret")
    assert [worker.clearance for worker in store.workers()] == [Clearance.PUBLIC]


def test_no_worker_is_made_of_a_person() -> None:
    store = MemoryStore()
    preparation.grant(store, "sam", Role.PERSON, "secret")
    with pytest.raises(UnknownName):
        store.drain("sam", True)


def test_sockets_are_in_the_home(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home.root)
    assert preparation.sockets(Home(Path("/srv/farm"))) == Path("/srv/farm/run")


def test_a_path_too_long_for_sockets_has_them_in_a_private_folder_that_is_found_again(tmp_path: Path) -> None:
    home = Home(tmp_path / ("long" * 25))
    preparation.folders(home)
    folder = preparation.sockets(home)
    assert len(str(folder)) < 80
    assert mode(folder) == 0o700
    assert preparation.sockets(home) == folder
    preparation.remove_sockets(home)
    assert not folder.exists()


def test_a_folder_for_sockets_that_others_may_open_is_not_used_again(tmp_path: Path) -> None:
    home = Home(tmp_path / ("long" * 25))
    preparation.folders(home)
    folder = preparation.sockets(home)
    folder.chmod(0o777)
    another = preparation.sockets(home)
    assert another != folder
    folder.rmdir()
    preparation.remove_sockets(home)
