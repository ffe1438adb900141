# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves updates: load → step → save with history and outbox in one transaction → carry out what the outbox says.

Everything that happens to an update goes through `handle`. `tick` is the engine process's work: it carries out due
instructions, takes back attempts whose lease ran out, and rings again for those that nobody claimed. Every instruction
may be carried out twice, so none may do harm the second time.
"""

import dataclasses
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import assert_never

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random

from coordinator.errors import (
    ArchiveUnreachable,
    BadSource,
    Blame,
    BrokerDown,
    Fenced,
    IllegalMove,
    PatchfarmError,
    StaleUpdate,
)
from coordinator.model import Update, UpdateState
from coordinator.pipeline import (
    Confirm,
    Event,
    JobLost,
    Plan,
    Planned,
    Published,
    Refused,
    Ring,
    Upload,
    Uploaded,
    step,
)
from coordinator.ports import Bell, Blobs, Clock, Due, Store, Target, Uploader
from coordinator.recipe import Recipe, parse
from coordinator.stages import plan, publish
from coordinator.work import host_of

_LOG = logging.getLogger(__name__)

#: How long an instruction that failed waits before it is tried again, by the number of tries: 1, 2, 4 … 60 seconds.
_LONGEST_WAIT = 60
#: An upload that failed this often is given up until a person retries it.
_UPLOAD_TRIES = 5
#: A worker that gave no sign of life for longer than eight of its own intervals is not planned with.
_ALIVE = timedelta(seconds=120)


@dataclasses.dataclass(frozen=True)
class Timing:
    """How patient the engine is, in seconds."""

    ring_again: int
    confirm: int


@dataclasses.dataclass(frozen=True)
class Destination:
    """A target archive with both its ends: where uploads go in, and where its index is read."""

    uploader: Uploader
    target: Target


class Engine:
    """The only one that changes updates."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        bell: Bell,
        clock: Clock,
        destinations: Callable[[str], Destination],
        timing: Timing,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._bell = bell
        self._clock = clock
        self._destinations = destinations
        self._timing = timing
        #: The bells of `ring_again` and when they were rung; what is forgotten with the process is rung once more.
        self._rung: dict[tuple[int, Ring], datetime] = {}

    @retry(
        retry=retry_if_exception_type(StaleUpdate),
        stop=stop_after_attempt(10),
        wait=wait_random(0, 0.05),
        reraise=True,
    )
    def handle(self, update: int, happened: Callable[[Update], Event]) -> Update:
        """Let an event happen to the update as it is now. Raises what `happened` or the pipeline refuses with."""
        before = self._store.load(update)
        event = happened(before)
        try:
            after, instructions = step(before, event)
        except IllegalMove as refusal:
            raise IllegalMove(f"{refusal.message}. {self._story(update)}") from refusal
        return self._store.save(before, after, type(event).__name__, describe(event), instructions)

    def recipe_of(self, update: Update) -> Recipe:
        """The recipe as it was when the update came in."""
        return parse(self._blobs.path(update.recipe_sha256).read_text(), update.recipe)

    def tick(self) -> None:
        """Whatever is due now."""
        self.take_back_lapsed()
        self.ring_again()
        for due in self._store.due(self._clock.now()):
            self.carry_out(due)

    def take_back_lapsed(self) -> None:
        """Attempts whose lease ran out count as lost by the farm."""
        now = self._clock.now()
        for job, attempt in self._store.lapsed(now):
            lost = JobLost(now, job.kind, job.arch, attempt, "the worker gave no sign of life until its lease ended")
            # One that was reported or withdrawn in the meantime needs nothing.
            with suppress(Fenced, IllegalMove):
                self.handle(job.update, partial(_happened, lost))

    def ring_again(self) -> None:
        """Bells that nobody answered may have been lost with the broker. While it is down there is no use in it."""
        now = self._clock.now()
        patience = timedelta(seconds=self._timing.ring_again)
        waiting = self._store.unanswered(now - patience)
        self._rung = {key: at for key, at in self._rung.items() if key in waiting and at > now - patience}
        for update, bell in waiting:
            if (update, bell) in self._rung:
                continue
            try:
                self._ring(self._store.load(update), bell)
            except BrokerDown:
                return
            except PatchfarmError as error:
                _LOG.warning("action=ring-failed update=%s instruction=%s: %s", update, bell, error.message)
            self._rung[update, bell] = now

    def carry_out(self, due: Due) -> None:
        """One instruction of the outbox; one that fails by the farm's doing is put off."""
        try:
            update = self._store.load(due.update)
            again = self._follow(update, due)
        except PatchfarmError as error:
            self._put_off(due, error.message)
            return
        except Exception as error:  # noqa: BLE001  # the outbox's edge: one instruction must not hold up the others
            _LOG.exception("action=instruction-failed update=%s instruction=%s", due.update, due.instruction)
            self._put_off(due, f"{type(error).__name__}: {error}")
            return
        if again is None:
            self._store.done(due)
        else:
            self._store.postpone(due, self._clock.now() + again, "not yet")

    def _put_off(self, due: Due, why: str) -> None:
        wait = min(2 ** min(due.tries, _LONGEST_WAIT), _LONGEST_WAIT)
        self._store.postpone(due, self._clock.now() + timedelta(seconds=wait), why)

    def _follow(self, update: Update, due: Due) -> timedelta | None:
        """Carry it out; None when it is done, or after which time to look again."""
        match due.instruction:
            case Plan():
                return self._plan(update)
            case Ring() as bell:
                self._ring(update, bell)
                return None
            case Upload():
                return self._upload(update, due)
            case Confirm():
                return self._confirm(update)
            case _ as unreachable:
                assert_never(unreachable)

    def _plan(self, update: Update) -> timedelta | None:
        if update.state != UpdateState.RECEIVED:
            return None
        since = self._clock.now() - _ALIVE
        workers = [worker for worker in self._store.workers() if worker.last_seen_at >= since]
        if not workers:
            return timedelta(seconds=1)
        offered = {arch for worker in workers for arch in worker.tiers}
        try:
            chosen = plan.plan(update.source, self.recipe_of(update), offered)
        except BadSource as refusal:
            refused = Refused(self._clock.now(), refusal.message, refusal.blame)
            self.handle(update.id, partial(_happened, refused))
            return None
        planned = Planned(self._clock.now(), chosen.jobs, chosen.left_out)
        self.handle(update.id, partial(_happened, planned))
        return None

    def _ring(self, update: Update, bell: Ring) -> None:
        job = update.job(bell.kind, bell.arch)
        if job is not None and job.attempt == bell.attempt:
            self._bell.ring(host_of(self.recipe_of(update), bell.arch), update.key(job), bell.attempt)

    def _upload(self, update: Update, due: Due) -> timedelta | None:
        if update.state != UpdateState.PUBLISHING or update.uploaded_at is not None:
            return None
        try:
            files = [(file, self._blobs.path(file.sha256)) for file in publish.in_order(update)]
            uploader = self._destinations(self.recipe_of(update).publish.target).uploader
            for _name in uploader.upload(files):
                pass
        except PatchfarmError as error:
            if due.tries + 1 < _UPLOAD_TRIES and error.blame == Blame.FARM:
                raise
            refused = Refused(self._clock.now(), error.message, error.blame)
            self.handle(update.id, partial(_happened, refused))
            return None
        uploaded = Uploaded(self._clock.now())
        self.handle(update.id, partial(_happened, uploaded))
        return None

    def _confirm(self, update: Update) -> timedelta | None:
        if update.state != UpdateState.PUBLISHING or update.uploaded_at is None:
            return None
        now = self._clock.now()
        overdue = now - update.uploaded_at > timedelta(seconds=self._timing.confirm)
        try:
            shown = self._shows(update)
        except ArchiveUnreachable:
            if not overdue:
                raise
            shown = False
        if shown:
            self.handle(update.id, partial(_happened, Published(now)))
        elif overdue:
            reason = f"the target did not show {update.source.version} within {self._timing.confirm} s of the upload"
            self.handle(update.id, partial(_happened, Refused(now, reason, Blame.FARM)))
        return None if shown or overdue else timedelta(seconds=1)

    def _shows(self, update: Update) -> bool:
        target = self._destinations(self.recipe_of(update).publish.target).target
        return update.source.version in target.versions(update.suite, update.source.name)

    def _story(self, update: int) -> str:
        recent = self._store.history(update)[-5:]
        return "So far: " + "; ".join(f"{entry.event} {entry.detail}".strip() for entry in recent)


def _happened(event: Event, _update: Update) -> Event:
    return event


def describe(event: Event) -> str:
    """One line for the history: what the event says, without what the update itself keeps."""
    shown = []
    for field in dataclasses.fields(event):
        value = getattr(event, field.name)
        if isinstance(value, str | int) and value != "":
            shown.append(f"{field.name} {value}")
        elif isinstance(value, tuple) and value and all(isinstance(item, str) for item in value):
            shown.append(f"{field.name} {' '.join(value)}")
    return ", ".join(shown)
