# SPDX-License-Identifier: GPL-3.0-or-later
"""A private OpenSSH server for tests, with keys of its own; and a proxy that cuts a connection in the middle."""

import getpass
import os
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from coordinator.config import TargetSettings

_SSHD = "/usr/sbin/sshd"


def make_key(path: Path, passphrase: str = "") -> Path:
    """A private key; its public half is beside it, with `.pub`."""
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "test", "-f", str(path)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    return path


def public(key: Path) -> str:
    """The public half, as known_hosts and authorized_keys have it."""
    return " ".join(key.with_name(f"{key.name}.pub").read_text().split()[:2])


class Sshd:
    """SFTP alone, for the one key `identity`, beginning in `home`, where the folder `incoming` is."""

    def __init__(self, root: Path, *lines: str, sftp: str = "internal-sftp") -> None:
        """`lines` come first in the configuration, where they count; `sftp` may carry internal-sftp's options."""
        self.root = root
        self.home = root / "home"
        self.incoming = self.home / "incoming"
        self.incoming.mkdir(parents=True)
        self.host_key = make_key(root / "host_key")
        self.identity = make_key(root / "identity")
        self.port = free_port()
        (root / "authorized_keys").write_text(f"{public(self.identity)}\n")
        (root / "sshd_config").write_text("".join(f"{line}\n" for line in (*lines, *self._configuration(sftp))))
        self._process: subprocess.Popen[bytes] | None = None

    def _configuration(self, sftp: str) -> tuple[str, ...]:
        return (
            f"ListenAddress 127.0.0.1:{self.port}",
            f"HostKey {self.host_key}",
            f"AuthorizedKeysFile {self.root / 'authorized_keys'}",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "StrictModes no",
            "UsePAM no",
            "PidFile none",
            "Subsystem sftp internal-sftp",
            f"ForceCommand {sftp} -d {self.home}",
        )

    def start(self) -> None:
        """Returns when it listens."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        argv = [_SSHD, "-D", "-e", "-f", str(self.root / "sshd_config")]
        with (self.root / "log").open("ab") as log:
            # Signals that are ignored here stay so there, SIGXFSZ above all: else a limit would kill the server.
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=log, restore_signals=False)
        while not listens(self.port):
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.02)
                raise AssertionError((self.root / "log").read_text())

    def stop(self) -> None:
        """No new connections; those that are open end when their client goes."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def known_hosts(self, port: int | None = None) -> Path:
        """A file that pins the server, as it is reached by that port."""
        port = port or self.port
        path = self.root / f"known_hosts.{port}"
        path.write_text(f"[127.0.0.1]:{port} {public(self.host_key)}\n")
        return path

    def target(self, port: int | None = None) -> TargetSettings:
        """Settings that let one in, by that port."""
        return TargetSettings(
            port=port or self.port,
            user=getpass.getuser(),
            identity=self.identity,
            known_hosts=self.known_hosts(port),
        )


@contextmanager
def running(root: Path, *lines: str, sftp: str = "internal-sftp") -> Iterator[Sshd]:
    """A server while the context lasts."""
    server = Sshd(root, *lines, sftp=sftp)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Proxy:
    """Stands before a server for one connection. Cuts it when the client has sent `limit` bytes; 0 cuts never."""

    def __init__(self, server: int, limit: int) -> None:
        self._server = server
        self._limit = limit
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.sent = 0

    def serve(self) -> None:
        """Until the connection is over, at the server's side too."""
        address = ("127.0.0.1", self._server)
        with (
            self._listener,
            self._listener.accept()[0] as client,
            socket.create_connection(address) as server,
            ThreadPoolExecutor(1) as answers,
        ):
            back = answers.submit(_pour, server, client)
            self._forward(client, server)
            # The client sees the cut at once, the server only after what is under way.
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            server.shutdown(socket.SHUT_WR)
            back.result()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(ConnectionError):
            while data := client.recv(2**14):
                self.sent += len(data)
                server.sendall(data)
                if self._limit and self.sent >= self._limit:
                    return


def _pour(source: socket.socket, sink: socket.socket) -> None:
    """Reads to the end, even when nobody listens any more."""
    with suppress(ConnectionError):
        while data := source.recv(2**16):
            with suppress(OSError):
                sink.sendall(data)


@contextmanager
def proxy(server: int, limit: int = 0) -> Iterator[Proxy]:
    """A proxy at work. The context ends when the connection is over."""
    between = Proxy(server, limit)
    with ThreadPoolExecutor(1) as pool:
        served: Future[None] = pool.submit(between.serve)
        yield between
        served.result()


def free_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether somebody does."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True
