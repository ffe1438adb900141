# SPDX-License-Identifier: GPL-3.0-or-later
"""What it costs when a worker dies in mid-build: one that is started again, and one that never comes back.

The first must adopt its container and lose no line of the log; the second must cost no more than its lease. Peer:
debusine had not noticed after 5:49 min.
"""

import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import docker

from benchmarks import kit
from benchmarks.kit import ARCH, Farm
from coordinator import app
from coordinator.config import Settings
from coordinator.embedded import preparation
from coordinator.model import Job, Role

#: The target of an adoption, in seconds.
ADOPTED = 5.0
#: How many lines the build prints, one every tenth of a second, and after how many of them its worker dies.
LINES, _DIES_AFTER = 300, 50
_PRINTS = kit.RULES.format(command=f"@for i in $$(seq {LINES}); do echo line $$i; sleep 0.1; done")
OTHER = "other"


@dataclass(frozen=True)
class Adoption:
    """A build whose worker was killed and started again. `seconds` are until another process had the attempt."""

    seconds: float
    same_container: bool
    adopted: int
    lines: int
    attempts: int


def adoption(farm: Farm) -> Adoption:
    """Kill every process of the worker at once in mid-build; supervisord starts it again."""
    update = begin(farm, "adopted")
    before = containers(farm)
    for process in worker_processes(farm):
        # One that has ended by itself, since its parent is gone, is as dead as it should be.
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    seconds = kit.wait_for(lambda: _times_adopted(farm) > 0, 120, pause=0.02)
    same = bool(before) and containers(farm) == before
    job = ended(farm, update)
    log = farm.client.log(farm.client.update(update).key(job), job.attempt, 0).data.decode(errors="replace")
    lines = re.findall(r"^line (\d+)$", log, re.MULTILINE)
    whole = len(lines) if lines == [str(number) for number in range(1, len(lines) + 1)] else 0
    return Adoption(seconds, same, job.report.adopted if job.report else 0, whole, job.attempt)


def loss(farm: Farm) -> float:
    """Freeze the worker in mid-build, so that it never comes back; seconds until another one has the job."""
    update = begin(farm, "lost")
    with another_worker(farm):
        frozen = worker_processes(farm)
        for process in frozen:
            os.kill(process, signal.SIGSTOP)
        try:
            return kit.wait_for(lambda: bool((job := farm.build(update, ARCH)) and job.worker == OTHER), 600)
        finally:
            for process in frozen:
                os.kill(process, signal.SIGCONT)


def begin(farm: Farm, name: str) -> int:
    """Submit a build that prints, and wait until it is in the middle of that."""
    update = farm.submit(name, "1.0-1", _PRINTS)
    kit.wait_for(lambda: (job := farm.build(update, ARCH)) is not None and job.started_at is not None)
    key = farm.client.update(update).key(job) if (job := farm.build(update, ARCH)) else None
    if key is None:
        raise RuntimeError("the update lost its build")
    kit.wait_for(lambda: b"line %d\n" % _DIES_AFTER in farm.client.log(key, 1, 0).data)
    return update


def ended(farm: Farm, update: int) -> Job:
    """The build, when it is over."""
    kit.wait_until_built(farm, update)
    job = farm.build(update, ARCH)
    if job is None:
        raise RuntimeError("the update lost its build")
    return job


def worker_processes(farm: Farm) -> list[int]:
    """Every process of the embedded worker, the first one first, so that none is left to notice."""
    return [process.pid for process in farm.processes() if process.name.startswith("worker")]


def containers(farm: Farm) -> set[str]:
    """The ids of the containers of the farm's attempts."""
    client = docker.from_env()
    try:
        labels = [f"patchfarm.farm={farm.settings.farm}", "patchfarm.attempt"]
        return {str(found["Id"]) for found in client.api.containers(filters={"label": labels})}
    finally:
        client.close()


def _times_adopted(farm: Farm) -> int:
    """As the worker itself writes it down, in the folder of the attempt that it has in hand."""
    kept = farm.home.worker.glob("attempts/[0-9]*/progress.json")
    found = (re.search(r'"adopted":\s*(\d+)', path.read_text()) for path in kept)
    return max((int(match[1]) for match in found if match), default=0)


@contextmanager
def another_worker(farm: Farm, *inside: str, url: str = "") -> Iterator[None]:
    """A second worker of the farm, on this machine, with a name, a token and a folder of its own.

    `inside` is what its command is run by, as `ip netns exec NAME`; `url` is where it reaches the farm from there.
    """
    token = secrets.token_urlsafe(32)
    file = farm.home.secrets / f"{OTHER}.token"
    preparation.write(file, f"{token}\n")
    store = app.store(farm.settings)
    preparation.grant(store, OTHER, Role.WORKER, token)
    store.close()
    process = subprocess.Popen(
        [*inside, sys.executable, "-m", "workers"],
        cwd=kit.ROOT,
        env={
            **os.environ,
            **_told(farm.settings, farm),
            "PATCHFARM_TOKEN_FILE": str(file),
            **({"PATCHFARM_URL": url} if url else {}),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        kit.wait_for(lambda: any(duty.worker.name == OTHER for duty in farm.client.workers()), 60)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def _told(settings: Settings, farm: Farm) -> dict[str, str]:
    return {
        "PATCHFARM_URL": settings.url,
        "PATCHFARM_BROKER": f"redis+socket://{farm.home.run / 'redis.sock'}?virtual_host=0",
        "PATCHFARM_FARM": settings.farm,
        "PATCHFARM_WORKER_NAME": OTHER,
        "PATCHFARM_WORKER_HOME": str(farm.home.root / OTHER),
        "PATCHFARM_KEYRINGS": str(farm.home.keyrings),
        "PATCHFARM_SLOTS": "1",
        "PATCHFARM_ARCHES": ARCH,
    }


def main() -> None:
    """Both, on one farm."""
    parser = kit.arguments(__doc__)
    parser.add_argument("--only", choices=("adoption", "loss"), help="one of the two")
    asked = parser.parse_args()
    figures: dict[str, object] = {}
    with kit.farm("recovery", kit.only_here, slots="1") as farm:
        if asked.only != "loss":
            figures["adoption"] = vars(_show(adoption(farm)))
        if asked.only != "adoption":
            figures["loss_seconds"] = lost = loss(farm)
            kit.verdict("until another worker has the job of a lost one", lost, farm.settings.lease_seconds, "s")
    kit.write(asked.json, figures)


def _show(found: Adoption) -> Adoption:
    rows = [(name.replace("_", " "), str(value)) for name, value in vars(found).items() if name != "seconds"]
    kit.table(f"killed after {_DIES_AFTER} of {LINES} lines", ("", "found"), rows)
    kit.verdict("until another process had the attempt", found.seconds, ADOPTED, "s")
    kit.verdict("lines lost", LINES - found.lines, 0, "")
    return found


if __name__ == "__main__":
    main()
