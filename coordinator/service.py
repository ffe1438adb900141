# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be asked of the farm, one method per request; web and simulator call these and nothing deeper.

Decisions are the stages'; changes are the engine's. This module fetches what they need and puts it where they look.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from coordinator.engine import Engine
from coordinator.errors import Blame, Fenced, NotAllowed, SignerRefused
from coordinator.model import ENDED, File, SigningRequest, Update, UpdateState, Urgency, Worker
from coordinator.pipeline import (
    Approved,
    Cancelled,
    Event,
    JobClaimed,
    JobEnded,
    JobLost,
    Refused,
    Retried,
    Signed,
    Withdrawn,
    begin,
)
from coordinator.ports import Blobs, Clock, Logs, Store, Verifier
from coordinator.reception import Reception
from coordinator.recipe import Recipe, Recipes
from coordinator.stages import approve, build, sign, test
from coordinator.work import Judgement, Site
from workers.wire.arch import Tier
from workers.wire.order import Index, JobKey, JobKind, Order
from workers.wire.report import Heartbeat, Offer, Report


class Wake(Protocol):
    """Lets the engine look at the outbox now rather than in a second."""

    def poke(self) -> None:
        """May be lost."""


class People(Protocol):
    """Who may approve."""

    def fingerprints(self) -> dict[str, frozenset[str]]:
        """Name → primary fingerprints, as of now: a removed person is gone at once."""

    def keyring(self) -> Path:
        """A folder of their certificates."""


@dataclass(frozen=True)
class Parts:
    """What a coordinator is made of; app.py puts the real ones together, tests/farm.py the fakes."""

    store: Store
    blobs: Blobs
    logs: Logs
    clock: Clock
    engine: Engine
    recipes: Recipes
    reception: Reception
    verifier: Verifier
    people: People
    wake: Wake
    indices: Callable[[Recipe], tuple[Index, ...]]
    lease_seconds: int


