# SPDX-License-Identifier: GPL-3.0-or-later
"""The fault matrix, run for real: each fault at each stage of a job, and what the farm makes of it.

What must hold afterwards stands in `cell`. Peer: debusine's job stayed with a dead worker.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import redis
from celery import Celery
from kombu import Queue

from benchmarks import apart, breakdowns, cell, kit, leftovers
from benchmarks.cell import LEASE, Fault
from benchmarks.kit import ARCH, Farm
from coordinator.embedded import farm as farms
from coordinator.embedded import machine, preparation, services
from coordinator.embedded.supervisor import Supervisor
from coordinator.model import UpdateState
from workers.wire import broker

#: Seconds within which the container of a cancelled job is gone.
CANCELLED = 10.0


def worker_killed(farm: Farm, _update: int) -> None:
    """All processes of the worker at once."""
    kill(*workers(farm))


def worker_main_killed(farm: Farm, _update: int) -> None:
    """The first process of the worker: those that it forked go on for a while without it."""
    kill(farm.services()["worker"])


def worker_child_killed(farm: Farm, _update: int) -> None:
    """The processes that see attempts through."""
    first = farm.services()["worker"]
    kill(*(pid for pid in workers(farm) if pid != first))


def worker_ended(farm: Farm, _update: int) -> None:
    """As before an upgrade: its containers run on, and the next process has the very same ones."""
    before = leftovers.containers(farm)
    first = farm.services()["worker"]
    os.kill(first, signal.SIGTERM)
    kit.wait_for(lambda: not farms.alive(first), 30)
    if not leftovers.containers(farm) >= before:
        raise RuntimeError("a worker that was told to end by TERM took its container with it")


def worker_stopped(farm: Farm, _update: int) -> None:
    """As by `patchfarm down`: its containers end with it, and it gives back what it has."""
    first = farm.services()["worker"]
    os.kill(first, signal.SIGINT)
    kit.wait_for(lambda: not farms.alive(first), 60)
    if leftovers.containers(farm):
        raise RuntimeError("a worker that was told to end by INT has left its container running")


def worker_frozen(farm: Farm, _update: int) -> None:
    """For longer than its lease: what it then says bears an old fencing number."""
    frozen(workers(farm))


def engine_killed(farm: Farm, _update: int) -> None:
    """The engine's process."""
    kill(farm.services()["engine"])


def engine_frozen(farm: Farm, _update: int) -> None:
    """For longer than a lease, as by a suspended machine: nobody loses one by that."""
    frozen([farm.services()["engine"]])


def web_killed(farm: Farm, _update: int) -> None:
    """The web service's process."""
    kill(farm.services()["web"])


def web_silent(farm: Farm, _update: int) -> None:
    """No worker reaches the coordinator, and no command, for longer than a lease."""
    frozen([farm.services()["web"]])


def redis_killed(farm: Farm, _update: int) -> None:
    """The broker's process."""
    kill(farm.services()["redis"])


def redis_wiped(farm: Farm, _update: int) -> None:
    """The broker forgets everything, and runs on."""
    socket = redis.Redis(unix_socket_path=str(services.redis_socket(sockets(farm))))
    socket.flushall()
    socket.close()


def redis_lost(farm: Farm, _update: int) -> None:
    """The broker ends, and its files are gone when it is there again."""
    control = Supervisor(services.control_socket(sockets(farm)))
    control.let_go("redis")
    for path in farm.home.redis.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    control.take_up("redis")


def rung_twice(farm: Farm, update: int) -> None:
    """Ten bells too many."""
    app = Celery("bell", set_as_current=False)
    address = f"redis+socket://{services.redis_socket(sockets(farm))}?virtual_host=0"
    queue = broker.queue_of(machine.worker_name())
    app.conf.update(broker.settings(address, farm.settings.farm), task_queues=[Queue(queue)])
    for _ in range(10):
        app.send_task(broker.TASK, args=[f"{update}/build/{ARCH}", 1], queue=queue)
    app.close()


def cancelled(farm: Farm, update: int) -> str:
    """By a person: the container is gone soon, and what did not end well has not succeeded either."""
    farm.client.cancel(update)
    seconds = kit.wait_for(lambda: not leftovers.containers(farm), CANCELLED)
    return f"no container after {seconds:.1f} s"


#: A worker that is cut off for longer than its lease loses what it has; so does one whose engine ends its containers.
FAULTS: dict[str, Fault] = {
    fault.inject.__name__: fault
    for fault in (
        Fault(worker_killed, restarts=("worker",), adopts=True),
        Fault(worker_main_killed, restarts=("worker",)),
        Fault(worker_child_killed, adopts=True),
        Fault(worker_ended, restarts=("worker",), adopts=True),
        Fault(worker_stopped, most=1, restarts=("worker",)),
        Fault(worker_frozen, most=1),
        Fault(engine_killed, restarts=("engine",)),
        Fault(engine_frozen),
        Fault(web_killed, restarts=("web",)),
        Fault(web_silent, most=1),
        Fault(redis_killed, restarts=("redis",)),
        Fault(redis_wiped),
        Fault(redis_lost, restarts=("redis",)),
        Fault(rung_twice),
        Fault(cancelled, state=UpdateState.FAILED),
        Fault(breakdowns.engine_of_containers_killed, most=1),
        Fault(breakdowns.disk_of_worker_full, most=2),
        Fault(breakdowns.disk_of_engine_full, most=2),
        Fault(breakdowns.disk_of_farm_full, most=1),
    )
}


def workers(farm: Farm) -> list[int]:
    """Every process of the embedded worker, the first one first, so that none is left to notice."""
    return [process.pid for process in farm.processes() if process.name.startswith("worker")]


def sockets(farm: Farm) -> Path:
    """Where the farm's sockets are."""
    return preparation.sockets(farm.home)


def frozen(pids: Sequence[int]) -> None:
    """Stop them for longer than a lease, and let them go on."""
    send(signal.SIGSTOP, pids)
    time.sleep(LEASE + 6)
    send(signal.SIGCONT, pids)


def kill(*pids: int) -> None:
    """With 9, as nothing can be ready for."""
    send(signal.SIGKILL, pids)


def send(number: signal.Signals, pids: Sequence[int]) -> None:
    """A signal to all of them; one that has ended by itself is as good."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def main() -> None:
    """Every cell, or those that were asked for; the exit code is 1 where one is wrong."""
    asked = cell.asked(__doc__, FAULTS)
    of_machine = any(FAULTS[name].inject.__module__ == breakdowns.__name__ for name in asked.faults)
    if of_machine and apart.here("benchmarks.faults", sys.argv[1:]):
        apart.furnish()
    before = apart.disks if of_machine else None
    with kit.farm("faults", cell.with_a_slow_preparation, before, slots="1", lease_seconds=str(LEASE)) as farm:
        cell.warm_up(farm)
        cells = [cell.tell(cell.run(farm, name, FAULTS[name], stage)) for name, stage in asked]
        cell.conclude(farm, "two jobs of six seconds each, and one fault", cells, asked.json)


if __name__ == "__main__":
    main()
