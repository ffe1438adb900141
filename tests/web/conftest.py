# SPDX-License-Identifier: GPL-3.0-or-later
"""The farm and its clients, one for each role."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.web.kit import FakeFarm, web


@pytest.fixture
def farm(tmp_path: Path) -> FakeFarm:
    return FakeFarm(tmp_path)


@pytest.fixture
def person(farm: FakeFarm) -> TestClient:
    return web(farm, "p-token")


@pytest.fixture
def worker(farm: FakeFarm) -> TestClient:
    return web(farm, "w-token")


@pytest.fixture
def signer(farm: FakeFarm) -> TestClient:
    return web(farm, "s-token")