class Coordinator:
    """The farm as its users, workers and signer see it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.store = parts.store
        self.blobs = parts.blobs
        self.logs = parts.logs
        self.recipes = parts.recipes
        self._engine = parts.engine
        self._clock = parts.clock

    def submit(self, submitter: str, suite: str, files: Sequence[File], urgency: Urgency | None) -> Update:
        """Take a signed source package whose files are already in the blobs."""
        return self._begin(self._parts.reception.uploaded(submitter, suite, files, urgency))

    def submit_from_archive(self, submitter: str, suite: str, source: str, version: str | None) -> Update:
        """Take a source package from the archive the recipe names, vouched for by its signed Release."""
        return self._begin(self._parts.reception.from_archive(submitter, suite, source, version))

    def approve(self, update: int, clearsigned: bytes) -> Update:
        """Take a person's signature over the digest set."""
        people = self._parts.people
        signature = self._parts.verifier.clearsigned(clearsigned, [people.keyring()])
        text = clearsigned.decode(errors="replace")

        def approved(before: Update) -> Event:
            now = self._clock.now()
            return Approved(now, approve.approval(before, signature, text, people.fingerprints(), now))

        return self._handle(update, approved)

    def retry(self, update: int, by: str) -> Update:
        """Do again what failed. Raises NotNewer where another update has taken its place meanwhile."""

        def retried(before: Update) -> Event:
            self._parts.reception.refuse_beside_newer(before)
            return Retried(self._clock.now(), by)

        return self._handle(update, retried)

    def cancel(self, update: int, by: str) -> Update:
        """Stop the work; it may be retried."""
        return self._handle(update, lambda _: Cancelled(self._clock.now(), by))

    def withdraw(self, update: int, by: str, why: str) -> Update:
        """Take it back, for good."""
        return self._handle(update, lambda _: Withdrawn(self._clock.now(), by, why))

    def claim(self, job: JobKey, attempt: int, worker: str, tier: Tier) -> Order:
        """Give the attempt to the first worker that asks; every other gets Fenced."""
        update = self.store.load(job.update)
        order = self._order(update, job)
        if order.attempt != attempt:
            raise Fenced(f"{job} attempt {attempt} does not count: the job is at attempt {order.attempt}")
        self._trusted(worker)

        def claimed(_: Update) -> Event:
            now = self._clock.now()
            until = now + timedelta(seconds=self._parts.lease_seconds)
            return JobClaimed(now, job.kind, job.arch, attempt, worker, tier, until)

        self._handle(job.update, claimed)
        return order

    def renew(self, job: JobKey, attempt: int, worker: str) -> Heartbeat:
        """Prolong the lease; the answer says whether to stop."""
        until = self._clock.now() + timedelta(seconds=self._parts.lease_seconds)
        cancel = self.store.renew(job, attempt, worker, until)
        return Heartbeat(cancel=cancel, lease_seconds=self._parts.lease_seconds)

    def report(self, worker: str, report: Report) -> None:
        """Take an attempt's answer, judged by its stage. Refuses one whose artifacts are not here by their digest."""
        for artifact in report.artifacts:
            self.blobs.path(artifact.sha256)
        judgement = self._judge(report)

        def ended(before: Update) -> Event:
            job = before.job(report.job.kind, report.job.arch)
            if job is None or job.worker != worker:
                raise Fenced(f"{report.job} attempt {report.attempt} is not {worker}'s")
            return self._ended(report, judgement)

        self._handle(report.job.update, ended)

    def signing_requests(self) -> list[SigningRequest]:
        """What waits for the signer."""
        waiting = self.store.updates([UpdateState.SIGNING])
        return [SigningRequest(update, self._engine.recipe_of(update).sign.key) for update in waiting]

    def signed(self, update: int, files: Sequence[File]) -> Update:
        """Take what the signer made; where that is not what was approved, the update has failed."""
        for file in files:
            self.blobs.path(file.sha256)

        def done(before: Update) -> Event:
            try:
                return Signed(self._clock.now(), sign.check_signed(before, files))
            except SignerRefused as lie:
                return Refused(self._clock.now(), lie.message, lie.blame)

        return self._handle(update, done)

    def refused(self, update: int, reason: str) -> Update:
        """The signer will not sign this."""
        return self._handle(update, lambda _: Refused(self._clock.now(), f"the signer refused: {reason}", Blame.FARM))

    def sign_on(self, offer: Offer) -> None:
        """A worker gives a sign of life."""
        self.store.seen(Worker(offer.worker, offer.tiers, offer.slots, self._clock.now()))
        self._parts.wake.poke()

    def _begin(self, update: Update) -> Update:
        first, instructions = begin(update)
        added = self.store.add(first, "SourceAccepted", f"{update.source.name} {update.source.version}", instructions)
        self._parts.wake.poke()
        return added

    def _handle(self, update: int, happened: Callable[[Update], Event]) -> Update:
        after = self._engine.handle(update, happened)
        self._parts.wake.poke()
        return after

    def _trusted(self, worker: str) -> None:
        if all(known.name != worker for known in self.store.workers()):
            raise NotAllowed(
                f"the worker {worker} has not signed on", "Restart the worker; it signs on when it starts."
            )

    def _order(self, update: Update, job: JobKey) -> Order:
        planned = update.job(job.kind, job.arch)
        if planned is None or update.state in ENDED:
            raise Fenced(f"{job} is not to be done: the update is {update.state}")
        recipe = self._engine.recipe_of(update)
        site = Site(self._parts.indices(recipe), self._parts.lease_seconds)
        if job.kind == JobKind.BUILD:
            return build.order(update, planned, recipe, site)
        return test.order(update, planned, recipe, site)

    def _judge(self, report: Report) -> Judgement:
        if report.job.kind == JobKind.BUILD:
            return build.judge(report)
        summary = next((artifact for artifact in report.artifacts if artifact.name == test.SUMMARY), None)
        text = self.blobs.path(summary.sha256).read_text(errors="replace") if summary else None
        return test.judge(report, text)

    def _ended(self, report: Report, judgement: Judgement) -> Event:
        now = self._clock.now()
        job = report.job
        if judgement.state is None:
            return JobLost(now, job.kind, job.arch, report.attempt, judgement.reason)
        state, reason, tests = judgement.state, judgement.reason, judgement.tests
        return JobEnded(now, job.kind, job.arch, report.attempt, state, reason, report, tests)
