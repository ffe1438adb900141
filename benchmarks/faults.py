# SPDX-License-Identifier: GPL-3.0-or-later
"""The fault matrix, run for real: each fault at each stage of a job, and what the farm makes of it.

After each the update has come to where it belongs, every job was reported once, its log has every line once and in
order, and no container, image, network or folder of an attempt is left. Peer: debusine's job stayed with a dead worker.
"""

import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import docker
import redis
from celery import Celery
from kombu import Queue

from benchmarks import kit
from benchmarks.kit import ARCH, SUITE, Farm
from coordinator.embedded import machine, preparation
from coordinator.errors import PatchfarmError
from coordinator.model import ENDED, Job, JobState, Update, UpdateState
from tests.sources import Person, make_source
from workers.wire import broker
from workers.wire.order import JobKind

#: Lines that build and test print, one each tenth of a second, and after which of them something happens.
LINES, AMID = 60, 15
#: Seconds of a lease in these farms, and how long an update may take to come to rest.
LEASE, REST = 12, 240.0
#: How long after the last report something may be left that is about to go, in seconds.
TIDY = 15.0
_SAYS = f"i=0; while [ $$i -lt {LINES} ]; do i=$$((i+1)); echo line $$i; sleep 0.1; done"
_TEST = f"Test-Command: {_SAYS.replace('$$', '$')}\nDepends:\n"


@dataclass
class Cell:
    """One fault at one stage, and everything that is wrong afterwards."""

    fault: str
    stage: str
    seconds: float = 0.0
    attempts: int = 0
    faults: int = 0
    adopted: int = 0
    wrong: list[str] = field(default_factory=list)


def queued(farm: Farm, update: int) -> None:
    """A build that no worker has yet; sometimes one is faster, and then it has just begun."""
    kit.wait_for(lambda: farm.build(update, ARCH) is not None, pause=0.01)


def preparing(farm: Farm, update: int) -> None:
    """The dependencies are being installed."""
    kit.wait_for(lambda: b"preparing" in log_of(farm, update, JobKind.BUILD))


def building(farm: Farm, update: int) -> None:
    """The package's own step is in the middle of it."""
    kit.wait_for(lambda: f"line {AMID}\n".encode() in log_of(farm, update, JobKind.BUILD))


def reporting(farm: Farm, update: int) -> None:
    """The package's own step is at its end: its files come out, and the report goes off."""
    kit.wait_for(lambda: b"dpkg-genchanges" in log_of(farm, update, JobKind.BUILD), pause=0.01)


def testing(farm: Farm, update: int) -> None:
    """The test is in the middle of it."""
    kit.wait_for(lambda: f"line {AMID}\n".encode() in log_of(farm, update, JobKind.TEST))


STAGES: dict[str, Callable[[Farm, int], None]] = {
    stage.__name__: stage for stage in (queued, preparing, building, reporting, testing)
}


def worker_killed(farm: Farm, _update: int) -> None:
    """All processes of the worker at once."""
    kill(*(process.pid for process in farm.processes() if process.name.startswith("worker")))


def worker_main_killed(farm: Farm, _update: int) -> None:
    """The first process of the worker: those that it forked go on for a while without it."""
    kill(farm.services()["worker"])


def worker_child_killed(farm: Farm, _update: int) -> None:
    """The processes that see attempts through."""
    first = farm.services()["worker"]
    kill(*(it.pid for it in farm.processes() if it.name.startswith("worker") and it.pid != first))


def worker_ended(farm: Farm, _update: int) -> None:
    """As before an upgrade."""
    os.kill(farm.services()["worker"], signal.SIGTERM)


def worker_frozen(farm: Farm, _update: int) -> None:
    """For longer than its lease: what it then says bears an old fencing number."""
    frozen = [process.pid for process in farm.processes() if process.name.startswith("worker")]
    send(signal.SIGSTOP, frozen)
    time.sleep(LEASE + 6)
    send(signal.SIGCONT, frozen)


def engine_killed(farm: Farm, _update: int) -> None:
    """The engine's process."""
    kill(farm.services()["engine"])


def engine_frozen(farm: Farm, _update: int) -> None:
    """For longer than a lease, as by a suspended machine: nobody loses one by that."""
    pid = farm.services()["engine"]
    send(signal.SIGSTOP, [pid])
    time.sleep(LEASE + 6)
    send(signal.SIGCONT, [pid])


def web_killed(farm: Farm, _update: int) -> None:
    """The web service's process."""
    kill(farm.services()["web"])


