# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that the tests of adapters share, started when the first test asks for one."""

from collections.abc import Iterator

import pytest

from tests.adapters.cluster import Cluster, cluster


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL of our own."""
    with cluster() as running:
        yield running
