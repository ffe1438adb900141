# SPDX-License-Identifier: GPL-3.0-or-later
"""Rings for workers through Celery. A message says only which attempt may be claimed; losing it loses nothing."""

from celery import Celery
from kombu import Queue
from kombu.exceptions import OperationalError

from coordinator.errors import BrokerDown
from workers.wire.arch import Arch, queue_of
from workers.wire.broker import TASK, settings
from workers.wire.order import JobKey


class CeleryBell:
    """Implements the port Bell."""

    def __init__(self, broker: str, farm: str) -> None:
        self._app = Celery("patchfarm", set_as_current=False)
        self._app.conf.update(settings(broker, farm))
        queues = [queue_of(arch) for arch in Arch if arch != Arch.ALL]
        self._app.conf.task_queues = [Queue(name, routing_key=name) for name in queues]

    def ring(self, host: Arch, job: JobKey, attempt: int) -> None:
        """Raises BrokerDown where the broker does not answer; the outbox rings again later."""
        try:
            self._app.send_task(
                TASK,
                args=[job.update, str(job.kind), str(job.arch), attempt],
                queue=queue_of(host),
                priority=0,
                ignore_result=True,
                retry=False,
            )
        except OperationalError as error:
            raise BrokerDown("the broker does not answer") from error
