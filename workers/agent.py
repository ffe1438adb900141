# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker as a Celery application: it answers the doorbell and gives signs of life.

A message is only a hint: whether there is anything to do, and what, the coordinator says over HTTP.
"""

import gc
import logging
import os
import platform
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import docker
import requests
from celery import Celery, signals
from kombu import Queue

from workers import bootstrap, held
from workers.attempt import Tools
from workers.cache import Cache
from workers.config import WorkerConfig
from workers.ending import BY_SIGNAL, End, Ending
from workers.errors import WorkerError
from workers.images import DockerImages
from workers.keeper import Keeper
from workers.layers import DockerLayers
from workers.mirror import Mirror
from workers.proxy import DockerProxy, own_arch
from workers.sandbox import SandboxError
from workers.sandbox.docker import DockerSandbox, connect, owner
from workers.transfer import Farm, HttpFarm
from workers.wire import broker
from workers.worker import Worker

_LOG = logging.getLogger(__name__)

#: Seconds between two signs of life of a worker, busy or not.
SIGN_OF_LIFE = 15.0
#: Seconds between two looks at whether an attempt has lost its process.
_LOOK = 2.0
#: Seconds between two looks at whether the images that are kept have become too large.
_COLLECT = 300.0


def main(config: WorkerConfig) -> None:
    """Run a worker until it is told to end: by TERM its containers run on for its next process, by INT they end too."""
    config.home.mkdir(parents=True, exist_ok=True)
    keeper = Keeper(config.home)
    _clear(config.home, keeper)
    client = connect()
    swept = DockerSandbox(client, config.farm, config.worker).sweep(keeper)
    if swept:
        _LOG.info("removed %s containers and images that nobody has in hand", swept)
    ending = Ending()
    worker, farm = assemble(config, ending)
    app = celery_app(worker)
    _while_it_runs(ending, SIGN_OF_LIFE, lambda: farm.sign_on(config.offer))
    _while_it_runs(ending, _LOOK, keeper.adopt_orphans)
    _while_it_runs(ending, _COLLECT, Cache(client, config.home, config.cache_bytes).collect)
    keeper.adopt_orphans()
    # The collector then writes to nothing that is there: pages stay shared with the processes that Celery forks.
    signals.worker_before_create_process.connect(lambda **_: gc.freeze(), weak=False)
    try:
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
    finally:
        keeper.end(ending.now())
        # An engine that is not there has nothing that needs it; what it has afterwards is used again.
        with suppress(SandboxError):
            _proxy(config, client).retire()


def assemble(config: WorkerConfig, ending: Ending) -> tuple[Worker, Farm]:
    """The worker that the settings describe, and its way to the coordinator."""
    farm = HttpFarm(config.url, config.worker, config.token)
    return Worker(config, farm, _workshop(config, farm), ending.now), farm


def _workshop(config: WorkerConfig, farm: Farm) -> Callable[[], Tools]:
    """Makes the tools of an attempt, once in each process: no connection survives a fork."""

    @cache
    def tools_of(_process: int) -> Tools:
        client = connect()
        images = DockerImages(client, config.home, owner(config.farm, config.worker), config.keyrings)
        return Tools(
            farm=farm,
            sandbox=DockerSandbox(client, config.farm, config.worker, _proxy(config, client)),
            images=images,
            layers=DockerLayers(client, config.home, Mirror()),
            farm_id=config.farm,
            worker=config.worker,
        )

    return lambda: tools_of(os.getpid())


def _proxy(config: WorkerConfig, client: docker.DockerClient) -> DockerProxy:
    mine = owner(config.farm, config.worker)
    images = DockerImages(client, config.home, mine, config.keyrings)
    return DockerProxy(client, images, config.home, own_arch(platform.machine(), config.tiers), mine)


def _clear(home: Path, keeper: Keeper) -> None:
    """Remove what killed processes left unfinished. Attempts are no such thing, and may be making an image just now."""
    if keeper.none_is_in_hand():
        bootstrap.clear(home)
    held.clear(home)
    for folder in home.glob("layer-*/"):
        shutil.rmtree(folder, ignore_errors=True)


def celery_app(worker: Worker) -> Celery:
    """Celery with the one task, on the queue that rings for this worker."""
    config = worker.config
    app = Celery("patchfarm", set_as_current=False)
    app.conf.update(broker.settings(config.broker, config.farm))
    queue = broker.queue_of(config.worker)
    app.conf.task_queues = [Queue(queue, routing_key=queue)]

    def work(job: str, attempt: int) -> None:
        """Answer one ring; for what it was rung is of no consequence."""
        _LOG.info("rung for %r/%r", job, attempt)
        worker.work()

    app.task(name=broker.TASK, ignore_result=True)(work)
    return app


def _while_it_runs(ending: Ending, pause: float, work: Callable[[], object]) -> None:
    """Do it again and again, from the moment Celery listens to the one it is told to end."""
    ended = threading.Event()

    def end(sig: str, **_: object) -> None:
        ending.ask(_SIGNALS.get(sig, End.LET_GO))
        ended.set()

    thread = threading.Thread(target=again, args=(ended, pause, work), daemon=True)
    # Kept alive by these references: Celery itself keeps only weak ones.
    signals.worker_ready.connect(lambda **_: thread.start(), weak=False)
    signals.worker_shutting_down.connect(end, weak=False)


def again(ended: threading.Event, pause: float, work: Callable[[], object]) -> None:
    """Do it until the event is set, whatever comes of it: every `pause` seconds, and sooner after what may pass."""
    while not ended.is_set():
        wait = pause
        try:
            work()
        except (requests.RequestException, WorkerError, OSError) as error:
            _LOG.warning("%s", error)
            wait = pause / 30
        except Exception:  # noqa: BLE001  # the thread's edge: nobody would notice that it has ended
            _LOG.exception("this was not expected, and is tried again")
        ended.wait(wait)


_SIGNALS = {number.name: how for number, how in BY_SIGNAL.items()}
