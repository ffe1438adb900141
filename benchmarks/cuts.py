# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker in a network of its own, whose one way to the coordinator is cut at each stage: for half a lease, for two.

The first costs nothing; after the second somebody else has the job, and the worker that was cut off is refused and
clears away. Needs root and iproute2: the worker is in a network namespace, at the end of a pair of virtual cables.
"""

import secrets
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from urllib.parse import urlsplit

from benchmarks import cell, kit
from benchmarks.cell import LEASE, Cell, Fault
from benchmarks.kit import Farm
from benchmarks.recovery import OTHER, another_worker
from coordinator.embedded import machine

#: A range for documentation (RFC 5737), that no network uses.
_HERE, _THERE, _PREFIX = "198.51.100.1", "198.51.100.2", 30
#: The stages in whose middle somebody has the job for a while yet.
_HELD = (cell.preparing.__name__, cell.building.__name__, cell.testing.__name__)


class Room:
    """The namespace; its cable's ends are `NAMEa` here and `NAMEb` in there."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cut(self, seconds: float, once_cut: Callable[[], None]) -> None:
        """No bytes either way for so long. This end stays up: the coordinator's address is on it."""
        self._inside("link", "set", f"{self.name}b", "down")
        once_cut()
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


def alone(_farm: Farm, _update: int, _stage: str) -> None:
    """Only the worker behind the cable takes the job: there is nothing else to do for that."""


def cut(there: Room, seconds: float, farm: Farm, _update: int) -> str:
    """Cut the way. From then on the embedded worker may take what the other has; what nobody has stays free for it."""

    def once_cut() -> None:
        farm.client.resume(OTHER)
        if any(duty.attempts for duty in farm.client.workers()):
            farm.client.resume(machine.worker_name())

    there.cut(seconds, once_cut)
    return f"no way for {seconds:.0f} s"


#: How long the way is cut: for less than the lease, and for more.
FAULTS = {"cut_shortly": LEASE / 2, "cut_for_long": LEASE * 2.0}


def fault(there: Room, seconds: float) -> Fault:
    """A cut, and what it may cost."""
    return Fault(partial(cut, there, seconds), alone, most=int(seconds > LEASE))


def run(farm: Farm, name: str, done: Fault, stage: str) -> Cell:
    """One cell; a cut that is longer than the lease has to have cost the attempt, else it was none."""
    if stage == cell.queued.__name__:
        farm.client.drain(OTHER)
    found = cell.run(farm, name, done, stage)
    if done.most > len(found.lost) and stage in _HELD:
        found.wrong.append("the cut has cost nothing, though it was longer than the lease")
    return found


def main() -> None:
    """Both cuts at each stage, or those that were asked for; the exit code is 1 where something is wrong afterwards."""
    asked = cell.asked(__doc__, FAULTS)
    with (
        room() as there,
        kit.farm("cuts", cell.with_a_slow_preparation, slots="1", lease_seconds=str(LEASE)) as farm,
        door(farm) as url,
    ):
        cell.warm_up(farm)
        with another_worker(farm, "ip", "netns", "exec", there.name, url=url):
            cells = [cell.tell(run(farm, name, fault(there, FAULTS[name]), stage)) for name, stage in asked]
        cell.conclude(farm, f"a worker behind a cable, a lease of {LEASE} s", cells, asked.json)


if __name__ == "__main__":
    main()
