# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs in to a host and runs commands there. Every command is a list of arguments, each quoted by itself.

A host key is learnt once, when somebody confirms it, and then pinned; another one is refused ever after. Keys and the
agent let one in; no password is ever sent.
"""

import posixpath
import secrets
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from paramiko import (
    AuthenticationException,
    BadHostKeyException,
    Channel,
    MissingHostKeyPolicy,
    PasswordRequiredException,
    PKey,
    SFTPClient,
    SSHClient,
    SSHException,
    Transport,
)
from paramiko.hostkeys import InvalidHostKey
from paramiko.pkey import UnknownKeyType

from coordinator.errors import HostUnready, NotAllowed
from coordinator.remote.address import Address
from coordinator.remote.book import Book

#: Seconds for a connection, and for a command that says nothing of its own need.
_PATIENCE = 30
_KEEPALIVE = 15
#: No answer that is asked for is longer.
_MOST = 1 << 20
_REACH = "Check the address, the network, and that the SSH server there runs."


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it said: at most a MiB of each, as text."""

    code: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        """What it said last, errors first."""
        lines = (self.err.strip() or self.out.strip()).splitlines()
        return lines[-1].strip()[:300] if lines else f"exit code {self.code}"


class Remote(Protocol):
    """A host that somebody is logged in to. Every method raises HostUnready where the connection ends."""

    def run(self, argv: Sequence[str], given: bytes = b"", seconds: int = _PATIENCE) -> Done:
        """Run a command, its standard input given; `seconds` is how long it may say nothing."""

    def put(self, path: str, data: bytes, mode: int) -> None:
        """Write a file that is there whole or not at all; nobody but its owner could ever read it but by `mode`."""


class SshRemote:
    """Remote, by a connection that is open."""

    def __init__(self, transport: Transport, sftp: SFTPClient) -> None:
        self._transport = transport
        self._sftp = sftp

    def run(self, argv: Sequence[str], given: bytes = b"", seconds: int = _PATIENCE) -> Done:
        """See Remote. SSH has no lists of arguments: the login's shell takes the quoted words apart again."""
        try:
            with self._transport.open_session(timeout=_PATIENCE) as channel:
                channel.settimeout(seconds)
                channel.exec_command(shlex.join(argv))
                channel.sendall(given)
                channel.shutdown_write()
                out, err = _all_of(channel.recv), _all_of(channel.recv_stderr)
                return Done(_exit_code(channel, seconds), out, err)
        except TimeoutError as error:
            raise HostUnready(f"`{argv[0]}` said nothing for {seconds} s", _REACH) from error
        except (SSHException, EOFError, OSError) as error:
            raise HostUnready(f"the connection ended while `{argv[0]}` ran: {error}", _REACH) from error

    def put(self, path: str, data: bytes, mode: int) -> None:
        """See Remote."""
        part = f"{path}.{secrets.token_hex(4)}.part"
        try:
            with self._sftp.open(part, "wx") as file:
                file.chmod(0o600)
                file.write(data)
                file.chmod(mode)
            self._sftp.posix_rename(part, path)
        except (SSHException, EOFError, OSError) as error:
            folder = posixpath.dirname(path)
            raise HostUnready(
                f"{path} cannot be written there: {error}", f"Check who owns {folder}, and its disk."
            ) from error


@dataclass(frozen=True)
class Login:
    """What to show and to ask while logging in. `confirm` is told a fingerprint that nobody has pinned yet."""

    identity: Path | None
    confirm: Callable[[str], bool]
    passphrase: Callable[[Path], str]


@contextmanager
def connected(where: Address, book: Book, login: Login) -> Iterator[SshRemote]:
    """A connection to the pinned host. Raises HostUnready, NotAllowed."""
    with SSHClient() as client:
        client.set_missing_host_key_policy(_Learning(where, book, login.confirm))
        if book.known_hosts.exists():
            _load(client, book.known_hosts)
        key = _key(login) if login.identity else None
        try:
            client.connect(
                where.host,
                where.port,
                where.user,
                pkey=key,
                look_for_keys=key is None,
                timeout=_PATIENCE,
                banner_timeout=_PATIENCE,
                auth_timeout=_PATIENCE,
                channel_timeout=_PATIENCE,
            )
            transport = client.get_transport()
            if transport is None:
                raise HostUnready(f"{where} ended the connection", _REACH)
            transport.set_keepalive(_KEEPALIVE)
            sftp = client.open_sftp()
        except (SSHException, EOFError, OSError) as error:
            raise _explained(where, book, error) from error
        yield SshRemote(transport, sftp)


class _Learning(MissingHostKeyPolicy):
    """Pins the key of a host that is met for the first time, if somebody confirms it; else refuses it."""

    def __init__(self, where: Address, book: Book, confirm: Callable[[str], bool]) -> None:
        self._where = where
        self._book = book
        self._confirm = confirm

    def missing_host_key(self, client: SSHClient, hostname: str, key: PKey) -> None:  # noqa: ARG002  # paramiko calls it so
        if not self._confirm(key.fingerprint):
            raise NotAllowed(
                f"nobody confirmed the host key of {self._where}, {key.fingerprint}",
                "Compare it with what `ssh-keygen -lf` says on the host itself, and give it with --host-key.",
            )
        self._book.pin(f"{self._where.known_as} {key.get_name()} {key.get_base64()}")


def _load(client: SSHClient, known_hosts: Path) -> None:
    try:
        client.load_host_keys(str(known_hosts))
    except (OSError, ValueError, InvalidHostKey) as error:
        raise HostUnready(
            f"the pinned host keys in {known_hosts} cannot be read", "Remove what is no line of known_hosts(5)."
        ) from error


def _key(login: Login) -> PKey:
    path = login.identity or Path()
    try:
        try:
            return PKey.from_path(path)
        except (TypeError, PasswordRequiredException):  # the first is what paramiko 5 lets through
            return PKey.from_path(path, login.passphrase(path).encode())  # type: ignore[arg-type]  # it takes bytes alone
    except (OSError, ValueError, TypeError, SSHException, UnknownKeyType) as error:
        raise HostUnready(
            f"the key {path} cannot be used", "Name a private key of yours with --identity, or load it into ssh-agent."
        ) from error


def _all_of(receive: Callable[[int], bytes]) -> str:
    """To the end, but of more than is wanted nothing is kept."""
    kept = bytearray()
    while piece := receive(1 << 15):
        kept += piece[: _MOST - len(kept)]
    return kept.decode(errors="replace")


def _exit_code(channel: Channel, seconds: int) -> int:
    if not channel.status_event.wait(seconds):
        raise TimeoutError
    return channel.exit_status


def _explained(where: Address, book: Book, error: Exception) -> HostUnready:
    match error:
        case BadHostKeyException():
            return HostUnready(
                f"{where} shows the host key {error.key.fingerprint}, and another one is pinned",
                "Somebody may stand between. Ask the host's administrators; only if they changed its key, take the old "
                f"one out: ssh-keygen -R '{where.known_as}' -f {book.known_hosts}",
            )
        case AuthenticationException():
            return HostUnready(
                f"{where} lets nobody in with the keys that were tried",
                f"Put a key of yours into its authorized_keys (ssh-copy-id {where}), and name it with --identity.",
            )
        case TimeoutError():
            return HostUnready(f"{where} does not answer", _REACH)
        case OSError():
            return HostUnready(f"{where} cannot be reached: {error.strerror or error}", _REACH)
        case _:
            return HostUnready(f"no SSH connection to {where} came about: {error}", _REACH)
