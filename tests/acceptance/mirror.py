# SPDX-License-Identifier: GPL-3.0-or-later
"""A small archive of its own, with real packages and signed with a key of its own, that containers can reach."""

import http.server
import random
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import partial
from hashlib import sha256
from http import HTTPStatus
from ipaddress import ip_network
from pathlib import Path

import docker

from tests.sources import Person

#: apt-cacher-ng sends what is asked of a higher port to another one.
_PORTS = range(20000, 32768)
_CONTROL = """Package: {name}
Version: {version}
Architecture: all
Maintainer: {person}
Description: is needed
"""


@dataclass
class SmallArchive:
    """A suite with the packages that were published in it. While it is `down` it answers, with 503."""

    root: Path
    suite: str
    person: Person
    url: str = ""
    down: threading.Event = field(default_factory=threading.Event)

    def publish(self, *packages: tuple[str, str]) -> None:
        """These packages, by name and version, are all that it has from now on."""
        dist = self.root / "dists" / self.suite
        index = dist / "main" / "binary-amd64" / "Packages"
        index.parent.mkdir(parents=True, exist_ok=True)
        index.write_text("\n".join(self._package(*package) for package in packages))
        row = f" {sha256(index.read_bytes()).hexdigest()} {index.stat().st_size} {index.relative_to(dist)}"
        text = (
            f"Origin: Test\nSuite: {self.suite}\nCodename: {self.suite}\nDate: {formatdate(usegmt=True)}\n"
            f"Architectures: amd64\nComponents: main\nSHA256:\n{row}\n"
        )
        (dist / "InRelease").write_bytes(self.person.clearsign(text))

    def _package(self, name: str, version: str) -> str:
        """Build it; answers its paragraph of the index."""
        tree = self.root / f"{name}-{version}"
        (tree / "DEBIAN").mkdir(parents=True, exist_ok=True)
        control = _CONTROL.format(name=name, version=version, person=self.person.user_id)
        (tree / "DEBIAN" / "control").write_text(control)
        path = self.root / "pool" / f"{name}_{version}_all.deb"
        path.parent.mkdir(exist_ok=True)
        subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, path], check=True, capture_output=True)
        data = path.read_bytes()
        return f"{control}Filename: pool/{path.name}\nSize: {len(data)}\nSHA256: {sha256(data).hexdigest()}\n"


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the folder, unless the archive is down."""

    def __init__(self, *args: object, archive: SmallArchive) -> None:
        self._archive = archive
        super().__init__(*args, directory=str(archive.root))  # type: ignore[arg-type]  # what the server passes on

    def do_GET(self) -> None:
        if self._archive.down.is_set():
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE)
            return
        super().do_GET()

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@contextmanager
def serving(archive: SmallArchive) -> Iterator[None]:
    """While it is reached from this machine and from its containers alike."""
    with _server(_gateway(), partial(_Handler, archive=archive)) as server:
        archive.url = f"http://{server.server_address[0]!s}:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def _server(address: str, handler: partial[_Handler]) -> http.server.ThreadingHTTPServer:
    for port in random.sample(_PORTS, 20):
        try:
            return http.server.ThreadingHTTPServer((address, port), handler)
        except OSError:
            continue
    raise OSError("none of the ports is free")


def _gateway() -> str:
    """The machine's address on the engine's bridge: the first, which an engine does not say on its first start."""
    with closing(docker.from_env()) as client:
        return str(ip_network(client.api.inspect_network("bridge")["IPAM"]["Config"][0]["Subnet"])[1])