def web_silent(farm: Farm, _update: int) -> None:
    """No worker reaches the coordinator, and no command, for longer than a lease."""
    pid = farm.services()["web"]
    send(signal.SIGSTOP, [pid])
    time.sleep(LEASE + 6)
    send(signal.SIGCONT, [pid])


def redis_killed(farm: Farm, _update: int) -> None:
    """The broker's process."""
    kill(farm.services()["redis"])


def redis_wiped(farm: Farm, _update: int) -> None:
    """The broker forgets everything."""
    socket = redis.Redis(unix_socket_path=str(sockets(farm) / "redis.sock"))
    for key in socket.scan_iter():
        socket.delete(key)
    socket.close()


def rung_twice(farm: Farm, update: int) -> None:
    """Ten bells too many."""
    app = Celery("bell", set_as_current=False)
    address = f"redis+socket://{sockets(farm) / 'redis.sock'}?virtual_host=0"
    queue = broker.queue_of(machine.worker_name())
    app.conf.update(broker.settings(address, farm.settings.farm), task_queues=[Queue(queue)])
    for _ in range(10):
        app.send_task(broker.TASK, args=[f"{update}/build/{ARCH}", 1], queue=queue)
    app.close()


def engine_of_containers_killed(farm: Farm, _update: int) -> None:
    """Dockerd: its containers end with it, where it does not keep them alive. It is started anew."""
    pid = int(Path("/var/run/docker.pid").read_text())
    kill(pid)
    kit.wait_for(lambda: not Path(f"/proc/{pid}").exists(), 30)
    subprocess.run([str(kit.ROOT / "patchfarm"), "up"], env=dict(farm.environment), check=True, capture_output=True)


FAULTS: dict[str, Callable[[Farm, int], None]] = {
    fault.__name__: fault
    for fault in (
        worker_killed,
        worker_main_killed,
        worker_child_killed,
        worker_ended,
        worker_frozen,
        engine_killed,
        engine_frozen,
        web_killed,
        web_silent,
        redis_killed,
        redis_wiped,
        rung_twice,
        engine_of_containers_killed,
    )
}


def one(farm: Farm, fault: str, stage: str, number: int) -> Cell:
    """Inject the fault at the stage of a new update, wait for rest, and look at everything."""
    cell = Cell(fault, stage)
    # A name that no farm here has had: else its dependencies are found ready, and there is nothing to prepare.
    update = submit(farm, f"cell{number}-{secrets.token_hex(3)}")
    try:
        STAGES[stage](farm, update)
        began = time.monotonic()
        FAULTS[fault](farm, update)
        kit.wait_for(lambda: at_rest(farm, update), REST, pause=0.2)
        cell.seconds = time.monotonic() - began
        look(farm, update, cell)
    except TimeoutError as error:
        cell.wrong.append(f"stuck: {error}; {story(farm, update)}")
    return cell


def submit(farm: Farm, name: str) -> int:
    """A package whose build and test print numbered lines."""
    with tempfile.TemporaryDirectory() as folder:
        person = Person("bench")
        farm.run("submitter", "add", "bench", str(person.write_cert(Path(folder))), "--replace")
        changes = {"rules": kit.RULES.format(command=f"@{_SAYS}"), "tests/control": _TEST}
        dsc = make_source(Path(folder) / "source", name, "1.0-1", person, changes=changes)[0]
        said = farm.run("submit", str(dsc), "--suite", SUITE, "--json")
    match = re.search(r'"id": *(\d+)', said)
    if match is None:
        raise RuntimeError(said)
    return int(match[1])


def at_rest(farm: Farm, update: int) -> bool:
    """Whether people are asked, or it is over; not while nobody answers."""
    now = known(farm, update)
    return now is not None and (now.state == UpdateState.AWAITING_APPROVAL or now.state in ENDED)


def known(farm: Farm, update: int) -> Update | None:
    """The update, where somebody answers."""
    with suppress(PatchfarmError):
        return farm.client.update(update)
    return None


