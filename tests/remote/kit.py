# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that remembers what was done to it, a farm that hears its worker, and tunnels that hold."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from coordinator.duty import Duty, Presence
from coordinator.errors import HostUnready
from coordinator.model import Clearance, Worker
from coordinator.remote.address import Address
from coordinator.remote.book import Host, Keeper
from coordinator.remote.provision import Means, Wish
from coordinator.remote.ssh import Done
from coordinator.remote.tunnel import Way
from workers.wire.arch import Arch, Tier

FOLDER = "/opt/patchfarm-worker/w2"
AT = Address("root", "w2.example.org")
HOST = Host("w2", AT, FOLDER, Keeper.SYSTEM, "/root", 0, True, "")
WAY = Way("http://farm.example.org:8650", "redis://:secret@broker.example.org:6379/0")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
WORKER = Worker("w2", {Arch.AMD64: Tier.NATIVE}, 3, NOW, "w2", 8, 16 << 30, "w2", Clearance.EMBARGOED, draining=False)
#: What the probe says of a host that lacks nothing.
GOOD: dict[str, Any] = {
    "python": [3, 11, 2],
    "venv": True,
    "machine": "x86_64",
    "binfmt": ["aarch64"],
    "programs": ["mmdebstrap", "gpgv", "arch-test", "setsid", "tar", "newuidmap"],
    "zones": True,
    "free_bytes": 100 << 30,
    "engine_bytes": 100 << 30,
    "engine": "20.10",
    "engine_error": "",
    "uid": 0,
    "home": "/root",
    "folder": FOLDER,
    "systemd": True,
    "lingers": False,
    "others": [],
    "token": False,
    "farm_error": "",
    "broker_error": "",
}


class FakeRemote:
    """Remote, without a host. `ran` and `files` are what was done; `fails` answers commands that begin so."""

    def __init__(self, **facts: Any) -> None:
        self.facts = {**GOOD, **facts}
        self.ran: list[tuple[str, ...]] = []
        self.files: dict[str, tuple[bytes, int]] = {}
        self.fails: dict[str, Done] = {}
        self.asked = ""

    def run(self, argv: Sequence[str], given: bytes = b"", seconds: int = 0) -> Done:
        if argv[:2] == ["python3", "-"]:
            self.asked = " ".join(argv[2:])
            return self.fails.get(
                "python3 -", Done(0, f"Welcome!\n{json.dumps({'time': time.time(), **self.facts}, default=sorted)}", "")
            )
        self.ran.append(tuple(argv))
        if argv[0] == "test":
            return Done(0 if argv[-1] in self.files else 1, "", "")
        line = " ".join(argv)
        return next((done for begins, done in self.fails.items() if line.startswith(begins)), Done(0, "", ""))

    def put(self, path: str, data: bytes, mode: int) -> None:
        self.files[path] = (data, mode)

    @property
    def started(self) -> bool:
        return any(argv[-1] == "start" or "restart" in argv for argv in self.ran)

    def text(self, path: str) -> str:
        return self.files[path][0].decode()


@dataclass
class FakeFarm:
    """The farm, which hears the worker as soon as it was started, unless it is `deaf`."""

    remote: FakeRemote
    known: list[Worker] = field(default_factory=list)
    admitted: list[tuple[str | None, Clearance | None, str | None]] = field(default_factory=list)
    deaf: bool = False
    asked: int = 0

    def workers(self) -> list[Duty]:
        if self.remote.started and not self.deaf:
            self.asked += 1
            worker = next((worker for worker in self.known if worker.name == "w2"), WORKER)
            beat = replace(worker, last_seen_at=NOW + timedelta(seconds=self.asked))
            return [Duty(beat, Presence.UP, ())] if self.asked > 1 or self.known else []
        return [Duty(worker, Presence.UP, ()) for worker in self.known]

    def admit(
        self, name: str, trust_domain: str | None, clearance: Clearance | None, token_sha256: str | None = None
    ) -> None:
        assert name == "w2"
        self.admitted.append((trust_domain, clearance, token_sha256))


@dataclass
class FakeTunnels:
    """Tunnels that are only talked about; `locked` ones need somebody to be asked."""

    opened: list[Host] = field(default_factory=list)
    locked: bool = False

    def check(self, host: Host) -> None:
        if self.locked:
            raise HostUnready(f"OpenSSH gets into {host.address} by no key", "Name another.")

    def open(self, host: Host) -> None:
        self.opened.append(host)

    def said(self, host: Host) -> str:
        return "remote port forwarding failed"


@dataclass
class World:
    """Everything that a provisioning touches."""

    remote: FakeRemote
    farm: FakeFarm
    tunnels: FakeTunnels
    notes: list[str] = field(default_factory=list)
    remembered: list[Host] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def means(self) -> Means:
        note: Callable[[str], None] = self.notes.append
        return Means(
            self.remote,
            self.farm,
            self.tunnels,
            {"mine": b"certificates"},
            self.remembered.append,
            note,
            self.slept.append,
        )


def world(**facts: Any) -> World:
    remote = FakeRemote(**facts)
    return World(remote, FakeFarm(remote), FakeTunnels())


def wish(**changed: Any) -> Wish:
    plain = Wish(
        name="w2",
        address=AT,
        farm="f1",
        way=WAY,
        arches=(),
        slots=0,
        trust_domain=None,
        clearance=None,
        identity="",
        folder="",
        new_token=False,
    )
    return replace(plain, **changed)
