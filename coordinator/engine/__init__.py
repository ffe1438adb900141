# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves updates: load → step → save with history and outbox in one transaction → carry out what the outbox says.

Everything that happens to an update goes through `handle`. `tick` is the engine process's work: it takes back attempts
whose lease ran out, carries out due instructions, and rings for what a worker could begin. Every instruction may be
carried out twice, so none may do harm the second time.
"""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import assert_never

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random

from coordinator.dispatch import Board, cleared
from coordinator.duty import Held
from coordinator.engine.awake import Awake
from coordinator.engine.bells import Bells
from coordinator.engine.boards import Boards
from coordinator.engine.collector import Collector
from coordinator.engine.depwait import Supply
from coordinator.engine.leases import Leases
from coordinator.engine.story import describe
from coordinator.errors import BadSource, Blame, BrokerDown, DiskFull, Fenced, IllegalMove, PatchfarmError, StaleUpdate
from coordinator.model import JobState, Update, UpdateState
from coordinator.pipeline import (
    LONGEST_DELAY,
    Confirm,
    DependenciesMet,
    Event,
    JobLost,
    Look,
    Plan,
    Planned,
    Published,
    Refused,
    Ring,
    Upload,
    Uploaded,
    step,
)
from coordinator.ports import Bell, Blobs, Clock, Due, Lease, Store, Target, Uploader
from coordinator.recipe import Recipe
from coordinator.recipe_before import parse_kept
from coordinator.stages import plan, publish

_LOG = logging.getLogger(__name__)

#: How long an instruction that failed waits before it is tried again, by the number of tries: 1, 2, 4 … 60 seconds.
_LONGEST_WAIT = 60
#: However much there is to carry out, what is ready meanwhile is rung for so soon.
_RING_WITHIN = timedelta(seconds=0.2)
#: An upload that failed this often is given up until a person retries it.
_UPLOAD_TRIES = 5
#: A worker that gave no sign of life for longer than eight of its own intervals is not planned with.
_ALIVE = timedelta(seconds=120)
#: How many looks for missing dependencies go on at the same time: a slow archive must leave room for uploads.
_LOOKS = 2
#: When to look again for what may come at any time.
_SOON = timedelta(seconds=1)
#: What to type then.
_CLEAR = "`patchfarm worker add USER@HOST --clearance embargoed` lets one"


@dataclasses.dataclass(frozen=True)
class Timing:
    """How patient the engine is, in seconds.

    `lease` is how long a worker may be silent, `look` how often an archive is looked at for what a job misses.
    """

    ring_again: int
    confirm: int
    lease: int
    look: int


@dataclasses.dataclass(frozen=True)
class Later:
    """An instruction could not be carried out yet: when to try again, and why, for people."""

    after: timedelta
    why: str


@dataclasses.dataclass(frozen=True)
class Destination:
    """A target archive with both its ends: where uploads go in, and where its index is read."""

    uploader: Uploader
    target: Target


def at_once(work: Callable[[], None]) -> None:
    """Do it here and now."""
    work()


class Engine:
    """The only one that changes updates. `aside` does what takes as long as a target or an archive likes."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        bell: Bell,
        clock: Clock,
        destinations: Callable[[str], Destination],
        supply: Supply,
        collector: Collector,
        timing: Timing,
        aside: Callable[[Callable[[], None]], object] = at_once,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._boards = Boards(store, blobs, clock)
        self._bells = Bells(bell, self._boards, timing.ring_again)
        self._clock = clock
        self._destinations = destinations
        self._supply = supply
        self._collector = collector
        self._timing = timing
        self._aside = aside
        #: The outbox rows that are being carried out aside, and whether each is a look for missing dependencies.
        self._under_way: dict[int, bool] = {}
        lease = timedelta(seconds=timing.lease)
        # With a tick a second, a quarter of a lease is no delay of the engine's own.
        self._awake = Awake(clock.now(), lease / 4)
        self._leases = Leases(lease)
        self._longest = timedelta(seconds=max(LONGEST_DELAY, _LONGEST_WAIT, timing.look))

    @retry(
        retry=retry_if_exception_type(StaleUpdate),
        stop=stop_after_attempt(10),
        wait=wait_random(0, 0.05),
        reraise=True,
    )
    def handle(
        self,
        update: int,
        happened: Callable[[Update], Event],
        check: Callable[[Sequence[Held]], None] | None = None,
    ) -> Update:
        """Let an event happen to the update as it is now. Raises what `happened` or the pipeline refuses with.

        `check` is the store's: what has to be true of all attempts that are held, at the moment of saving.
        """
        before = self._store.load(update)
        event = happened(before)
        try:
            after, instructions = step(before, event)
        except IllegalMove as refusal:
            raise IllegalMove(f"{refusal.message}. {self._story(update)}") from refusal
        return self._store.save(before, after, type(event).__name__, describe(event), instructions, check)

    def recipe_of(self, update: Update) -> Recipe:
        """The recipe as it was when the update came in."""
        return parse_kept(self._blobs.path(update.recipe_sha256).read_text(), update.recipe)

    def tick(self) -> None:
        """Whatever is due now; on a full disk nothing is, and it waits."""
        self._awake.look(self._clock.now())
        try:
            self._do_what_is_due()
        except DiskFull as error:
            _LOG.warning("action=waits-for-room: %s", error.message)
            # Who wanted to renew a lease could not do so either.
            self._leases.forget()

    def _do_what_is_due(self) -> None:
        """Bells come late, so that what was planned just now is rung for."""
        self.take_back_lapsed()
        bells: list[Due] = []
        rung_at = self._clock.now()
        for due in self._store.due(self._clock.now(), self._longest):
            if self._clock.now() - rung_at > _RING_WITHIN:
                self.ring(bells)
                bells, rung_at = [], self._clock.now()
            if isinstance(due.instruction, Ring):
                bells.append(due)
            elif not isinstance(due.instruction, Upload | Confirm | Look):
                self.carry_out(due)
            else:
                self._set_aside(due)
        self.ring(bells)
        self._collector.step()

    def _set_aside(self, due: Due) -> None:
        looks = isinstance(due.instruction, Look)
        full = looks and sum(list(self._under_way.values())) >= _LOOKS
        if due.number not in self._under_way and not full:
            self._under_way[due.number] = looks
            self._aside(partial(self._carry_out_aside, due))

    def _carry_out_aside(self, due: Due) -> None:
        try:
            self.carry_out(due)
        finally:
            self._under_way.pop(due.number, None)

    def take_back_lapsed(self) -> None:
        """Attempts whose lease ran out count as lost by the farm."""
        for lease in self._leases.lapsed(self._store.leases(), self._awake.time):
            # One that was renewed, reported or withdrawn in the meantime needs nothing; one whose update is changed
            # without a pause is taken back by the next tick.
            with suppress(Fenced, IllegalMove, StaleUpdate):
                self.handle(lease.job.update, partial(_lapsed, lease, self._clock.now()))

    def board(self) -> Board:
        """What dispatch looks at, as it is now."""
        return self._boards.now()

    def ring(self, asked: Sequence[Due]) -> None:
        """Ring for everything that a worker could begin now; `asked` are the instructions to that are due."""
        try:
            self._bells.ring()
        except BrokerDown as error:
            for due in asked:
                self._put_off(due, error.message)
            return
        for due in asked:
            self._store.done(due)

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
            self._store.postpone(due, self._clock.now() + again.after, again.why)

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

    def _follow(self, update: Update, due: Due) -> Later | None:
        """Carry it out; None when it is done."""
        match due.instruction:
            case Plan():
                return self._plan(update)
            case Ring():
                self._bells.ring()
                return None
            case Look() as look:
                return self._look_for_missing(update, look)
            case Upload():
                return self._upload(update, due)
            case Confirm():
                return self._confirm(update)
            case _ as unreachable:
                assert_never(unreachable)

    def _plan(self, update: Update) -> Later | None:
        if update.state != UpdateState.RECEIVED:
            return None
        if not self._awake.settled:
            return Later(_SOON, "the clock jumped, and the workers have not all signed on again")
        now = self._clock.now()
        # A sign of life of the future was written by a clock that was wrong.
        workers = [worker for worker in self._store.workers() if abs(now - worker.last_seen_at) <= _ALIVE]
        if not workers:
            return Later(_SOON, "no worker has signed on")
        trusted = [worker for worker in workers if cleared(worker, update.source.origin)]
        if not trusted:
            return Later(_SOON, f"no worker may see a source that is not public yet; {_CLEAR}")
        offered = {arch for worker in trusted for arch in worker.tiers}
        try:
            chosen = plan.plan(update.source, self.recipe_of(update), offered)
        except BadSource as refusal:
            refused = Refused(self._clock.now(), refusal.message, refusal.blame)
            self.handle(update.id, partial(_happened, refused))
            return None
        planned = Planned(self._clock.now(), chosen.jobs, chosen.left_out)
        self.handle(update.id, partial(_happened, planned))
        return None

    def _look_for_missing(self, update: Update, look: Look) -> Later | None:
        job = update.job(look.kind, look.arch)
        if job is None or (job.state, job.attempt) != (JobState.DEP_WAIT, look.attempt):
            return None
        missing = self._supply.still_missing(job, self.recipe_of(update))
        if missing:
            return Later(timedelta(seconds=self._timing.look), f"the archive does not have {missing[0]}")
        met = DependenciesMet(self._clock.now(), look.kind, look.arch, look.attempt)
        # A person may have been quicker.
        with suppress(Fenced, IllegalMove):
            self.handle(update.id, partial(_happened, met))
        return None

    def _upload(self, update: Update, due: Due) -> Later | None:
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

    def _confirm(self, update: Update) -> Later | None:
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
            return Later(_SOON, "the target does not show it yet")
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


def _lapsed(lease: Lease, now: datetime, before: Update) -> Event:
    """The attempt is lost, if its lease has still not been renewed. Raises Fenced."""
    key = lease.job
    held = before.job(key.kind, key.arch)
    if held is None or held.lease_expires_at != lease.until:
        raise Fenced(f"{key} attempt {lease.attempt} has a lease")
    silent = f"the worker {held.worker} gave no sign of life until its lease ended"
    return JobLost(now, key.kind, key.arch, lease.attempt, silent)
