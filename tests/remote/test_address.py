# SPDX-License-Identifier: GPL-3.0-or-later
"""Where to log in: every part is what it seems to be."""

import getpass

import pytest

from coordinator.errors import BadRequest
from coordinator.remote.address import Address, address, name_of


@pytest.mark.parametrize(
    ("text", "expected", "known_as"),
    [
        ("root@w2.example.org", Address("root", "w2.example.org"), "w2.example.org"),
        ("me@10.0.0.7:2222", Address("me", "10.0.0.7", 2222), "[10.0.0.7]:2222"),
        ("me@[fd00::1]:2222", Address("me", "fd00::1", 2222), "[fd00::1]:2222"),
        ("w2", Address(getpass.getuser(), "w2"), "w2"),
    ],
)
def test_a_host_is_read_and_written_alike(text: str, expected: Address, known_as: str) -> None:
    assert (address(text), expected.known_as) == (expected, known_as)
    assert address(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "@w2", "-oProxyCommand=id", "me@-w2", "me@w2:0", "me@w2:70000", "me@w2;id", "a b@w2", "me@w2\n", "me@fd00::1"],
)
def test_what_could_be_something_else_is_no_host(text: str) -> None:
    with pytest.raises(BadRequest):
        address(text)


@pytest.mark.parametrize(
    ("host", "name"), [("W2.example.org", "w2"), ("10.0.0.7", "10.0.0.7"), ("fd00::1", "fd00--1"), ("w2", "w2")]
)
def test_a_worker_is_called_what_its_host_is_called(host: str, name: str) -> None:
    assert name_of(Address("me", host)) == name
