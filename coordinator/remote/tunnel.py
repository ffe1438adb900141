# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a worker finds the farm: at addresses of its own network, or through a tunnel that the farm keeps open to it.

A farm whose web service and broker listen to this machine alone needs nothing else to change for a tunnel: OpenSSH
makes both appear on the host, as sockets in a folder that only the login's account may open. A port would be anybody's
there while the tunnel is down, and the worker's token with it. `python -m coordinator.remote.tunnel WORKER` is the
process that holds one; supervisord restarts it.
"""

import ipaddress
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from coordinator import config
from coordinator.config import Home, Settings
from coordinator.embedded import preparation, services
from coordinator.embedded.services import Program
from coordinator.errors import BadRequest, FarmDown, PatchfarmError
from coordinator.remote.book import Book, Host

#: The sockets' names in a worker's folder.
WEB, BROKER = "farm.sock", "broker.sock"
#: A unix socket's path has at most 107 bytes (unix(7)), and sshd binds it as it is.
LONGEST = 107 - len(BROKER) - 1


@dataclass(frozen=True)
class Way:
    """How a worker reaches the farm: these two addresses, or through a tunnel where they are empty."""

    url: str = ""
    broker: str = ""

    @property
    def tunnel(self) -> bool:
        """Whether there has to be one."""
        return not self.url

    def reach(self) -> tuple[str, tuple[str, str]]:
        """What the host must be able to open: an address, and a host and port; `-` for what comes by the tunnel."""
        if self.tunnel:
            return "-", ("-", "-")
        parts = urlsplit(self.broker)
        return self.url, (parts.hostname or "-", str(parts.port or 6379))


def way(settings: Settings, url: str, broker: str) -> Way:
    """The one that was asked for, or what the settings say others can reach, or a tunnel. Raises BadRequest, FarmDown.

    A tunnel is for an embedded farm with a broker of its own, and this is its machine.
    """
    url, named = (url or settings.url).rstrip("/"), _with_password(broker, settings.broker)
    if url and urlsplit(url).scheme not in ("http", "https"):
        raise BadRequest(f"{url!r} is not the address of a farm", "Give one like https://farm.example.org.")
    if not _here(url) and named and not _here(named):
        return Way(url, named)
    if (url and not _here(url)) or named:
        what = "the broker" if url and not _here(url) else "the web service"
        raise BadRequest(
            f"{what} can be reached from this machine alone, and a tunnel carries both or neither",
            'Set both in farm.toml, `url = "http://HOST:PORT"` with `listen = "0.0.0.0:PORT"` and '
            '`broker = "redis://:PASSWORD@HOST:6379/0"`, then `patchfarm down` and `patchfarm up`; '
            "or give --url and --broker.",
        )
    if not settings.listen.startswith("127.0.0.1:") or settings.listen.endswith(":0"):
        raise FarmDown(f"no farm was started in {settings.home}, and no --url and --broker say where one is")
    return Way()


def worker_settings(way: Way, host: Host) -> dict[str, str]:
    """The two addresses as the worker on that host is told them."""
    if not way.tunnel:
        return {"PATCHFARM_URL": way.url, "PATCHFARM_BROKER": way.broker}
    return {
        "PATCHFARM_URL": f"unix://{host.folder}/{WEB}",
        "PATCHFARM_BROKER": f"redis+socket://{host.folder}/{BROKER}?virtual_host=0",
    }


def program(host: Host, home: Home) -> Program:
    """The process for supervisord."""
    argv = (sys.executable, "-m", "coordinator.remote.tunnel", host.worker)
    return Program(f"{services.TUNNEL}{host.worker}", argv, 25, {"PATCHFARM_HOME": str(home.root)})


def login(host: Host, known_hosts: Path) -> list[str]:
    """OpenSSH, with the pinned key and without questions or anybody's configuration."""
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": "15",
        "ExitOnForwardFailure": "yes",
        "GlobalKnownHostsFile": "/dev/null",
        "ServerAliveCountMax": "3",
        "ServerAliveInterval": "10",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": f'"{known_hosts}"',
    }
    if host.identity:
        options["IdentitiesOnly"] = "yes"
    argv = ["ssh", "-F", "none", "-T", "-p", str(host.address.port), "-l", host.address.user]
    for name, value in options.items():
        argv += ["-o", f"{name}={value}"]
    return [*argv, *(["-i", host.identity] if host.identity else [])]


def forwards(host: Host, web: str, broker: Path) -> list[str]:
    """What appears there, and what of the farm's it is."""
    return [
        "-N",
        "-R",
        f"{host.folder}/{WEB}:{web}",
        "-R",
        f"{host.folder}/{BROKER}:{broker}",
    ]


def _hold(worker: str) -> None:
    """Become the OpenSSH client that holds the tunnel, after the sockets that a cut one left behind were removed."""
    settings = config.load()
    book = Book(settings.paths.hosts)
    host = book.find(worker)
    if host is None:
        raise PatchfarmError(f"{worker} is not in {book.folder}", "Add it again with `patchfarm worker add`.")
    ssh = login(host, book.known_hosts)
    # sshd does not bind over a file (StreamLocalBindUnlink in its manual is the server's to set).
    left = [f"{host.folder}/{name}" for name in (WEB, BROKER)]
    subprocess.run([*ssh, host.address.host, "rm", "-f", "--", *left], timeout=60)
    socket = services.redis_socket(preparation.sockets(settings.paths))
    argv = [*ssh, *forwards(host, settings.listen, socket), host.address.host]
    os.execvp("ssh", argv)  # noqa: S606  # supervisord sees the client itself, and Python's memory is given back


def _with_password(given: str, ours: str) -> str:
    """The broker's address as given, with the password of the farm's own setting: none was ever in an argument."""
    if not given:
        return ours
    parts, known = urlsplit(given), urlsplit(ours)
    if parts.password:
        raise BadRequest(
            "a password is in --broker, where everybody on this machine can read it",
            "Leave it out: it is taken from the setting `broker` in farm.toml.",
        )
    if not known.password:
        return given
    return parts._replace(netloc=f"{known.username or ''}:{known.password}@{parts.netloc}").geturl()


def _here(url: str) -> bool:
    """Whether it can be reached from its own machine alone; so can nothing at all."""
    name = urlsplit(url).hostname
    if not name or name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def main(arguments: list[str]) -> int:
    """The exit code is the error's own."""
    try:
        _hold(arguments[0])
    except PatchfarmError as error:
        sys.stderr.write(f"patchfarm tunnel: {error.message}\n{error.advice}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
