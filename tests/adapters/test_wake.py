# SPDX-License-Identifier: GPL-3.0-or-later
"""The doorbells of engine and workers on a real redis, and on a broker that takes connections and says nothing."""

import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from coordinator.errors import BrokerDown
from coordinator.queue.bell import CeleryBell
from coordinator.queue.wake import RedisWake
from workers.wire.arch import Arch
from workers.wire.broker import queue_of
from workers.wire.order import JobKey, JobKind

#: In seconds: short, for nothing here is ever far away.
PATIENCE = 0.2
JOB = JobKey(7, JobKind.BUILD, Arch.AMD64)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Somewhere with a short name: a socket's address is no longer than some hundred bytes."""
    with tempfile.TemporaryDirectory(prefix="farm-") as made:
        yield Path(made)


@pytest.fixture
def broker(folder: Path) -> Iterator[str]:
    """A redis of our own."""
    path = folder / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert any("accept connections" in line for line in server.stdout)
        yield f"redis+socket://{path}?virtual_host=0"
        server.terminate()


@pytest.fixture
def silent(folder: Path) -> Iterator[str]:
    """A broker that never says a word."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "redis.sock"))
        listening.listen()
        yield f"redis+socket://{folder}/redis.sock?virtual_host=0"


@pytest.mark.system
def test_however_often_it_is_poked_the_list_has_one_entry(broker: str) -> None:
    wake = RedisWake(broker, "farm")
    for _ in range(5):
        wake.poke()
    client = redis.Redis.from_url(broker.replace("redis+socket", "unix").replace("virtual_host", "db"))
    assert client.lrange("farm:wake", 0, -1) == [b"1"]
    client.close()


@pytest.mark.system
def test_a_poke_wakes_whoever_waits_and_once(broker: str) -> None:
    slept: list[float] = []
    wake = RedisWake(broker, "farm", sleep=slept.append)
    wake.poke()
    wake.wait(60)
    RedisWake(broker, "farm", PATIENCE, slept.append).wait(60)
    assert slept == []


def test_a_broker_that_says_nothing_holds_nobody_up(silent: str) -> None:
    slept: list[float] = []
    wake = RedisWake(silent, "farm", PATIENCE, slept.append)
    wake.poke()
    wake.wait(1)
    assert slept == [1]


def test_a_broker_that_is_not_there_holds_nobody_up(folder: Path) -> None:
    slept: list[float] = []
    wake = RedisWake(f"redis+socket://{folder}/none.sock?virtual_host=0", "farm", sleep=slept.append)
    wake.poke()
    wake.wait(1)
    assert slept == [1]


@pytest.mark.system
def test_a_ring_lies_in_the_queue_of_the_worker_that_it_is_for_and_in_no_other(broker: str) -> None:
    bell = CeleryBell(broker, "farm")
    bell.ring("w1", JOB, 3)
    bell.ring("w2", JOB, 3)
    bell.ring("w1", JOB, 3)
    client = redis.Redis.from_url(broker.replace("redis+socket", "unix").replace("virtual_host", "db"))
    assert [client.llen(f"farm:{queue_of(worker)}") for worker in ("w1", "w2", "w3")] == [2, 1, 0]
    client.close()


def test_a_bell_whose_broker_says_nothing_or_is_not_there_says_so_soon(silent: str) -> None:
    for url in (silent, silent.replace("redis.sock", "none.sock")):
        with pytest.raises(BrokerDown):
            CeleryBell(url, "farm", PATIENCE).ring("w1", JOB, 3)
