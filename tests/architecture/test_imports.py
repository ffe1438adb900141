# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may import whom: the contracts of pyproject.toml are kept, and each of them would notice if it were not."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture.tree import CODE, ROOT

CONTRACTS: list[str] = [
    contract["name"]
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
]

#: A line in a file that breaks the contract whose name begins so.
BREACHES = {
    "Layers": ("coordinator/model.py", "import coordinator.engine"),
    "Stages": ("coordinator/stages/build.py", "import coordinator.stages.test"),
    "A worker": ("workers/agent.py", "import coordinator.errors"),
    "The coordinator": ("coordinator/engine/__init__.py", "import workers.agent"),
    "Nobody": ("coordinator/service.py", "import coordinator.signer"),
    "The signer": ("coordinator/signer/__init__.py", "import coordinator.store"),
    "Decisions": ("coordinator/stages/plan.py", "import sqlalchemy"),
}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """What the command says of the tree in that folder."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_every_contract_is_kept() -> None:
    said = lint(ROOT)
    assert said.returncode == 0, said.stdout
    assert f"{len(CONTRACTS)} kept, 0 broken" in said.stdout


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the command says of a copy with every breach in it."""
    folder = tmp_path_factory.mktemp("breached")
    for root in CODE:
        shutil.copytree(ROOT / root, folder / root, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for path, line in BREACHES.values():
        with (folder / path).open("a") as file:
            file.write(f"\n{line}\n")
    return lint(folder).stdout


@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_breach_of_each_contract_is_noticed(contract: str, broken: str) -> None:
    assert any(contract.startswith(name) for name in BREACHES), "plant a breach of the new contract above"
    assert re.search(re.escape(contract) + r"\s+BROKEN", broken), broken
