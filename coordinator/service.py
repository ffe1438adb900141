# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be asked of the farm, one method per request; web and simulator call these and nothing deeper.

Decisions are the stages'; changes are the engine's. This module fetches what they need and puts it where they look.
"""

import logging
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol

from coordinator.claims import Claims
from coordinator.dsc import MAX_BYTES
from coordinator.duty import Duty, Held, duty
from coordinator.engine import Engine
from coordinator.engine.collector import references
from coordinator.errors import (
    BadRequest,
    Blame,
    Fenced,
    IllegalMove,
    NotAllowed,
    PatchfarmError,
    SignerRefused,
    UnknownName,
)
from coordinator.model import File, JobState, SigningRequest, Source, Update, UpdateState, Urgency
from coordinator.pipeline import (
    Approved,
    Cancelled,
    Event,
    JobEnded,
    JobGivenBack,
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
from coordinator.work import Judgement, unfit
from workers.wire.order import Index, JobKey, JobKind, Limits, Order
from workers.wire.report import Artifact, Heartbeat, Offer, Outcome, Report

_LOG = logging.getLogger(__name__)

#: More than any honest reason has.
_LONGEST_REASON = 2000
#: What a worker may say in a log beside what the package prints, in bytes: each file that is not collected is a line.
_FARMS_OWN_LINES = 64 << 20


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
        self._claims = Claims(parts.store, parts.engine, parts.clock, parts.indices, parts.lease_seconds)

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

    def claim(self, worker: str, claim: str) -> Order:
        """Give the worker the job that it should begin now; see Claims."""
        return self._claims.claim(worker, claim)

    def renew(self, job: JobKey, attempt: int, worker: str) -> Heartbeat:
        """Prolong the lease; the answer says whether to stop."""
        until = self._clock.now() + timedelta(seconds=self._parts.lease_seconds)
        cancel = self.store.renew(job, attempt, worker, until)
        return Heartbeat(cancel=cancel, lease_seconds=self._parts.lease_seconds)

    def bring(self, worker: str, job: JobKey, attempt: int, sha256: str, size: int, stream: BinaryIO) -> None:
        """Take a file that an attempt made. Raises as Blobs.put; at once Fenced, or BadRequest where it is too much."""
        limits = self._limits(worker, job, attempt)
        files = self.store.brought(job, attempt) | {sha256: size}
        if len(files) > limits.output_files or sum(files.values()) > limits.output_bytes:
            raise BadRequest(f"the files of {job} attempt {attempt} are more than its recipe allows")
        self.blobs.put(sha256, size, stream)
        self.store.arrived(job, attempt, sha256, size)

    def add_to_log(self, worker: str, job: JobKey, attempt: int, offset: int, data: bytes) -> int:
        """As Logs.append, for who has the attempt. Raises Fenced; BadRequest where it is too much."""
        if offset + len(data) > self._limits(worker, job, attempt).log_bytes + _FARMS_OWN_LINES:
            raise BadRequest(f"the log of {job} attempt {attempt} is longer than its recipe allows")
        return self.logs.append(job, attempt, offset, data)

    def _limits(self, worker: str, job: JobKey, attempt: int) -> Limits:
        """What an attempt may use that the worker has. Raises Fenced."""
        update = self.store.load(job.update)
        _check_holds(update, worker, job, attempt)
        return self._engine.recipe_of(update).limits.limits()

    def report(self, worker: str, report: Report) -> None:
        """Take an attempt's answer, judged by its stage. Refuses one whose artifacts it has not brought as it says.

        Nothing is read for a worker that does not hold the attempt. Who says what is not so loses it.
        """
        update = self.store.load(report.job.update)
        try:
            _check_holds(update, worker, report.job, report.attempt)
        except Fenced as late:
            _LOG.warning("action=report-refused worker=%s: %s", worker, late.message)
            raise
        brought = self.store.brought(report.job, report.attempt)
        lie = next(filter(None, (self._not_here(artifact, brought) for artifact in report.artifacts)), "")
        ended = _lied(self._clock.now(), worker, report, lie) if lie else self._ended(report, update.source)

        def heard(before: Update) -> Event:
            _check_holds(before, worker, report.job, report.attempt)
            return ended

        self._handle(report.job.update, heard)
        if lie:
            raise BadRequest(lie)

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
            self.blobs.keep(file.sha256)

        def done(before: Update) -> Event:
            try:
                return Signed(self._clock.now(), sign.check_signed(before, files))
            except SignerRefused as lie:
                return Refused(self._clock.now(), lie.message, lie.blame)

        return self._handle(update, done)

    def refused(self, update: int, reason: str) -> Update:
        """The signer will not sign this."""
        return self._handle(update, lambda _: Refused(self._clock.now(), f"the signer refused: {reason}", Blame.FARM))

    def file_for(self, worker: str, sha256: str) -> Path:
        """Where to read a file of an update that the worker has an attempt of. Raises NotAllowed for every other."""
        mine = {held.job.update for held in self._held_by(worker)}
        if not any(sha256 in references(self.store.load(update)) for update in mine):
            raise NotAllowed(f"{sha256} belongs to nothing that {worker} has")
        return self.blobs.path(sha256)

    def sign_on(self, offer: Offer) -> None:
        """A worker gives a sign of life."""
        self.store.seen(offer, self._clock.now())
        self._parts.wake.poke()

    def duties(self) -> list[Duty]:
        """Every worker as it is now, by name, in as many queries for a hundred as for one."""
        held, now = self.store.held(), self._clock.now()
        return [duty(worker, held, now) for worker in self.store.workers()]

    def dismiss(self, worker: str, force: bool) -> None:
        """Forget a worker; it cannot sign on again. One at work only by `force`, which gives what it has to others."""
        held = self._held_by(worker)
        if held and not force:
            raise IllegalMove(
                f"{worker} has {len(held)} attempts, {held[0].job} among them",
                "`patchfarm worker drain NAME --wait` lets it finish; `--force` gives what it has to others.",
            )
        self.store.dismiss(worker)
        # Once more: it may have claimed something until a moment ago.
        for each in self._held_by(worker):
            self._take_back(each, f"the worker {worker} was removed")

    def _held_by(self, worker: str) -> list[Held]:
        return [each for each in self.store.held() if each.worker == worker]

    def _take_back(self, held: Held, why: str) -> None:
        """Give an attempt to others, unless it ended meanwhile: nobody's fault."""
        key = held.job

        def taken(before: Update) -> Event:
            _check_holds(before, held.worker, key, held.attempt)
            return JobGivenBack(self._clock.now(), key.kind, key.arch, held.attempt, why)

        with suppress(Fenced, IllegalMove):
            self._handle(key.update, taken)

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

    def _not_here(self, artifact: Artifact, brought: Container[str]) -> str:
        """How it is not here as it was reported; empty where it is.

        What others have brought nobody reports: whoever knows a digest could read the file in a test of its own.
        """
        if artifact.sha256 not in brought:
            return f"{artifact.name[:80]!r} was not brought by this attempt"
        try:
            size = self.blobs.keep(artifact.sha256).stat().st_size
        except UnknownName as error:
            return f"{artifact.name[:80]!r} did not arrive: {error.message}"
        return (
            "" if size == artifact.size else f"{artifact.name[:80]!r} has {size} bytes, {artifact.size} were reported"
        )

    def _ended(self, report: Report, source: Source) -> Event:
        now, job = self._clock.now(), report.job
        # What is the worker's own word stands in lists.
        report = replace(report, reason=report.reason[:_LONGEST_REASON])
        judgement = self._judge(report, source)
        reason = judgement.reason[:_LONGEST_REASON]
        if judgement.state is None:
            ended = JobGivenBack if report.outcome == Outcome.GIVEN_BACK else JobLost
            return ended(now, job.kind, job.arch, report.attempt, reason)
        state, tests = judgement.state, judgement.tests
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


def _lied(at: datetime, worker: str, report: Report, lie: str) -> Event:
    """A worker that says what is not so is the farm's fault, and no word of the package's."""
    job = report.job
    return JobLost(at, job.kind, job.arch, report.attempt, f"the worker {worker} reported what is not so: {lie}")


def _check_holds(update: Update, worker: str, key: JobKey, attempt: int) -> None:
    """Raises Fenced where the attempt is not one that the worker has."""
    job = update.job(key.kind, key.arch)
    if job is None or (job.state, job.worker, job.attempt) != (JobState.LEASED, worker, attempt):
        raise Fenced(f"{key} attempt {attempt} is not {worker}'s")
