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

from coordinator.engine.story import describe
from coordinator.errors import BadSource, Blame, BrokerDown, Fenced, IllegalMove, PatchfarmError, StaleUpdate
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
from workers.wire.order import JobKey

_LOG = logging.getLogger(__name__)

#: How long an instruction that failed waits before it is tried again, by the number of tries: 1, 2, 4 … 60 seconds.
_LONGEST_WAIT = 60
#: How long a bell that is rung again and again is left alone at most, in seconds; the waits double up to this.
_LONGEST_SILENCE = 600
#: An upload that failed this often is given up until a person retries it.
_UPLOAD_TRIES = 5
#: A worker that gave no sign of life for longer than eight of its own intervals is not planned with.
_ALIVE = timedelta(seconds=120)


@dataclasses.dataclass(frozen=True)
class Timing:
    """How patient the engine is, in seconds; `lease` is how long a worker may be silent."""

    ring_again: int
    confirm: int
    lease: int


@dataclasses.dataclass(frozen=True)
class Destination:
    """A target archive with both its ends: where uploads go in, and where its index is read."""

    uploader: Uploader
    target: Target


def at_once(work: Callable[[], None]) -> None:
    """Do it here and now."""
    work()


class Engine:
    """The only one that changes updates. `aside` does what takes as long as a target likes."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        bell: Bell,
        clock: Clock,
        destinations: Callable[[str], Destination],
        timing: Timing,
        aside: Callable[[Callable[[], None]], object] = at_once,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._bell = bell
        self._clock = clock
        self._destinations = destinations
        self._timing = timing
        self._aside = aside
        #: The outbox rows that are being carried out aside.
        self._under_way: set[int] = set()
        self._started_at = clock.now()
        #: The bells of `ring_again` that were rung, when next to ring them, and the seconds to wait after that; what is
        #: forgotten with the process is rung once more.
        self._rung: dict[tuple[int, Ring], tuple[datetime, int]] = {}

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
            if not isinstance(due.instruction, Upload | Confirm):
                self.carry_out(due)
            elif due.number not in self._under_way:
                self._under_way.add(due.number)
                self._aside(partial(self._carry_out_aside, due))

    def _carry_out_aside(self, due: Due) -> None:
        try:
            self.carry_out(due)
        finally:
            self._under_way.discard(due.number)

    def take_back_lapsed(self) -> None:
        """Attempts whose lease ran out count as lost by the farm.

        A process that has just started takes none back: while the coordinator was down no worker could renew its
        lease, and those that are at work do so now.
        """
        now = self._clock.now()
        if now < self._started_at + timedelta(seconds=self._timing.lease):
            return
        for job, attempt in self._store.lapsed(now):
            # One that was renewed, reported or withdrawn in the meantime needs nothing.
            with suppress(Fenced, IllegalMove):
                self.handle(job.update, partial(_lapsed, job, attempt, now))

    def ring_again(self) -> None:
        """Bells that nobody answered may have been lost with the broker. While it is down there is no use in it.

        The waits in between grow: where no worker comes for days, the messages in the broker must not.
        """
        now, patience = self._clock.now(), self._timing.ring_again
        waiting = self._store.unanswered(now - timedelta(seconds=patience))
        self._rung = {key: self._rung[key] for key in waiting if key in self._rung}
        for update, bell in waiting:
            due, wait = self._rung.get((update, bell), (now, 2 * patience))
            if due > now:
                continue
            try:
                self._ring(self._store.load(update), bell)
            except BrokerDown:
                return
            except PatchfarmError as error:
                _LOG.warning("action=ring-failed update=%s instruction=%s: %s", update, bell, error.message)
            wait = min(wait, _LONGEST_SILENCE)
            self._rung[update, bell] = now + timedelta(seconds=wait), 2 * wait

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
            self._after_mistake(due, f"{type(error).__name__}: {error}")
            return
        if again is None:
            self._store.done(due)
        else:
            self._store.postpone(due, self._clock.now() + again, "not yet")

    def _after_mistake(self, due: Due, why: str) -> None:
        """An upload is given up after its last try, whatever it ended with; all else is tried again."""
        if isinstance(due.instruction, Upload) and due.tries + 1 >= _UPLOAD_TRIES:
            # One that is not to be uploaded any more is not to be given up either.
            with suppress(PatchfarmError):
                self.handle(due.update, partial(_happened, Refused(self._clock.now(), why, Blame.FARM)))
                self._store.done(due)
                return
        self._put_off(due, why)

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
        late = f"the target did not show {update.source.version} within {self._timing.confirm} s of the upload"
        try:
            event = self._look(update)
        except PatchfarmError as error:
            if not overdue:
                raise
            event = Refused(now, f"{late}; the last look at it: {error.message}", Blame.FARM)
        if event is None and overdue:
            event = Refused(now, late, Blame.FARM)
        if event is None:
            return timedelta(seconds=1)
        self.handle(update.id, partial(_happened, event))
        return None

    def _look(self, update: Update) -> Published | Refused | None:
        """What the target's index says of the upload; None where it does not say anything yet."""
        now = self._clock.now()
        target = self._destinations(self.recipe_of(update).publish.target).target
        shown = target.sources(update.suite, update.source.name)
        if publish.has_arrived(update, shown):
            return Published(now)
        displaced = publish.displaced(update, shown)
        return Refused(now, displaced, Blame.FARM) if displaced else None

    def _story(self, update: int) -> str:
        recent = self._store.history(update)[-5:]
        return "So far: " + "; ".join(f"{entry.event} {entry.detail}".strip() for entry in recent)


def _happened(event: Event, _update: Update) -> Event:
    return event


def _lapsed(key: JobKey, attempt: int, now: datetime, before: Update) -> Event:
    """The attempt is lost, if its lease has still not been renewed. Raises Fenced."""
    held = before.job(key.kind, key.arch)
    if held is None or held.lease_expires_at is None or held.lease_expires_at >= now:
        raise Fenced(f"{key} attempt {attempt} has a lease")
    return JobLost(now, key.kind, key.arch, attempt, "the worker gave no sign of life until its lease ended")
