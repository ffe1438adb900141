# SPDX-License-Identifier: GPL-3.0-or-later
"""Two farms side by side, and the people of both."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coordinator import gpg
from tests.acceptance.kit import Approver, Shell


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Shell]]:
    """Starts a farm in a home of its own; all of them are stopped in the end."""
    started: list[Shell] = []

    def begin(name: str) -> Shell:
        shell = Shell(tmp_path_factory.mktemp(name) / "home")
        started.append(shell)
        shell("up")
        return shell

    yield begin
    for shell in started:
        shell("down")
        for keys in (shell.home / "signer" / "gnupg", shell.home / "target" / "gnupg"):
            gpg.stop(keys)


@pytest.fixture(scope="session")
def farm(start: Callable[[str], Shell], people: list[Approver]) -> Shell:
    """The farm that takes a real update all the way."""
    shell = start("farm")
    for person in people:
        person.join(shell)
    return shell


@pytest.fixture(scope="session")
def other_farm(farm: Shell, start: Callable[[str], Shell]) -> Shell:
    """Another one, started while the first is up."""
    assert farm("status")
    return start("other")


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Approver]]:
    """Two who may approve."""
    folder: Path = tmp_path_factory.mktemp("people")
    found = [Approver(name, folder / name) for name in ("alice", "bob")]
    yield found
    for person in found:
        gpg.stop(person.keys)
