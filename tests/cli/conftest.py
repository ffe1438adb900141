# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line against the real web application, in one process."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from coordinator.cli.main import run
from coordinator.cli.session import Session
from coordinator.client import Client
from tests.web.kit import FakeFarm, web


@pytest.fixture
def farm(tmp_path: Path) -> FakeFarm:
    (tmp_path / "blobs").mkdir()
    return FakeFarm(tmp_path / "blobs")


@dataclass
class Said:
    """What a command did."""

    code: int
    out: str
    err: str


@dataclass
class Shell:
    """Runs commands; time passes only as `sleeps`, each of which may change the farm."""

    farm: FakeFarm
    capsys: pytest.CaptureFixture[str]
    between: Callable[[], None] = lambda: None
    slept: list[float] = field(default_factory=list)
    asked_to_sign: list[tuple[str, str | None, Path | None]] = field(default_factory=list)

    def __call__(self, *arguments: str) -> Said:
        session = Session(lambda: Client(web(self.farm, "p-token")), sleep=self._sleep, sign=self._sign)
        code = run(arguments, session)
        said = self.capsys.readouterr()
        return Said(code, said.out, said.err)

    def _sign(self, text: str, key: str | None, homedir: Path | None) -> bytes:
        self.asked_to_sign.append((text, key, homedir))
        return b"signed: " + text.encode()

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        assert len(self.slept) < 500, "this waits for ever"
        self.between()


@pytest.fixture
def shell(farm: FakeFarm, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(farm, capsys)
