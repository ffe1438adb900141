# SPDX-License-Identifier: GPL-3.0-or-later
"""One ring of the doorbell, from the claim to the report.

An attempt that was claimed is reported whatever happened, unless its lease was lost: then nothing is said at all.
"""

import dataclasses
import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from workers.attempt import Attempt, Tools
from workers.config import WorkerConfig
from workers.errors import Fenced, Refused, WorkerError, one_line
from workers.images import Images
from workers.lease import Lease
from workers.log import AttemptLog, Shipper
from workers.sandbox import Sandbox, SandboxError
from workers.transfer import Farm
from workers.wire.arch import Arch, Tier
from workers.wire.codec import WireError
from workers.wire.order import JobKey, Order
from workers.wire.report import Outcome, Report

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Worker:
    """A worker's parts. `engine` is asked for each attempt anew: a connection to it does not survive a fork."""

    config: WorkerConfig
    farm: Farm
    engine: Callable[[], tuple[Sandbox, Images]]
    shutting_down: Callable[[], bool]

    def work(self, job: JobKey, attempt: int, host: Arch) -> None:
        """Claim an attempt and see it through; nothing happens where there is nothing to claim.

        A bell is not believed: one that rings at another architecture's queue would make the job fail here.
        """
        if job.arch not in (host, Arch.ALL):
            _LOG.warning("%s/%s: rung for at the queue of %s, and not claimed", job, attempt, host)
            return
        tier = self.config.tiers[host]
        try:
            order = self.farm.claim(job, attempt, tier)
        except Fenced:
            _LOG.info("%s/%s: nothing to claim", job, attempt)
            return
        except WireError as error:
            reason = f"the worker does not understand the order: {error}"
            self._report(self._empty(job, attempt, tier, reason))
            return
        with tempfile.TemporaryDirectory(dir=self.config.home, prefix="attempt-") as folder:
            self._carry_out(order, tier, Path(folder))

    def _report(self, report: Report) -> None:
        try:
            self.farm.report(report)
        except Fenced:
            _LOG.info("%s/%s: its report came too late", report.job, report.attempt)
        else:
            _LOG.info("%s/%s: %s %s", report.job, report.attempt, report.outcome, report.reason)

    def _carry_out(self, order: Order, tier: Tier, scratch: Path) -> None:
        """Do it and report it, unless the lease was lost. The lease is kept until the report has arrived."""
        log = AttemptLog(scratch / "log", order.limits.log_bytes)
        lease = Lease(order.lease_seconds, lambda: self.farm.renew(order.job, order.attempt), self.shutting_down)
        with lease:
            shipper = Shipper(
                log, lambda offset, data: self.farm.log(order.job, order.attempt, offset, data), lease.give_up
            )
            report = self._try(order, tier, scratch, lease, log)
            try:
                shipper.close()
            except Fenced:
                return
            except (OSError, ValueError, Refused) as error:
                # The log is evidence: without it the attempt says nothing that can be relied on.
                report = report and _spoilt(report, f"the log did not arrive: {error}")
            if report is not None:
                self._report(report)

    def _try(self, order: Order, tier: Tier, scratch: Path, lease: Lease, log: AttemptLog) -> Report | None:
        try:
            sandbox, images = self.engine()
        except SandboxError as error:
            log.note(one_line(str(error)))
            return self._empty(order.job, order.attempt, tier, str(error), log.sha256)
        tools = Tools(self.farm, sandbox, images, self.config.farm, self.config.worker, tier, scratch)
        attempt = Attempt(order, tools, lease, log)
        try:
            return attempt.run()
        except Fenced:
            _LOG.info("%s/%s: lost, and thrown away", order.job, order.attempt)
            return None
        except Exception as error:  # noqa: BLE001  # the process's edge: whatever it meets, an attempt is reported
            _LOG.exception("%s/%s", order.job, order.attempt)
            return attempt.report(Outcome.BROKEN, _reason(error))

    def _empty(self, job: JobKey, attempt: int, tier: Tier, reason: str, log_sha256: str = "") -> Report:
        """The report of an attempt that did not begin."""
        return Report(job, attempt, Outcome.BROKEN, one_line(reason), (), (), log_sha256, "", tier, self.config.worker)


def _spoilt(report: Report, reason: str) -> Report:
    return dataclasses.replace(report, outcome=Outcome.BROKEN, reason=one_line(reason), artifacts=())


def _reason(error: Exception) -> str:
    """An expected error says it in its own words; of another the type is worth as much."""
    return one_line(str(error) if isinstance(error, WorkerError) else f"{type(error).__name__}: {error}")
