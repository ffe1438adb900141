# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker's image holds `workers/` and nothing else of this project; every module of it must be content with that."""

import json
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.architecture.tree import ROOT, python

SCRIPT = """
import importlib, json, sys
folder, absent, modules = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
sys.path.insert(0, folder)
sys.modules.update(dict.fromkeys(absent))
for name in modules:
    assert importlib.import_module(name).__file__.startswith(folder), name
print(sorted(name for name in sys.modules if name.partition(".")[0] == "coordinator" and sys.modules[name]))
"""


def server_only() -> list[str]:
    """The modules of what only the server's extra installs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {plain(name.split(">")[0].split("[")[0]) for name in project["optional-dependencies"]["server"]}
    return [module for module, owners in packages_distributions().items() if wanted & set(map(plain, owners))]


def plain(name: str) -> str:
    """A distribution's name as it is compared."""
    return name.lower().replace("_", "-")


def modules() -> list[str]:
    paths = [path.relative_to(ROOT).with_suffix("") for path in python("workers")]
    return [".".join(path.parts).removesuffix(".__init__") for path in paths]


def test_every_module_of_the_worker_lives_without_the_coordinator_and_the_servers_libraries(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "workers", tmp_path / "workers", ignore=shutil.ignore_patterns("__pycache__"))
    absent = ["coordinator", *server_only()]
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), json.dumps(absent), json.dumps(modules())]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (told.returncode, told.stdout.strip()) == (0, "[]"), told.stderr


def test_the_check_above_knows_what_the_server_alone_has() -> None:
    assert {"sqlalchemy", "paramiko", "fastapi", "typer"} <= set(server_only())
