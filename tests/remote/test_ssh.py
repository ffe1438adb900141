# SPDX-License-Identifier: GPL-3.0-or-later
"""Logging in to a real SSH server: whose key is believed, what is run, what is written."""

import getpass
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from coordinator.errors import HostUnready, NotAllowed
from coordinator.remote.address import Address
from coordinator.remote.book import Book
from coordinator.remote.ssh import Login, SshRemote, connected
from tests.sshd import Sshd, make_key, public, running

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running(tmp_path_factory.mktemp("sshd"), "ForceCommand none") as made:
        yield made


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path / "hosts")


def visit(
    server: Sshd, book: Book, confirmed: bool = True, identity: Path | None = None
) -> AbstractContextManager[SshRemote]:
    login = Login(identity or server.identity, lambda _: confirmed, lambda _: "open sesame")
    return connected(Address(getpass.getuser(), "127.0.0.1", server.port), book, login)


@pytest.fixture
def remote(server: Sshd, book: Book) -> Iterator[SshRemote]:
    with visit(server, book) as there:
        yield there


def test_a_host_key_is_pinned_when_somebody_confirms_it_and_not_asked_for_again(server: Sshd, book: Book) -> None:
    with visit(server, book):
        pass
    with visit(server, book, confirmed=False) as there:
        assert there.run(["echo", "hello"]).out == "hello\n"
    assert book.known_hosts.read_text() == f"[127.0.0.1]:{server.port} {public(server.host_key)}\n"


def test_a_host_key_that_nobody_confirms_is_not_pinned(server: Sshd, book: Book) -> None:
    with pytest.raises(NotAllowed, match="SHA256:"), visit(server, book, confirmed=False):
        pass
    assert not book.known_hosts.exists()


def test_another_host_key_than_the_pinned_one_is_refused_whatever_somebody_says(
    server: Sshd, book: Book, tmp_path: Path
) -> None:
    book.pin(f"[127.0.0.1]:{server.port} {public(make_key(tmp_path / 'other'))}")
    with pytest.raises(HostUnready, match="another one is pinned") as refused, visit(server, book):
        pass
    assert "ssh-keygen -R" in refused.value.advice


def test_a_key_that_the_host_does_not_know_does_not_open_it(server: Sshd, book: Book, tmp_path: Path) -> None:
    with pytest.raises(HostUnready, match="lets nobody in"), visit(server, book, identity=make_key(tmp_path / "other")):
        pass


def test_a_key_with_a_passphrase_is_opened_by_it(server: Sshd, book: Book, tmp_path: Path) -> None:
    locked = make_key(tmp_path / "locked", "open sesame")
    with pytest.raises(HostUnready, match="lets nobody in"), visit(server, book, identity=locked):
        pass
    with pytest.raises(HostUnready, match="cannot be used"):
        visit(server, book, identity=make_key(tmp_path / "other", "another")).__enter__()


def test_a_host_that_is_not_there_says_so(book: Book, server: Sshd) -> None:
    gone = Address("me", "127.0.0.1", 1)
    login = Login(server.identity, lambda _: True, str)
    with pytest.raises(HostUnready, match="cannot be reached"), connected(gone, book, login):
        pass


def test_arguments_arrive_as_they_were_given(remote: SshRemote) -> None:
    hostile = ["a b", "$(id)", "`id`", "'", '"', ";id", "*", "~", "-n", "\\", "x\ny", ""]
    assert remote.run(["printf", "%s\\0", *hostile]).out.split("\0")[:-1] == hostile


def test_a_command_hears_its_input_and_tells_how_it_ended(remote: SshRemote) -> None:
    data = b"x" * (1 << 20)
    assert remote.run(["sh", "-c", "wc -c; echo no >&2; exit 7"], data) == remote.run(
        ["sh", "-c", "echo 1048576; echo no >&2; exit 7"]
    )
    assert remote.run(["sh", "-c", "cat; exit 7"], b"data").code == 7


def test_of_more_than_anybody_wants_to_hear_nothing_is_kept(remote: SshRemote) -> None:
    assert len(remote.run(["head", "-c", str(3 << 20), "/dev/zero"]).out) == 1 << 20


def test_a_command_that_says_nothing_for_too_long_is_given_up(remote: SshRemote) -> None:
    with pytest.raises(HostUnready, match="said nothing for 1 s"):
        remote.run(["sleep", "30"], seconds=1)


def test_a_file_is_written_whole_and_for_its_owner(remote: SshRemote, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    path.chmod(0o644)
    remote.put(str(path), b"new", 0o600)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o600)
    assert [each.name for each in tmp_path.iterdir() if each.suffix == ".part"] == []


def test_a_folder_that_is_not_there_says_so(remote: SshRemote, tmp_path: Path) -> None:
    with pytest.raises(HostUnready, match="cannot be written there"):
        remote.put(str(tmp_path / "no" / "token"), b"", 0o600)
