# SPDX-License-Identifier: GPL-3.0-or-later
"""Rings for workers through Celery. A message says only that there is something to claim; losing it loses nothing."""

from celery import Celery
from kombu.exceptions import OperationalError

from coordinator.errors import BrokerDown
from workers.wire.broker import TASK, queue_of, settings
from workers.wire.order import JobKey

#: How long an answer of the broker may take, in seconds.
_PATIENCE = 5.0


class CeleryBell:
    """Implements the port Bell. Each worker has a queue of its own, so that a ring wakes the one that it is for."""

    def __init__(self, broker: str, farm: str, patience: float = _PATIENCE) -> None:
        self._app = Celery("patchfarm", set_as_current=False)
        self._app.conf.update(settings(broker, farm), task_create_missing_queues=True)
        # The engine has more to do than to wait for a broker, and rings again by itself.
        once = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
        timeouts = {"socket_timeout": patience, "socket_connect_timeout": min(patience, 2)}
        self._app.conf.broker_transport_options |= {**timeouts, **once}

    def ring(self, worker: str, job: JobKey, attempt: int) -> None:
        """Raises BrokerDown where the broker does not answer; the engine rings again later."""
        try:
            self._app.send_task(
                TASK,
                args=[str(job), attempt],
                queue=queue_of(worker),
                priority=0,
                ignore_result=True,
                retry=False,
            )
        except OperationalError as error:
            raise BrokerDown("the broker does not answer") from error