def look(farm: Farm, number: int, cell: Cell) -> None:
    """Write down what is not as it must be."""
    update = farm.client.update(number)
    if update.state != UpdateState.AWAITING_APPROVAL:
        cell.wrong.append(f"the update is {update.state}: {update.reason}")
    ends = [entry for entry in farm.client.history(number) if entry.event == "JobEnded"]
    if len(ends) != len(update.jobs):
        cell.wrong.append(f"{len(update.jobs)} jobs were reported {len(ends)} times")
    for job in update.jobs:
        look_at_job(farm, update, job, cell)
    with suppress(TimeoutError):
        kit.wait_for(lambda: not left(farm), TIDY, pause=0.2)
    cell.wrong += left(farm)
    down = [name for name, pid in farm.services().items() if not Path(f"/proc/{pid}").exists()]
    cell.wrong += [f"{name} is down" for name in down]


def look_at_job(farm: Farm, update: Update, job: Job, cell: Cell) -> None:
    """It succeeded, and the log of the attempt that counted is whole."""
    cell.attempts += job.attempt
    cell.faults += job.farm_faults
    cell.adopted += job.report.adopted if job.report else 0
    if job.state != JobState.SUCCEEDED:
        cell.wrong.append(f"{job.kind} is {job.state}: {job.reason}")
    log = farm.client.log(update.key(job), job.attempt, 0).data.decode(errors="replace")
    if re.findall(r"^line (\d+)$", log, re.MULTILINE) != [str(line) for line in range(1, LINES + 1)]:
        cell.wrong.append(f"the log of {job.kind} has other lines than were printed")


def left(farm: Farm) -> list[str]:
    """What is left of attempts: containers, images, folders."""
    engine = docker.from_env()
    try:
        mine = {"label": [f"patchfarm.farm={farm.settings.farm}", "patchfarm.attempt"]}
        found = [f"container {it['Names'][0]}" for it in engine.api.containers(all=True, filters=mine)]
        found += [f"image {it['Id']}" for it in engine.api.images(filters=mine)]
    finally:
        engine.close()
    return found + [f"folder {path.name}" for path in farm.home.root.glob("*/attempts/*") if "-" in path.name]


def story(farm: Farm, update: int) -> str:
    """The end of what happened, as the farm tells it."""
    now = known(farm, update)
    if now is None:
        return "nobody answers"
    return "; ".join(f"{entry.event} {entry.detail}" for entry in farm.client.history(update)[-6:])


def log_of(farm: Farm, number: int, kind: JobKind) -> bytes:
    """The log of the first attempt so far."""
    update = known(farm, number)
    job = update.job(kind, ARCH) if update else None
    if update is None or job is None or job.attempt == 0:
        return b""
    with suppress(PatchfarmError):
        return farm.client.log(update.key(job), job.attempt, 0).data
    return b""


def sockets(farm: Farm) -> Path:
    """Where the farm's sockets are."""
    return preparation.sockets(farm.home)


def kill(*pids: int) -> None:
    """With 9, as nothing can be ready for."""
    send(signal.SIGKILL, pids)


def send(number: signal.Signals, pids: Sequence[int]) -> None:
    """A signal to all of them; one that has ended by itself is as good."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def with_a_slow_preparation(recipe: str) -> str:
    """The recipe for one architecture, whose dependencies take a few seconds and are never found ready."""
    slow = '["apt-get", "update"],'
    return kit.only_here(recipe).replace(slow, f'["sh", "-c", "echo preparing {{source}}; sleep 3"],\n    {slow}')


def main() -> None:
    """Every cell, or those that were asked for; the exit code is 1 where one is wrong."""
    parser = kit.arguments(__doc__)
    parser.add_argument("--fault", action="append", choices=FAULTS, help="this one alone; may be given again")
    parser.add_argument("--stage", action="append", choices=STAGES, help="this one alone; may be given again")
    asked = parser.parse_args()
    cells: list[Cell] = []
    with kit.farm("faults", with_a_slow_preparation, slots="1", lease_seconds=str(LEASE)) as farm:
        for fault in asked.fault or FAULTS:
            for stage in asked.stage or STAGES:
                cells.append(one(farm, fault, stage, len(cells)))
                last = cells[-1]
                print(f"{fault} {stage}: {'; '.join(last.wrong) or 'well'} ({last.seconds:.1f} s)", flush=True)
    heads = ("fault", "stage", "seconds to rest", "attempts", "farm faults", "adopted", "wrong")
    rows = [(c.fault, c.stage, c.seconds, c.attempts, c.faults, c.adopted, len(c.wrong)) for c in cells]
    kit.table("two jobs of six seconds each, and one fault", heads, rows)
    kit.write(asked.json, {"cells": [vars(cell) for cell in cells]})
    sys.exit(1 if any(cell.wrong for cell in cells) else 0)


if __name__ == "__main__":
    main()
