# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers of a farm in memory: the real one, on a fake engine, which speaks to the coordinator without HTTP."""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import requests

from coordinator.dsc import without_epoch
from coordinator.errors import PatchfarmError
from coordinator.model import Update
from coordinator.service import Coordinator
from tests.fakes.world import Ringing
from workers.attempt import Tools
from workers.config import WorkerConfig
from workers.ending import End
from workers.errors import Fenced, Refused
from workers.images import Base
from workers.sandbox import Ended
from workers.sandbox.fake import FakeImages, FakeLayers, FakeSandbox, Play
from workers.wire.arch import Arch, Tier
from workers.wire.codec import decode, encode
from workers.wire.order import Input, JobKey, JobKind, Order
from workers.wire.report import Artifact, Heartbeat, Offer, Report, Usage
from workers.worker import Worker

#: What the containers of a job do, by the name of the step.
Script = Mapping[str, Play]


class Wire:
    """The port workers.transfer.Farm for one worker, in the process: the same words and noes as over HTTP."""

    def __init__(self, farm: Coordinator, worker: str) -> None:
        self._farm = farm
        self._worker = worker
        self._claims = count()
        #: Told of every order that this worker gets.
        self.given: Callable[[Order], object] = lambda order: None

    def sign_on(self, offer: Offer) -> None:
        with _answers():
            self._farm.sign_on(decode(Offer, encode(offer)))

    def claim(self) -> Order:
        with _answers():
            order = decode(Order, encode(self._farm.claim(self._worker, f"{next(self._claims):016x}")))
        self.given(order)
        return order

    def renew(self, job: JobKey, attempt: int) -> Heartbeat:
        with _answers():
            return self._farm.renew(job, attempt, self._worker)

    def log(self, job: JobKey, attempt: int, offset: int, data: bytes) -> int:
        with _answers():
            return self._farm.add_to_log(self._worker, job, attempt, offset, data)

    def report(self, report: Report) -> None:
        with _answers():
            self._farm.report(self._worker, decode(Report, encode(report)))

    def fetch(self, wanted: Input, into: Path) -> None:
        with _answers():
            shutil.copyfile(self._farm.blobs.path(wanted.sha256), into)

    def bring(self, job: JobKey, attempt: int, artifact: Artifact, path: Path) -> None:
        with _answers(), path.open("rb") as stream:
            self._farm.bring(self._worker, job, attempt, artifact.sha256, artifact.size, stream)


@contextmanager
def _answers() -> Iterator[None]:
    """The coordinator's errors as a worker gets to see them, by their HTTP status."""
    try:
        yield
    except PatchfarmError as error:
        if error.status == requests.codes.conflict:
            raise Fenced(error.message) from error
        if error.status < requests.codes.server_error:
            raise Refused(error.message) from error
        raise requests.HTTPError(error.message) from error


class Workbench(FakeSandbox):
    """A FakeSandbox on which something may happen elsewhere `meanwhile`, once, before the first step ends."""

    def __init__(self) -> None:
        super().__init__({})
        self.meanwhile: Callable[[], object] | None = None

    def run(self, container: str, sink: Callable[[bytes], None], stop: Callable[[Usage], bool]) -> Ended:
        happens, self.meanwhile = self.meanwhile, None
        if happens is not None:
            happens()
        return super().run(container, sink, stop)


class Host:
    """A worker on a machine of its own. `up` is whether it hears and is heard of; `dies` at its next claim.

    `ending` is what it was told, as by a signal.
    """

    def __init__(
        self, farm: Coordinator, name: str, archs: tuple[Arch, ...], home: Path, script: Callable[[JobKey], Script]
    ) -> None:
        home.mkdir(parents=True)
        self.name = name
        self.up = True
        self.dies = False
        self.ending = End.NOT_YET
        self.bench = Workbench()
        self.wire = Wire(farm, name)
        self.wire.given = self._rehearse
        self._script = script
        tiers = dict.fromkeys(archs, Tier.NATIVE)
        self._config = WorkerConfig(
            "", "", name, home / "token", "farm", home, 1, tiers, name, 4, 16 << 30, 1 << 30, home
        )
        self.images = FakeImages(Base("sha256:base"))
        tools = Tools(self.wire, self.bench, self.images, FakeLayers(), "farm", name)
        self._worker = Worker(self._config, self.wire, lambda: tools, lambda: self.ending)

    def sign_on(self) -> None:
        self.wire.sign_on(self._config.offer)

    def hears(self, message: Ringing) -> bool:
        """Whether the message is for this worker, as far as Celery's queues tell."""
        return self.up and message.worker == self.name

    def answer(self) -> None:
        """See through what there is to do, or die of it."""
        if self.dies:
            with suppress(Fenced):
                self.wire.claim()
                self.up = False
            return
        self._worker.work()

    def _rehearse(self, order: Order) -> None:
        self.bench.plays = self._script(order.job)


def ordinary(update: Update, job: JobKey, salt: str) -> Play:
    """What the last step of a job does when all is well: a build's files, or autopkgtest's summary."""
    if job.kind == JobKind.TEST:
        return Play(b"autopkgtest\n", makes={"autopkgtest/summary": b"greets               PASS\n"})
    source, version = update.source.name, without_epoch(update.source.version)
    package = f"{source}-data" if job.arch == Arch.ALL else source
    facts = f"Source: {source}\nVersion: {update.source.version}\nArchitecture: {job.arch}\n"
    deb = {f"{package}_{version}_{job.arch}.deb": facts.encode() + salt.encode()}
    sections = listing(deb).replace("Files:", "Checksums-Md5:")
    info = {f"{source}_{version}_{job.arch}.buildinfo": f"Format: 1.0\n{facts}{sections}".encode()}
    asked = f"Distribution: {update.suite}\nUrgency: high\n"
    changes = f"Format: 1.8\n{facts}{asked}{listing({**info, **deb}, ' misc optional')}"
    made = {**deb, **info, f"{source}_{version}_{job.arch}.changes": changes.encode()}
    return Play(b"dpkg-buildpackage\n", makes=made)


def listing(files: Mapping[str, bytes], more: str = "") -> str:
    """The three sections of a .changes that name files; `more` stands between size and name in Files."""
    kinds = {"Checksums-Sha1": "sha1", "Checksums-Sha256": "sha256", "Files": "md5"}
    text = ""
    for section, kind in kinds.items():
        between = more if kind == "md5" else ""
        rows = (
            f" {hashlib.new(kind, data, usedforsecurity=False).hexdigest()} {len(data)}{between} {name}\n"
            for name, data in files.items()
        )
        text += f"{section}:\n{''.join(rows)}"
    return text
