# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker as a Celery application on a real Redis: who answers which ring, and how it ends."""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import docker
import pytest
from celery import Celery
from kombu import Queue

from tests.workers.kit import ORDER, MemoryFarm, order, worker
from workers import agent, held
from workers.agent import again, celery_app
from workers.ending import End
from workers.images import Base
from workers.keeper import Keeper
from workers.wire import broker
from workers.wire.arch import Arch, Tier
from workers.wire.codec import decode, encode
from workers.wire.order import Environment, Order, Step
from workers.wire.report import Heartbeat, Offer, Outcome, Report


def test_a_worker_listens_to_its_own_bell_alone(tmp_path: Path) -> None:
    app = celery_app(worker(tmp_path, MemoryFarm(), lambda: pytest.fail("no engine"), lambda: End.NOT_YET))
    assert {queue.name for queue in app.conf.task_queues} == {"bell.w1"}
    assert broker.TASK in app.tasks


def test_both_sides_use_the_broker_alike() -> None:
    conf = Celery("x", set_as_current=False).conf
    conf.update(broker.settings("redis://127.0.0.1/0", "f1"))
    assert conf.accept_content == ["json"]
    assert (conf.task_acks_late, conf.worker_disable_prefetch, conf.task_create_missing_queues) == (False, True, False)
    assert conf.broker_transport_options["global_keyprefix"] == "f1:"


def test_nobody_ends_a_worker_or_its_attempt_through_the_broker() -> None:
    conf = Celery("x", set_as_current=False).conf
    conf.update(broker.settings("redis://127.0.0.1/0", "f1"))
    assert conf.worker_enable_remote_control is False


@pytest.mark.parametrize("error", [OSError("no route"), KeyError("Labels"), ValueError("not JSON")])
def test_what_a_worker_does_all_the_time_survives_whatever_it_is_told(error: Exception) -> None:
    ended = threading.Event()
    answers = [error, error]

    def work() -> None:
        if answers:
            raise answers.pop()
        ended.set()

    again(ended, 0, work)
    assert ended.is_set()


def test_an_image_that_an_attempt_may_be_making_is_not_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "image-1").mkdir()
    with held.take(tmp_path, ORDER, Tier.NATIVE):
        agent._clear(tmp_path, Keeper(tmp_path))
        assert (tmp_path / "image-1").exists()
    agent._clear(tmp_path, Keeper(tmp_path))
    assert not (tmp_path / "image-1").exists()


class _Coordinator(ThreadingHTTPServer):
    """Answers one claim with the given order and every other with a conflict; keeps what it was told."""

    def __init__(self, order: Order) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.order: Order | None = order
        self.log = b""
        self.reports: queue.Queue[Report] = queue.Queue()
        self.signs: queue.Queue[Offer] = queue.Queue()
        self.running = threading.Event()

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if method == "PUT" and path == "/api/v1/workers/w1":
            self.signs.put(decode(Offer, body))
            return 204, b""
        action = path.partition("?")[0].rpartition("/")[2]
        if action == "claim":
            order, self.order = self.order, None
            return (200, encode(order).encode()) if order else (409, b"{}")
        if action == "report":
            self.reports.put(decode(Report, body))
            return 204, b""
        if action == "log":
            offset = int(path.rpartition("offset=")[2])
            assert offset <= len(self.log)
            self.log = self.log[:offset] + body if offset + len(body) > len(self.log) else self.log
            if b"awake" in self.log:
                self.running.set()
            return 200, b'{"size":%d}' % len(self.log)
        return 200, encode(Heartbeat(cancel=False, lease_seconds=60)).encode()


