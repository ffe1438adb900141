# SPDX-License-Identifier: GPL-3.0-or-later
"""What the proxy is told to relay, whatever an order names as its mirror."""

import pytest

from workers.bootstrap import SCRIPTS
from workers.errors import AttemptEnded
from workers.proxy import mirrors_of, own_arch, settings_of, stem_of
from workers.sandbox.docker import owner
from workers.sandbox.network import PROXY_HOST, PROXY_PORT
from workers.wire.arch import Arch
from workers.wire.order import Environment, Index
from workers.wire.report import Outcome


def environment(*urls: str) -> Environment:
    return Environment("deb", "stable", "debian-archive", tuple(Index(url, "stable", ("main",)) for url in urls), ())


def settings(*urls: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in settings_of(mirrors_of(environment(*urls))))


def test_what_may_be_asked_for_is_below_a_mirror() -> None:
    told = settings("http://mirror.example/debian/", "http://mirror.example/debian", "http://other.example:8080/x")
    assert (told["ForceManaged"], told["RedirMax"]) == ("1", "0")
    assert sorted(value for key, value in told.items() if key.startswith("Remap-")) == [
        "http://mirror.example/debian ; http://mirror.example/debian",
        "http://other.example:8080/x ; http://other.example:8080/x",
    ]
    assert told["AllowUserPorts"] == "80 8080"
    assert told["PassThroughPattern"] == "^()$"


def test_through_a_tunnel_goes_only_what_is_for_a_mirror_with_https() -> None:
    told = settings("https://mirror.example/debian", "https://other.example:8443/debian")
    assert told["PassThroughPattern"] == r"^(mirror\.example:443|other\.example:8443)$"
    assert not any(key.startswith("Remap-") for key in told)


def test_a_mirror_keeps_its_part_of_the_cache_when_others_come() -> None:
    one = "http://b.example/debian"
    assert set(settings(one)) < set(settings("http://a.example/debian", one))


@pytest.mark.parametrize(
    "url",
    [
        "file:///srv/debian",
        "http://user:secret@mirror.example/debian",
        "http://mirror.example/debian;http://elsewhere.example",
        "http://mirror.example/debian ; http://elsewhere.example",
        "http://mirror.example/\nForceManaged: 0",
        "http://mirror.example/%0aForceManaged:0",
        "http://mirror.example/debian#x",
        "http://mirror.example/debian?x",
        "http://mirror.example:port/debian",
        "http://.*/debian",
        "http:///debian",
        "mirror.example/debian",
    ],
)
def test_an_address_that_could_be_read_as_more_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(AttemptEnded) as refused:
        mirrors_of(environment(url))
    assert refused.value.outcome is Outcome.BROKEN
    assert "secret" not in refused.value.reason


def test_no_two_workers_share_a_name() -> None:
    owners = [("a", "b"), ("a-b", "c"), ("a", "b-c"), ("b", "a")]
    assert len({stem_of(owner(farm, worker)) for farm, worker in owners}) == len(owners)


def test_apt_in_every_image_asks_the_proxy() -> None:
    assert f'"http://{PROXY_HOST}:{PROXY_PORT}"' in (SCRIPTS / "setup-image.sh").read_text()


@pytest.mark.parametrize(
    ("machine", "offered", "arch"),
    [
        ("x86_64", (Arch.AMD64, Arch.I386), Arch.AMD64),
        ("x86_64", (Arch.I386,), Arch.I386),
        ("x86_64", (Arch.ARM64,), Arch.AMD64),
        ("aarch64", (Arch.ARM64,), Arch.ARM64),
        ("unheard-of", (Arch.RISCV64,), Arch.RISCV64),
    ],
)
def test_the_proxy_is_never_emulated(machine: str, offered: tuple[Arch, ...], arch: Arch) -> None:
    assert own_arch(machine, offered) is arch
