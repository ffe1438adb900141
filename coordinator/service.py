# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be asked of the farm, one method per request; web and simulator call these and nothing deeper.

Decisions are the stages'; changes are the engine's. This module fetches what they need and puts it where they look.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Protocol

from coordinator.dsc import MAX_BYTES
from coordinator.engine import Engine
from coordinator.errors import BadRequest, Blame, Fenced, NotAllowed, PatchfarmError, SignerRefused
from coordinator.model import ENDED, File, JobState, SigningRequest, Source, Update, UpdateState, Urgency, Worker
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
from coordinator.stages import approve, build, intake, sign, test
from coordinator.work import Judgement, Site, unfit
from workers.wire.arch import Arch, Tier
from workers.wire.order import Index, JobKey, JobKind, Order
from workers.wire.report import Artifact, Heartbeat, Offer, Outcome, Report

_LOG = logging.getLogger(__name__)


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
            now, known = self._clock.now(), people.fingerprints()
            return Approved(now, approve.approval(before, signature, text, known, now), approve.void(before, known))

        return self._handle(update, approved)

    def retry(self, update: int, by: str) -> Update:
        """Do again what failed. Raises NotNewer where another update has taken its place meanwhile."""

        def retried(before: Update) -> Event:
            if before.state == UpdateState.FAILED:
                self._parts.reception.refuse_comeback(before, self._engine.recipe_of(before))
            return Retried(self._clock.now(), by, approve.void(before, self._parts.people.fingerprints()))

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
        self._check_offer(worker, order.host, tier)

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
        """Take an attempt's answer, judged by its stage. Refuses one whose artifacts are not here as it says.

        Nothing is read for a worker that does not hold the attempt.
        """
        update = self.store.load(report.job.update)
        _check_holds(update, worker, report)
        for artifact in report.artifacts:
            self._check_is_here(artifact)
        ended = self._ended(report, update.source)

        def heard(before: Update) -> Event:
            _check_holds(before, worker, report)
            return ended

        self._handle(report.job.update, heard)

    def signing_requests(self) -> list[SigningRequest]:
        """What waits for the signer, oldest first; one whose recipe cannot be read keeps no other from it."""
        requests = []
        for update in reversed(self.store.updates([UpdateState.SIGNING], limit=1000)):
            try:
                requests.append(SigningRequest(update, self._engine.recipe_of(update).sign.key))
            except (PatchfarmError, OSError, ValueError) as error:
                _LOG.warning("action=signing-request-skipped update=%s: %s", update.id, error)
        return requests

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
        what = f"{update.source.name} {update.source.version}"
        added = self.store.add(first, "SourceAccepted", what, instructions, partial(intake.refuse_beside, first))
        self._parts.wake.poke()
        return added

    def _handle(self, update: int, happened: Callable[[Update], Event]) -> Update:
        after = self._engine.handle(update, happened)
        self._parts.wake.poke()
        return after

    def _check_offer(self, worker: str, host: Arch, tier: Tier) -> None:
        """What the worker said when it last signed on is what it is believed."""
        known = next((known for known in self.store.workers() if known.name == worker), None)
        if known is None:
            raise NotAllowed(
                f"the worker {worker} has not signed on", "Restart the worker; it signs on when it starts."
            )
        if known.tiers.get(host) != tier:
            offered = known.tiers.get(host, "nothing")
            raise NotAllowed(
                f"the worker {worker} offers {offered} for {host}, not {tier}",
                "Restart the worker with the architectures that it is to run.",
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

    def _check_is_here(self, artifact: Artifact) -> None:
        size = self.blobs.path(artifact.sha256).stat().st_size
        if size != artifact.size:
            raise BadRequest(f"{artifact.name[:80]!r} has {size} bytes, {artifact.size} were reported")

    def _ended(self, report: Report, source: Source) -> Event:
        now, job = self._clock.now(), report.job
        judgement = self._judge(report, source)
        if judgement.state is None:
            return JobLost(now, job.kind, job.arch, report.attempt, judgement.reason)
        state, reason, tests = judgement.state, judgement.reason, judgement.tests
        # Whoever fetches an artifact makes a path of its name.
        kept = replace(report, artifacts=()) if unfit(report) else report
        return JobEnded(now, job.kind, job.arch, report.attempt, state, reason, kept, tests)

    def _judge(self, report: Report, source: Source) -> Judgement:
        why = unfit(report)
        if why and report.outcome == Outcome.FINISHED:
            return Judgement(JobState.FAILED, why)
        if report.job.kind == JobKind.BUILD:
            texts = {paper.name: self._beginning(paper, MAX_BYTES + 1) for paper in build.papers(report)}
            return build.judge(report, source, texts)
        summary = next((artifact for artifact in report.artifacts if artifact.name == test.SUMMARY), None)
        text = self._beginning(summary, test.MOST_BYTES).decode(errors="replace") if summary else None
        return test.judge(report, text)

    def _beginning(self, artifact: Artifact, most: int) -> bytes:
        with self.blobs.path(artifact.sha256).open("rb") as stream:
            return stream.read(most)


def _check_holds(update: Update, worker: str, report: Report) -> None:
    """Raises Fenced where the attempt that is reported is not the one that the worker has."""
    job = update.job(report.job.kind, report.job.arch)
    if job is None or (job.state, job.worker, job.attempt) != (JobState.LEASED, worker, report.attempt):
        raise Fenced(f"{report.job} attempt {report.attempt} is not {worker}'s")
