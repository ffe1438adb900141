# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of adapters share: every kind of store, and servers, started when the first test asks for one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.ports import Store
from coordinator.store.sql import open_store
from tests.adapters.cluster import Cluster, cluster
from tests.fakes.store import MemoryStore


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL of our own."""
    with cluster() as running:
        yield running


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.system)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
    elif request.param == "sqlite":
        opened = open_store(f"sqlite:///{tmp_path}/farm.sqlite3")
        yield opened
        opened.close()
    else:
        running: Cluster = request.getfixturevalue("postgres")
        with running.database() as url:
            opened = open_store(url)
            yield opened
            opened.close()
