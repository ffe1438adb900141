# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded redis as it is really started: it rings, and nobody who reaches it can make it do anything else."""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from redis.exceptions import BusyLoadingError, NoPermissionError
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from coordinator.config import Home
from coordinator.embedded import services
from tests.embedded.test_services import SITE

pytestmark = pytest.mark.system


@retry(
    retry=retry_if_exception_type((redis.exceptions.ConnectionError, BusyLoadingError)),
    stop=stop_after_delay(20),
    wait=wait_fixed(0.05),
    reraise=True,
)
def reached(path: Path) -> redis.Redis:
    client = redis.Redis(unix_socket_path=str(path))
    client.ping()
    return client


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis.Redis]:
    home = Home(tmp_path_factory.mktemp("farm"))
    home.redis.mkdir()
    home.run.mkdir()
    program = services.programs(replace(SITE, home=home, sockets=home.run))[0]
    with subprocess.Popen(program.argv, stdout=subprocess.DEVNULL) as process:
        client = reached(services.redis_socket(home.run))
        yield client
        client.close()
        process.terminate()


def test_it_takes_messages_and_gives_them(broker: redis.Redis) -> None:
    broker.lpush("f123456:jobs", "ring")
    assert broker.brpop(["f123456:jobs"], timeout=1) == (b"f123456:jobs", b"ring")


@pytest.mark.parametrize(
    "command",
    [
        ("CONFIG", "SET", "dir", "/tmp"),
        ("CONFIG", "GET", "*"),
        ("REPLICAOF", "192.0.2.1", "6379"),
        ("MIGRATE", "192.0.2.1", "6379", "key", "0", "1000"),
        ("RESTORE", "key", "0", "payload"),
        ("MODULE", "LIST"),
        ("SAVE",),
        ("SHUTDOWN",),
        ("MONITOR",),
        ("ACL", "LIST"),
    ],
)
def test_it_writes_no_file_and_follows_nobody(broker: redis.Redis, command: tuple[str, ...]) -> None:
    with pytest.raises(NoPermissionError):
        broker.execute_command(*command)  # type: ignore[no-untyped-call]  # the library says nothing of it
