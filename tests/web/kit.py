# SPDX-License-Identifier: GPL-3.0-or-later
"""A farm that remembers what it was asked, behind the real web application."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, cast

from fastapi.testclient import TestClient

from coordinator.duty import Duty, Held, Presence
from coordinator.errors import BadRequest, BadSource, UnknownName
from coordinator.model import (
    Clearance,
    File,
    HistoryEntry,
    Job,
    JobState,
    Origin,
    Role,
    SigningRequest,
    Source,
    Update,
    UpdateState,
    Urgency,
    Waiting,
    Worker,
    sha256_of,
)
from coordinator.recipe import Recipes
from coordinator.service import Coordinator
from coordinator.store.chain import begin_entry
from coordinator.web import create_app
from workers.wire.arch import Arch, Tier
from workers.wire.order import Environment, JobKey, JobKind, Limits, Order
from workers.wire.report import Artifact, Heartbeat, Offer, Outcome, Report, StepTiming

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
TOKENS = {"p-token": ("paula", Role.PERSON), "w-token": ("w1", Role.WORKER), "s-token": ("signer", Role.SIGNER)}
RECIPES = Path(__file__).parents[2] / "recipes"
KEY = JobKey(1, JobKind.BUILD, Arch.AMD64)
WORKER = Worker(
    name="w1",
    tiers={Arch.AMD64: Tier.NATIVE},
    slots=2,
    last_seen_at=NOW - timedelta(seconds=5),
    host="host",
    cores=2,
    memory_bytes=8 << 30,
    trust_domain="w1",
    clearance=Clearance.EMBARGOED,
    draining=False,
)
LIMITS = Limits(3600, 2, 1 << 30, 100, 1 << 30, 1 << 20, 1 << 30, 100)


def file(name: str, data: bytes = b"") -> File:
    return File(name, sha256_of(data), len(data))


def report(key: JobKey = KEY, **changed: Any) -> Report:
    """What a worker says of a build that made one package."""
    step = StepTiming("compile", 0, 1.0, 0.1)
    artifact = Artifact("hello_1.1_amd64.deb", sha256_of(b"deb"), 3)
    said = Report(key, 1, Outcome.FINISHED, "", (step,), (artifact,), "0" * 64, "image", Tier.NATIVE, "w1")
    return replace(said, **changed)


def job(kind: JobKind = JobKind.BUILD, state: JobState = JobState.QUEUED, **changed: Any) -> Job:
    return replace(Job(kind, Arch.AMD64, state, attempt=1, queued_at=NOW), **changed)


def update(state: UpdateState = UpdateState.BUILDING, jobs: Sequence[Job] = (), **changed: Any) -> Update:
    """An update of a package called hello."""
    source = Source(
        "hello", "1.1", ("any",), False, True, True, Origin.UPLOAD, "f" * 40, (file("hello_1.1.dsc", b"dsc"),)
    )
    made = Update(
        id=1,
        revision=1,
        state=state,
        source=source,
        suite="bookworm-security",
        recipe="debian/bookworm-security",
        recipe_sha256="0" * 64,
        urgency=Urgency.HIGH,
        submitter="sam",
        approvals_needed=2,
        created_at=NOW,
        changed_at=NOW,
        jobs=tuple(jobs),
    )
    return replace(made, **changed)


class FakeStore:
    """What the web layer reads."""

    def __init__(self, known: Update) -> None:
        self.known = known
        self.past = [begin_entry(update(UpdateState.RECEIVED), "SourceAccepted", "hello 1.1")]
        self.open: list[Waiting] = []
        self.listed: tuple[Sequence[UpdateState], int] = ((), 0)
        self.decided: list[tuple[object, ...]] = []

    def load(self, number: int) -> Update:
        if number != self.known.id:
            raise UnknownName(f"there is no update {number}")
        return self.known

    def updates(self, states: Sequence[UpdateState] = (), limit: int = 100) -> list[Update]:
        self.listed = states, limit
        return [self.known]

    def history(self, number: int) -> list[HistoryEntry]:
        return self.past

    def waiting(self, number: int) -> list[Waiting]:
        return self.open

    def workers(self) -> list[Worker]:
        return [WORKER]

    def grant(self, name: str, role: Role, token_sha256: str) -> None:
        self.decided.append(("grant", name, role, token_sha256))

    def admit(self, name: str, trust_domain: str | None, clearance: Clearance | None) -> None:
        self.decided.append(("admit", name, trust_domain, clearance))

    def drain(self, name: str, draining: bool) -> None:
        if name != WORKER.name:
            raise UnknownName(f"there is no worker {name}")
        self.decided.append(("drain", name, draining))

    def bearer(self, token_sha256: str) -> tuple[str, Role] | None:
        return {sha256_of(token): who for token, who in TOKENS.items()}.get(token_sha256)


class FakeBlobs:
    """Files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.longest_read = 0

    def put(self, sha256: str, size: int, stream: BinaryIO) -> None:
        digest, count = hashlib.sha256(), 0
        with (self.folder / sha256).open("wb") as kept:
            while piece := stream.read(1 << 16):
                self.longest_read = max(self.longest_read, len(piece))
                count += len(piece)
                digest.update(piece)
                kept.write(piece)
        if (digest.hexdigest(), count) != (sha256, size):
            (self.folder / sha256).unlink()
            raise BadSource("those are other bytes")

    def add(self, data: bytes) -> str:
        (self.folder / sha256_of(data)).write_bytes(data)
        return sha256_of(data)

    def path(self, sha256: str) -> Path:
        if not (self.folder / sha256).exists():
            raise UnknownName(f"there is no blob {sha256}")
        return self.folder / sha256


