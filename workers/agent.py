# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker as a Celery application: it answers the doorbell and gives signs of life.

A message is only a hint: whether there is anything to do, and what, the coordinator says over HTTP.
"""

import logging
import multiprocessing
import shutil
import threading
from multiprocessing.synchronize import Event
from pathlib import Path

import requests
from celery import Celery, Task, signals
from kombu import Queue

from workers.config import WorkerConfig
from workers.errors import WorkerError
from workers.images import DockerImages, Images
from workers.sandbox import Sandbox
from workers.sandbox.docker import DockerSandbox, connect
from workers.transfer import Farm, HttpFarm
from workers.wire import broker
from workers.wire.arch import Arch, queue_of
from workers.wire.order import JobKey, JobKind
from workers.worker import Worker

_LOG = logging.getLogger(__name__)

#: Seconds between two signs of life of a worker, busy or not.
SIGN_OF_LIFE = 15.0


def main(config: WorkerConfig) -> None:
    """Run a worker until it is told to end: TERM stops its containers, reports them and leaves."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    config.home.mkdir(parents=True, exist_ok=True)
    _clear(config.home)
    swept = DockerSandbox(connect(), config.farm, config.worker).sweep()
    if swept:
        _LOG.info("removed %s containers and images that an earlier process left behind", swept)
    farm = HttpFarm(config.url, config.worker, config.token)
    # Shared with the processes that Celery forks: they stop what runs when the parent is told to end.
    ending = multiprocessing.Event()
    worker = Worker(config, farm, lambda: _engine(config), ending.is_set)
    app = celery_app(worker)
    _sign_on_while_it_runs(config, farm, ending)
    app.worker_main(
        [
            "worker",
            "--pool=prefork",
            f"--concurrency={config.slots}",
            f"--hostname={config.worker}@%h",
            "--without-gossip",
            "--without-mingle",
            "--loglevel=INFO",
        ]
    )


def _clear(home: Path) -> None:
    """Remove the scratch folders that a killed process left in a worker's home."""
    for pattern in ("attempt-*", "image-*", "mmdebstrap.*"):
        for folder in home.glob(pattern):
            shutil.rmtree(folder, ignore_errors=True)


def celery_app(worker: Worker) -> Celery:
    """Celery with the one task, on the queues of the architectures that the worker offers."""
    config = worker.config
    app = Celery("patchfarm", set_as_current=False)
    app.conf.update(broker.settings(config.broker, config.farm))
    app.conf.task_queues = [Queue(queue_of(arch), routing_key=queue_of(arch)) for arch in config.tiers]
    hosts = {queue_of(arch): arch for arch in config.tiers}

    def work(task: "Task[..., None]", update: int, kind: str, arch: str, attempt: int) -> None:
        """Answer one ring. The queue it came by says on which architecture `all` is built."""
        job = JobKey(int(update), JobKind(kind), Arch(arch))
        came_by = (task.request.delivery_info or {})["routing_key"]
        worker.work(job, int(attempt), hosts[str(came_by)])

    app.task(bind=True, name=broker.TASK, ignore_result=True)(work)
    return app


def _engine(config: WorkerConfig) -> tuple[Sandbox, Images]:
    client = connect()
    return DockerSandbox(client, config.farm, config.worker), DockerImages(client, config.home)


def _sign_on_while_it_runs(config: WorkerConfig, farm: Farm, ending: Event) -> None:
    """From the moment Celery listens to the one it is told to end."""

    def give_signs() -> None:
        while not ending.is_set():
            pause = SIGN_OF_LIFE
            try:
                farm.sign_on(config.offer)
            except (requests.RequestException, WorkerError) as error:
                _LOG.warning("no sign of life was taken: %s", error)
                pause = SIGN_OF_LIFE / 30
            ending.wait(pause)

    thread = threading.Thread(target=give_signs, daemon=True)
    # Kept alive by these references: Celery itself keeps only weak ones.
    signals.worker_ready.connect(lambda **_: thread.start(), weak=False)
    signals.worker_shutting_down.connect(lambda **_: ending.set(), weak=False)
