# SPDX-License-Identifier: GPL-3.0-or-later
"""A farm for each story, which must be in order when the story is over."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.farm import Farm
from workers.wire.arch import Arch


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Farm]:
    """A farm without workers."""
    farm = Farm(tmp_path)
    yield farm
    farm.check()


@pytest.fixture
def farm(empty: Farm) -> Farm:
    """A farm with a worker for each of two architectures."""
    empty.worker("w-amd64", Arch.AMD64)
    empty.worker("w-arm64", Arch.ARM64)
    return empty
