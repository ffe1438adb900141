# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs in to a worker's host from the command line: shows its key and asks, and asks for a key's passphrase."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from coordinator.cli.session import Session
from coordinator.errors import NotAllowed
from coordinator.remote.address import Address, address
from coordinator.remote.book import Book, Host
from coordinator.remote.ssh import Login, Remote, connected


@dataclass(frozen=True)
class Visit:
    """Somebody who goes to hosts."""

    here: Session
    book: Book

    @contextmanager
    def to(self, where: Address, identity: Path | None, host_key: str) -> Iterator[Remote]:
        """Be there, if the host is the one that is pinned or that somebody confirms. Raises HostUnready, NotAllowed."""

        def confirm(fingerprint: str) -> bool:
            self.here.note(f"{where} shows the host key {fingerprint}.")
            if host_key:
                return fingerprint == host_key
            return sys.stdin.isatty() and typer.confirm("Is it the host's own?", err=True)

        with connected(where, self.book, Login(identity, confirm, _passphrase)) as remote:
            yield remote


def known_host(known: Host | None, elsewhere: str, identity: Path | None) -> Host | None:
    """What is remembered of it, at the address that was named."""
    if known is None:
        return None
    found = replace(known, address=address(elsewhere)) if elsewhere else known
    return replace(found, identity=str(identity.absolute())) if identity else found


def _passphrase(key: Path) -> str:
    if not sys.stdin.isatty():
        raise NotAllowed(f"the key {key} has a passphrase, and nobody is here to be asked", "Load it into ssh-agent.")
    answer: str = typer.prompt(f"Passphrase of {key}", hide_input=True, err=True)
    return answer