class FakeLogs:
    """One log for every attempt."""

    def __init__(self) -> None:
        self.data = b""

    def append(self, key: JobKey, attempt: int, offset: int, data: bytes) -> int:
        if offset > len(self.data):
            raise BadRequest("a gap")
        self.data = self.data[:offset] + data
        return len(self.data)

    def size(self, key: JobKey, attempt: int) -> int:
        return len(self.data)

    def read(self, key: JobKey, attempt: int, offset: int, count: int) -> bytes:
        return self.data[offset : offset + count]


class FakeFarm:
    """Coordinator as the web layer uses it; `asked` is what it was asked, `error` what it answers everything with."""

    def __init__(self, folder: Path) -> None:
        self.store = FakeStore(update(jobs=[job()]))
        self.blobs = FakeBlobs(folder)
        self.logs = FakeLogs()
        self.recipes = Recipes(RECIPES)
        self.asked: list[tuple[Any, ...]] = []
        self.brought: list[tuple[Any, ...]] = []
        self.error: Exception | None = None
        self.on_duty = [Duty(WORKER, Presence.UP, (Held("w1", KEY, 1, NOW),))]

    def __getattr__(self, name: str) -> Any:
        def ask(*arguments: Any) -> Any:
            self.asked.append((name, *arguments))
            if self.error is not None:
                raise self.error
            return self.answers().get(name, self.store.known)

        return ask

    def bring(self, worker: str, key: JobKey, attempt: int, sha256: str, size: int, stream: BinaryIO) -> None:
        if self.error is not None:
            raise self.error
        self.brought.append((worker, key, attempt, sha256, stream.read(size)))

    def add_to_log(self, worker: str, key: JobKey, attempt: int, offset: int, data: bytes) -> int:
        if self.error is not None:
            raise self.error
        self.asked.append(("add_to_log", worker, key, attempt))
        return self.logs.append(key, attempt, offset, data)

    def answers(self) -> dict[str, Any]:
        environment = Environment("deb", "bookworm-security", "debian-archive", (), ())
        return {
            "claim": Order(KEY, 1, Arch.AMD64, environment, (), (), (), LIMITS, 60),
            "renew": Heartbeat(False, 60),
            "signing_requests": [SigningRequest(self.store.known, "archive")],
            "report": None,
            "sign_on": None,
            "duties": self.on_duty,
            "dismiss": None,
            "file_for": self.blobs.folder / sha256_of(b"mine"),
        }


def web(farm: FakeFarm, token: str | None = None, repository: Path | None = None) -> TestClient:
    """A client of the application, with somebody's token."""
    app = create_app(cast(Coordinator, farm), repository)
    headers = {"Authorization": f"Bearer {token}"} if token else None
    return TestClient(app, headers=headers, raise_server_exceptions=False)


def offer(name: str = "w1") -> Offer:
    return Offer(name, {Arch.AMD64: Tier.NATIVE}, 2, "host", 2, 8 << 30)