class _Handler(BaseHTTPRequestHandler):
    server: _Coordinator

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, content = self.server.answer(self.command, self.path, body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_PUT = _answer  # noqa: N815  # the server's own names

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """A Redis of its own on a Unix socket."""
    socket = tmp_path / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while not socket.exists():
            time.sleep(0.05)
        yield f"redis+socket://{socket}?virtual_host=0"
        process.terminate()


@pytest.fixture
def coordinator(debian: Environment, base: Callable[[Arch], Base]) -> Iterator[_Coordinator]:
    """A coordinator with an order that takes ten seconds, and says so."""
    base(Arch.AMD64)
    script = "echo awake; for n in $(seq 50); do echo line $n; sleep 0.2; done"
    given = order(environment=debian, inputs=(), steps=(Step("count", (("sh", "-c", script),)),), lease_seconds=15)
    with _Coordinator(given) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@dataclass
class Host:
    """A machine with one worker for amd64: the processes of it that were started so far."""

    environment: dict[str, str]
    processes: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    def start(self) -> "subprocess.Popen[bytes]":
        """`python -m workers`, once more."""
        command = [sys.executable, "-m", "workers"]
        self.processes.append(subprocess.Popen(command, env=self.environment, start_new_session=True))
        return self.processes[-1]

    def end(self) -> None:
        """Whatever runs yet, with all that it started."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def host(redis: str, coordinator: _Coordinator, tmp_path: Path) -> Iterator[Host]:
    (tmp_path / "token").write_text("sesame")
    host = Host(
        {
            **os.environ,
            "PATCHFARM_URL": f"http://127.0.0.1:{coordinator.server_port}",
            "PATCHFARM_BROKER": redis,
            "PATCHFARM_CORES": "1",
            "PATCHFARM_MEMORY_MIB": "1024",
            "PATCHFARM_WORKER_NAME": "w1",
            "PATCHFARM_TOKEN_FILE": str(tmp_path / "token"),
            "PATCHFARM_FARM": "testfarm",
            "PATCHFARM_WORKER_HOME": str(tmp_path / "home"),
            "PATCHFARM_ARCHES": "amd64",
        }
    )
    yield host
    host.end()


@pytest.fixture
def at_work(host: Host, coordinator: _Coordinator, redis: str) -> "subprocess.Popen[bytes]":
    """The worker was rung for, twice, and its container runs."""
    process = host.start()
    offer = Offer("w1", {Arch.AMD64: Tier.NATIVE}, 1, socket.gethostname(), 1, 1 << 30)
    assert coordinator.signs.get(timeout=60) == offer
    with closing(Celery("bell", set_as_current=False)) as bell:
        bell.conf.update(broker.settings(redis, "testfarm"), task_queues=[Queue(broker.queue_of("w1"))])
        for _ in range(2):
            bell.send_task(broker.TASK, args=["7/build/amd64", 3], queue=broker.queue_of("w1"))
    assert coordinator.running.wait(120)
    return process


def left_behind(client: docker.DockerClient) -> list[object]:
    """The containers of attempts that there are."""
    return list(client.containers.list(all=True, filters={"label": ["patchfarm.farm=testfarm", "patchfarm.attempt"]}))


def check_all_was_seen(coordinator: _Coordinator, client: docker.DockerClient) -> None:
    """The attempt ends well after it changed hands, its log is whole, and nothing is left of it."""
    report = coordinator.reports.get(timeout=90)
    assert (report.outcome, report.reason, report.exit_code, report.adopted) == (Outcome.FINISHED, "", 0, 1)
    lines = [line for line in coordinator.log.decode().splitlines() if line.startswith("line ")]
    assert lines == [f"line {number}" for number in range(1, 51)]
    assert report.log_sha256 == sha256(coordinator.log).hexdigest()
    until = time.monotonic() + 30
    while left_behind(client) and time.monotonic() < until:
        time.sleep(0.1)
    assert left_behind(client) == []


@pytest.mark.engine
@pytest.mark.timeout(300)
def test_a_worker_that_is_interrupted_ends_its_container_and_hands_the_attempt_back(
    at_work: "subprocess.Popen[bytes]", coordinator: _Coordinator, client: docker.DockerClient
) -> None:
    at_work.send_signal(signal.SIGINT)
    report = coordinator.reports.get(timeout=60)
    assert (report.outcome, report.reason) == (Outcome.GIVEN_BACK, "the worker was shut down")
    assert at_work.wait(60) == 0
    assert left_behind(client) == []


@pytest.mark.engine
@pytest.mark.timeout(300)
def test_a_worker_that_is_told_to_end_leaves_its_container_to_the_next_process(
    at_work: "subprocess.Popen[bytes]", host: Host, coordinator: _Coordinator, client: docker.DockerClient
) -> None:
    at_work.send_signal(signal.SIGTERM)
    assert at_work.wait(60) == 0
    assert coordinator.reports.empty()
    host.start()
    check_all_was_seen(coordinator, client)


@pytest.mark.engine
@pytest.mark.timeout(300)
def test_a_worker_that_is_killed_with_all_its_processes_loses_nothing(
    at_work: "subprocess.Popen[bytes]", host: Host, coordinator: _Coordinator, client: docker.DockerClient
) -> None:
    os.killpg(at_work.pid, signal.SIGKILL)
    host.start()
    check_all_was_seen(coordinator, client)


@pytest.mark.engine
@pytest.mark.timeout(300)
def test_a_worker_whose_one_process_is_killed_gives_its_attempt_to_another(
    at_work: "subprocess.Popen[bytes]", coordinator: _Coordinator, client: docker.DockerClient
) -> None:
    children = Path(f"/proc/{at_work.pid}/task/{at_work.pid}/children").read_text().split()
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    check_all_was_seen(coordinator, client)
