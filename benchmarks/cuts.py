# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker in a network of its own, whose one way to the coordinator is cut in mid-build: for half a lease, for two.

The first costs nothing; after the second somebody else has the job, and the worker that was cut off is refused and
clears away. Needs root and iproute2: the worker is in a network namespace, at the end of a pair of virtual cables.
"""

import secrets
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from benchmarks import cell, kit
from benchmarks.cell import LEASE, REST, Cell
from benchmarks.kit import ARCH, Farm
from benchmarks.recovery import OTHER, another_worker
from coordinator.embedded import machine

#: A range for documentation (RFC 5737), that no network uses.
_HERE, _THERE, _PREFIX = "198.51.100.1", "198.51.100.2", 30


class Room:
    """The namespace; its cable's ends are `NAMEa` here and `NAMEb` in there."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cut(self, seconds: float) -> None:
        """No bytes either way for so long. This end stays up: the coordinator's address is on it."""
        self._inside("link", "set", f"{self.name}b", "down")
        time.sleep(seconds)
        self._inside("link", "set", f"{self.name}b", "up")

    def build(self) -> None:
        """Make it."""
        ip("netns", "add", self.name)
        ip("link", "add", f"{self.name}a", "type", "veth", "peer", "name", f"{self.name}b", "netns", self.name)
        ip("address", "add", f"{_HERE}/{_PREFIX}", "dev", f"{self.name}a")
        ip("link", "set", f"{self.name}a", "up")
        self._inside("address", "add", f"{_THERE}/{_PREFIX}", "dev", f"{self.name}b")
        self._inside("link", "set", "lo", "up")
        self._inside("link", "set", f"{self.name}b", "up")

    def _inside(self, *arguments: str) -> None:
        ip("-n", self.name, *arguments)


def ip(*arguments: str) -> None:
    """Raises CalledProcessError."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@contextmanager
def room() -> Iterator[Room]:
    """A namespace that is gone afterwards, and its cable with it."""
    made = Room(f"pf{secrets.token_hex(3)}")
    made.build()
    try:
        yield made
    finally:
        ip("netns", "del", made.name)


@contextmanager
def door(farm: Farm) -> Iterator[str]:
    """The farm listens on the loopback: this is where the other network reaches it."""
    parts = urlsplit(farm.settings.url)

    class Passage(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((parts.hostname or "", parts.port or 0)) as inner:
                back = threading.Thread(target=_carry, args=(inner, self.request), daemon=True)
                back.start()
                _carry(self.request, inner)
                back.join()

    with socketserver.ThreadingTCPServer((_HERE, 0), Passage) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{_HERE}:{server.server_address[1]}"
        server.shutdown()


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def cut(farm: Farm, there: Room, seconds: float, number: int) -> Cell:
    """Cut the way in mid-build. The embedded worker takes nothing before the cut, and may after it."""
    found = Cell(f"cut for {seconds:.0f} s", "building")
    farm.client.drain(machine.worker_name())
    update = cell.submit(farm, f"cut{number}")
    kit.wait_for(lambda: bool((job := farm.build(update, ARCH)) and job.worker == OTHER))
    cell.building(farm, update)
    farm.client.resume(machine.worker_name())
    began = time.monotonic()
    there.cut(seconds)
    try:
        kit.wait_for(lambda: cell.at_rest(farm, update), REST, pause=0.2)
        found.seconds = time.monotonic() - began
        cell.look(farm, update, found)
    except TimeoutError as error:
        found.wrong.append(f"stuck: {error}; {cell.story(farm, update)}")
    job = farm.build(update, ARCH)
    expected = 1 if seconds < LEASE else 2
    if job is None or job.attempt != expected:
        found.wrong.append(f"the build took {job.attempt if job else 0} attempts, not {expected}")
    return found


def main() -> None:
    """Both cuts; the exit code is 1 where something is wrong afterwards."""
    asked = kit.arguments(__doc__).parse_args()
    with (
        room() as there,
        kit.farm("cuts", cell.with_a_slow_preparation, slots="1", lease_seconds=str(LEASE)) as farm,
        door(farm) as url,
        another_worker(farm, "ip", "netns", "exec", there.name, url=url),
    ):
        cells = [cut(farm, there, seconds, number) for number, seconds in enumerate((LEASE / 2, LEASE * 2.0))]
    heads = ("fault", "seconds to rest", "attempts of both jobs", "lost", "what is wrong")
    rows = [(c.fault, c.seconds, c.attempts, len(c.lost), "; ".join(c.wrong) or "nothing") for c in cells]
    kit.table(f"a worker behind a cable, a lease of {LEASE} s", heads, rows)
    kit.write(asked.json, {"cells": [vars(c) for c in cells]})
    sys.exit(1 if any(c.wrong for c in cells) else 0)


if __name__ == "__main__":
    main()
