# SPDX-License-Identifier: GPL-3.0-or-later
"""What the workers' tests share: an order, a coordinator in memory, and a worker put together from doubles."""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

from workers import held
from workers.attempt import Tools
from workers.config import WorkerConfig
from workers.ending import End
from workers.errors import Fenced
from workers.images import Base, Images
from workers.layers import Layers
from workers.sandbox import Sandbox
from workers.sandbox.fake import FakeImages, FakeLayers, FakeSandbox, Play
from workers.wire.arch import Arch, Tier
from workers.wire.order import Environment, Index, Input, JobKey, JobKind, Limits, Network, Order, Step, User
from workers.wire.report import Artifact, Heartbeat, Offer, Report
from workers.worker import Worker

JOB = JobKey(7, JobKind.BUILD, Arch.AMD64)
SOURCE = b"Format: 3.0 (quilt)\n"
LIMITS = Limits(
    seconds=60,
    cores=2,
    memory_bytes=1 << 30,
    processes=512,
    disk_bytes=1 << 30,
    log_bytes=1 << 20,
    output_bytes=1 << 20,
    output_files=10,
)
MAIN = Index("http://mirror.invalid/debian", "stable", ("main",))
ENVIRONMENT = Environment("deb", "stable", "debian-archive", (MAIN,), ())
STEPS = (
    Step("depends", (("apt-get", "update"),), User.ROOT, Network.MIRROR, prepares=True),
    Step("compile", (("dpkg-buildpackage",),)),
)
ORDER = Order(
    job=JOB,
    attempt=3,
    host=Arch.AMD64,
    environment=ENVIRONMENT,
    inputs=(Input("a_1.dsc", hashlib.sha256(SOURCE).hexdigest(), len(SOURCE)),),
    steps=STEPS,
    collect=("*.deb", "autopkgtest/summary"),
    limits=LIMITS,
    lease_seconds=60,
)


def order(**changes: object) -> Order:
    """The usual order, with changes."""
    return dataclasses.replace(ORDER, **changes)  # type: ignore[arg-type]  # a test names the fields it changes


class MemoryFarm:
    """Farm, in memory. `fenced` makes it answer that the attempt belongs to somebody else."""

    def __init__(self, given: Order = ORDER) -> None:
        self.given = given
        self.blobs = {hashlib.sha256(SOURCE).hexdigest(): SOURCE}
        self.written = b""
        self.reports: list[Report] = []
        self.offers: list[Offer] = []
        self.fenced = False
        self.cancel = False
        self.log_fails = False
        self.claims = 0
        self.inputs: list[Input] = []
        self.fetched: list[str] = []

    def _fence(self) -> None:
        if self.fenced:
            raise Fenced("somebody else's")

    def sign_on(self, offer: Offer) -> None:
        self.offers.append(offer)

    def claim(self) -> Order:
        """The one order there is, once."""
        self._fence()
        if self.claims:
            raise Fenced("nothing to do")
        self.claims += 1
        return self.given

    def renew(self, job: JobKey, attempt: int) -> Heartbeat:
        self._fence()
        return Heartbeat(self.cancel, self.given.lease_seconds)

    def log(self, job: JobKey, attempt: int, offset: int, data: bytes) -> int:
        self._fence()
        if self.log_fails:
            raise OSError("no route to the coordinator")
        assert offset <= len(self.written)
        self.written += data[len(self.written) - offset :]
        return len(self.written)

    def report(self, report: Report) -> None:
        self._fence()
        self.reports.append(report)

    def fetch(self, wanted: Input, into: Path) -> None:
        self.fetched.append(wanted.name)
        into.write_bytes(self.blobs[wanted.sha256])

    def bring(self, job: JobKey, attempt: int, artifact: Artifact, path: Path) -> None:
        assert (job, attempt) == (self.given.job, self.given.attempt)
        self.blobs[artifact.sha256] = path.read_bytes()


class Bench:
    """A worker on a memory farm and a fake engine."""

    def __init__(self, home: Path, given: Order = ORDER, **plays: Play) -> None:
        self.farm = MemoryFarm(given)
        self.sandbox = FakeSandbox(plays)
        self.images = FakeImages(Base("sha256:base", ("security amd64: mid-sync",)))
        self.layers = FakeLayers()
        self.ending = End.NOT_YET
        self.home = home
        self.tools = tools(self.farm, self.sandbox, self.images, self.layers)
        self.worker = worker(home, self.farm, lambda: self.tools, lambda: self.ending)

    def work(self) -> Report:
        """Answer one ring; the report that came of it."""
        self.worker.work()
        return self.farm.reports[-1]

    def adopt(self) -> Report:
        """Another process of the worker goes on with what there is; the report that came of it."""
        self.ending = End.NOT_YET
        [orphan] = held.orphans(self.home)
        self.worker.adopt(orphan)
        return self.farm.reports[-1]

    @property
    def log(self) -> str:
        """What the coordinator has of the log."""
        return self.farm.written.decode()


def worker(home: Path, farm: MemoryFarm, with_tools: Callable[[], Tools], ending: Callable[[], End]) -> Worker:
    """A worker called `w1`."""
    tiers = {Arch.AMD64: Tier.NATIVE, Arch.ARM64: Tier.EMULATED}
    config = WorkerConfig("", "", "w1", home / "token", "testfarm", home, 1, tiers, "host", 2, 8 << 30, 1 << 30, home)
    return Worker(config, farm, with_tools, ending)


def tools(farm: MemoryFarm, sandbox: Sandbox, images: Images, layers: Layers) -> Tools:
    """What an attempt works with."""
    return Tools(farm, sandbox, images, layers, "testfarm", "w1")
