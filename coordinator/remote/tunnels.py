# SPDX-License-Identifier: GPL-3.0-or-later
"""The tunnels of an embedded farm: each a process that the farm's supervisord starts with the others, and again."""

import subprocess
import xmlrpc.client as rpc
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException

from coordinator.config import Home
from coordinator.embedded import preparation, services
from coordinator.embedded.supervisor import Supervisor
from coordinator.errors import HostUnready, PatchfarmError
from coordinator.remote import tunnel
from coordinator.remote.book import Book, Host

_SECONDS = 60


class SupervisedTunnels:
    """Tunnels, of the farm in a home. A farm that is down opens them when it is up again."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def check(self, host: Host) -> None:
        """Whether OpenSSH gets in with nobody there to be asked. Raises HostUnready."""
        book = Book(self._home.hosts)
        argv = [*tunnel.login(host, book.known_hosts), host.address.host, "true"]
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS)
            said, code = done.stderr.strip().splitlines()[-1:], done.returncode
        except subprocess.TimeoutExpired:
            said, code = ["no answer"], 1
        if code != 0:
            raise HostUnready(
                f"OpenSSH gets into {host.address} by no key that needs nobody: {' '.join(said)}",
                "The tunnel opens by itself: name a private key without a passphrase with --identity, made for this.",
            )

    def open(self, host: Host) -> None:
        """Begin to hold one, or hold it anew, by what the book has of the host. Raises PatchfarmError."""
        program = tunnel.program(host, self._home)
        section = services.section(program, self._home)
        preparation.write(self._home.hosts / f"{host.worker}.conf", "\n".join(section) + "\n")
        with self._supervisor() as control:
            control.take_up(program.name)

    def close(self, host: Host) -> None:
        """Hold it no more."""
        file = self._home.hosts / f"{host.worker}.conf"
        if not file.exists():
            return
        file.unlink()
        with self._supervisor() as control:
            if control.answers():
                control.let_go(tunnel.program(host, self._home).name)

    def said(self, host: Host) -> str:
        """What it said last, on a line."""
        log = self._home.log / f"{tunnel.program(host, self._home).name}.log"
        lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        return lines[-1] if lines else "nothing"

    @contextmanager
    def _supervisor(self) -> Iterator[Supervisor]:
        try:
            yield Supervisor(services.control_socket(preparation.sockets(self._home)))
        except (OSError, HTTPException, rpc.Error) as error:
            raise PatchfarmError(f"the farm's supervisor did not do it: {error}") from error
