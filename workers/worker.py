# SPDX-License-Identifier: GPL-3.0-or-later
"""One ring of the doorbell, from the claim to the report; or the rest of that, where another process began it.

An attempt that was claimed is reported whatever happened, unless its lease was lost: then nothing is said at all.
"""

import contextlib
import dataclasses
import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workers import held
from workers.attempt import Attempt, Tools
from workers.config import WorkerConfig
from workers.ending import End
from workers.errors import Fenced, LetGo, Refused, StrangeOrder, WorkerError, one_line
from workers.held import Held
from workers.lease import Lease
from workers.log import AttemptLog, Shipper
from workers.sandbox import SandboxError
from workers.steps import label_of
from workers.transfer import Farm
from workers.wire.arch import Tier
from workers.wire.codec import WireError
from workers.wire.order import JobKey, Order
from workers.wire.report import Outcome, Report

_LOG = logging.getLogger(__name__)

#: What the system says of a disk that is full, of a share of it that is, and of a file that may not be larger.
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True)
class Worker:
    """A worker's parts. `tools` are asked for anew: a connection to the engine does not survive a fork."""

    config: WorkerConfig
    farm: Farm
    tools: Callable[[], Tools]
    ending: Callable[[], End]

    def work(self) -> None:
        """Claim an attempt and see it through, and the next, until there is nothing to claim or the worker ends."""
        while self.ending() is End.NOT_YET:
            try:
                order = self.farm.claim()
            except Fenced:
                return
            except StrangeOrder as error:
                reason = f"the worker does not understand the order: {error}"
                self._report(self._empty(error.job, error.attempt, Tier.EMULATED, reason))
                continue
            self._begin(order)

    def _begin(self, order: Order) -> None:
        tier = self.config.tiers.get(order.host)
        if tier is None:
            reason = f"this worker does not offer {order.host}"
            self._report(self._empty(order.job, order.attempt, Tier.EMULATED, reason))
            return
        with contextlib.ExitStack() as stack:
            try:
                mine = stack.enter_context(held.take(self.config.home, order, tier))
            except OSError as error:
                self._report(self._empty(order.job, order.attempt, tier, f"the worker's disk: {error}"))
                return
            self._see_through(mine)

    def adopt(self, folder: Path) -> None:
        """Go on with an attempt of which the folder is all that a process that is gone left."""
        with contextlib.ExitStack() as stack:
            try:
                orphan = stack.enter_context(held.adopt(folder))
                if orphan is None:
                    return
                orphan.save(adopted=orphan.progress.adopted + 1)
            except (WireError, OSError) as error:
                reason = f"what was in hand cannot be read or gone on with: {error}"
                self._report(self._empty(*held.key_of(folder), Tier.NATIVE, reason))
                self._clear(folder)
                return
            if self._still_holds(orphan.progress.order):
                self._see_through(orphan)
            else:
                self._clear(folder)

    def _still_holds(self, order: Order) -> bool:
        """Whether the attempt is this worker's yet; a coordinator that does not answer has not said no."""
        try:
            self.farm.renew(order.job, order.attempt)
        except Fenced:
            _LOG.info("%s/%s: belongs to somebody else by now", order.job, order.attempt)
            return False
        except (OSError, Refused, WireError) as error:
            _LOG.warning("%s/%s: the lease was not renewed: %s", order.job, order.attempt, error)
        return True

    def _see_through(self, attempt: Held) -> None:
        """Do it and report it, unless the lease was lost or the worker ends; then leave nothing of it behind."""
        order = attempt.progress.order
        log = AttemptLog(attempt.log, order.limits.log_bytes, attempt.progress.notes)
        lease = Lease(order.lease_seconds, lambda: self.farm.renew(order.job, order.attempt), self.ending)
        try:
            with lease:
                self._carry_out(attempt, lease, log)
        except LetGo:
            _LOG.info("%s/%s: left for the worker's next process", order.job, order.attempt)
            return
        self._clear(attempt.folder)

    def _carry_out(self, attempt: Held, lease: Lease, log: AttemptLog) -> None:
        """The lease is kept until the report has arrived."""
        order = attempt.progress.order
        shipper = Shipper(
            log, lambda offset, data: self.farm.log(order.job, order.attempt, offset, data), lease.give_up
        )
        try:
            report = self._shipped(shipper, self._try(attempt, lease, log))
        except Fenced:
            _LOG.info("%s/%s: lost, and thrown away", order.job, order.attempt)
            return
        finally:
            shipper.abandon()
        self._report(report)

    def _shipped(self, shipper: Shipper, report: Report) -> Report:
        """The report once all of its log has arrived. The log is evidence: without it nothing can be relied on."""
        try:
            shipper.close()
        except (OSError, ValueError, Refused) as error:
            return _spoilt(report, f"the log did not arrive: {error}")
        return report

    def _try(self, mine: Held, lease: Lease, log: AttemptLog) -> Report:
        order, tier = mine.progress.order, mine.progress.tier
        try:
            tools = self.tools()
        except SandboxError as error:
            log.note(one_line(str(error)))
            return self._empty(order.job, order.attempt, tier, str(error), log.sha256)
        attempt = Attempt(mine, tools, lease, log)
        try:
            return attempt.run()
        except (Fenced, LetGo):
            raise
        except Exception as error:  # noqa: BLE001  # the process's edge: whatever it meets, an attempt is reported
            _LOG.exception("%s/%s", order.job, order.attempt)
            reason = _reason(error)
        try:
            return attempt.report(Outcome.BROKEN, reason)
        except OSError:
            # Where there is no room for the log's last line, there is for the report, which needs none.
            return self._empty(order.job, order.attempt, tier, reason, log.sha256)

    def _clear(self, folder: Path) -> None:
        """Remove what there is of it; where the engine does not do it now, the folder stays, and it is tried again."""
        label = label_of(*held.key_of(folder))
        try:
            self.tools().sandbox.clear(label)
        except SandboxError as error:
            _LOG.warning("%s: not cleared away yet: %s", label, error)
        else:
            held.let_go_of(folder)

    def _report(self, report: Report) -> None:
        try:
            self.farm.report(report)
        except Fenced:
            _LOG.info("%s/%s: its report came too late", report.job, report.attempt)
        except Refused as error:
            # It will be refused again, whoever says it: without a lease the attempt is soon somebody else's.
            _LOG.error("%s/%s: its report was refused: %s", report.job, report.attempt, error)
        else:
            _LOG.info("%s/%s: %s %s", report.job, report.attempt, report.outcome, report.reason)

    def _empty(self, job: JobKey, attempt: int, tier: Tier, reason: str, log_sha256: str = "") -> Report:
        """The report of an attempt that did not begin."""
        return Report(job, attempt, Outcome.BROKEN, one_line(reason), (), (), log_sha256, "", tier, self.config.worker)


def _spoilt(report: Report, reason: str) -> Report:
    return dataclasses.replace(report, outcome=Outcome.BROKEN, reason=one_line(reason), artifacts=())


def _reason(error: Exception) -> str:
    """An expected error says it in its own words; of another the type is worth as much."""
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return f"the worker's disk: {one_line(str(error))}"
    return one_line(str(error) if isinstance(error, WorkerError) else f"{type(error).__name__}: {error}")
