# SPDX-License-Identifier: GPL-3.0-or-later
"""How a worker finds the farm, and what OpenSSH is told of a tunnel."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coordinator.config import Home, Settings
from coordinator.embedded import services
from coordinator.errors import BadRequest, FarmDown, PatchfarmError
from coordinator.remote import tunnel
from coordinator.remote.address import Address
from coordinator.remote.book import Book
from coordinator.remote.tunnel import Way, way
from tests.remote.kit import HOST

LOOPBACK = {"listen": "127.0.0.1:8650", "url": "http://127.0.0.1:8650"}
OPEN = {"listen": "0.0.0.0:8650", "url": "http://farm.example.org:8650", "broker": "redis://:pw@farm.example.org/0"}


def settings(tmp_path: Path, **given: Any) -> Settings:
    return Settings(home=tmp_path, **given)


def test_a_farm_that_listens_to_its_machine_alone_is_reached_by_a_tunnel(tmp_path: Path) -> None:
    assert way(settings(tmp_path, **LOOPBACK), "", "") == Way()


def test_a_farm_that_others_can_reach_is_reached_so(tmp_path: Path) -> None:
    assert way(settings(tmp_path, **OPEN), "", "") == Way(OPEN["url"], OPEN["broker"])


def test_what_was_asked_for_counts_and_the_password_comes_from_the_farms_own_setting(tmp_path: Path) -> None:
    found = way(settings(tmp_path, **OPEN), "https://farm.example.net/", "redis://[fd00::1]:7000/0")
    assert found == Way("https://farm.example.net", "redis://:pw@[fd00::1]:7000/0")
    assert found.reach() == ("https://farm.example.net", ("fd00::1", "7000"))


def test_a_password_in_an_argument_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="password") as refused:
        way(settings(tmp_path, **OPEN), "", "redis://:pw@farm.example.org/0")
    assert "pw@" not in refused.value.message + refused.value.advice


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({**LOOPBACK, "url": "http://farm.example.org"}, "the broker"),
        ({**LOOPBACK, "broker": "redis://farm.example.org/0"}, "the web service"),
        ({**LOOPBACK, "broker": "redis://localhost/0"}, "the web service"),
    ],
)
def test_half_a_way_is_none_and_the_settings_that_are_missing_are_named(
    tmp_path: Path, given: dict[str, str], said: str
) -> None:
    with pytest.raises(BadRequest, match=said) as refused:
        way(settings(tmp_path, **given), "", "")
    assert 'listen = "0.0.0.0:PORT"' in refused.value.advice
    assert 'broker = "redis://:PASSWORD@HOST:6379/0"' in refused.value.advice


def test_without_a_farm_there_is_no_way(tmp_path: Path) -> None:
    with pytest.raises(FarmDown):
        way(settings(tmp_path), "", "")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://farm.example.org", "farm.example.org"])
def test_only_http_is_an_address_of_a_farm(tmp_path: Path, url: str) -> None:
    with pytest.raises(BadRequest):
        way(settings(tmp_path, **OPEN), url, "")


def test_openssh_asks_nobody_and_believes_the_pinned_key_alone() -> None:
    host = replace(HOST, address=Address("me", "fd00::1", 2222), identity="/home/me/a key")
    argv = tunnel.login(host, Path("/srv/my farm/hosts/known_hosts"))
    for option in (
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "ExitOnForwardFailure=yes",
        "IdentitiesOnly=yes",
        'UserKnownHostsFile="/srv/my farm/hosts/known_hosts"',
    ):
        assert argv[argv.index(option) - 1] == "-o"
    assert argv[argv.index("-i") + 1] == "/home/me/a key"
    assert argv[1:3] == ["-F", "none"]


def test_what_appears_on_the_host_is_in_the_workers_folder_where_no_other_account_can_take_its_place() -> None:
    argv = tunnel.forwards(HOST, "127.0.0.1:9000", Path("/srv/farm/run/redis.sock"))
    shown = [argv[place + 1] for place, word in enumerate(argv) if word == "-R"]
    assert shown == [
        f"{HOST.folder}/farm.sock:127.0.0.1:9000",
        f"{HOST.folder}/broker.sock:/srv/farm/run/redis.sock",
    ]


def test_a_tunnels_process_is_told_of_no_secret_and_nothing_waits_for_it(tmp_path: Path) -> None:
    made = tunnel.program(HOST, Home(tmp_path))
    assert made.name.startswith(services.TUNNEL)
    assert made.environment == {"PATCHFARM_HOME": str(tmp_path)}


def test_a_host_is_remembered_until_it_is_forgotten(tmp_path: Path) -> None:
    book = Book(tmp_path / "hosts")
    book.keep(HOST)
    book.keep(replace(HOST, tunnel=False))
    assert book.find("w2") == replace(HOST, tunnel=False)
    assert (tmp_path / "hosts").stat().st_mode & 0o777 == 0o700
    book.forget("w2")
    assert book.find("w2") is None


def test_a_page_of_the_book_that_is_spoilt_says_what_to_do(tmp_path: Path) -> None:
    book = Book(tmp_path)
    (tmp_path / "w2.json").write_text("{}")
    with pytest.raises(PatchfarmError, match=r"w2\.json") as refused:
        book.find("w2")
    assert "worker add" in refused.value.advice


def test_host_keys_are_added_to_those_that_are_pinned(tmp_path: Path) -> None:
    book = Book(tmp_path / "hosts")
    book.pin("w1 ssh-ed25519 AAAA")
    book.pin("w2 ssh-ed25519 BBBB")
    assert book.known_hosts.read_text() == "w1 ssh-ed25519 AAAA\nw2 ssh-ed25519 BBBB\n"
