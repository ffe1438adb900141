# SPDX-License-Identifier: GPL-3.0-or-later
"""A farm of its own on this machine, used as people use it: by its command line."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coordinator import gpg
from tests.architecture.tree import ROOT

#: How long the longest command may take, in seconds: two base images and the builds on a busy machine.
PATIENCE = 1500


@dataclass(frozen=True)
class Said:
    """What a command did."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Shell:
    """The command line of the farm in a home.

    `settings` are given in its environment; `through` is what its commands, and all that they start, are run by.
    """

    home: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    through: tuple[str, ...] = ()

    def run(self, *arguments: str) -> Said:
        """Run one command to its end, whatever that is."""
        command = [*self.through, sys.executable, "-m", "coordinator.cli.main", *arguments]
        environment = {**os.environ, **self.settings, "PATCHFARM_HOME": str(self.home), "NO_COLOR": "1"}
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def __call__(self, *arguments: str) -> str:
        """Run one command that has to go well; answers what it printed."""
        said = self.run(*arguments)
        assert said.code == 0, f"{' '.join(arguments)}: {said.err}\n{said.out}\n{self._logs()}"
        return said.out

    def json(self, *arguments: str) -> Any:
        """The facts that a command prints."""
        return json.loads(self(*arguments, "--json"))

    def _logs(self) -> str:
        """The ends of the services' logs, for whoever looks for what went wrong."""
        logs = sorted((self.home / "log").glob("*.log"))
        return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-600:]}" for log in logs)


@dataclass(frozen=True)
class Approver:
    """Somebody with a key in a GnuPG home of their own."""

    name: str
    keys: Path

    def certificate(self) -> Path:
        """Made on first use."""
        path = self.keys / f"{self.name}.asc"
        if not path.exists():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            path.write_bytes(gpg.export(self.keys, gpg.make_key(self.keys, f"{self.name} <{self.name}@example.org>")))
        return path

    def join(self, shell: Shell) -> None:
        """Let the farm know them."""
        shell("approver", "add", self.name, str(self.certificate()))

    def approve(self, shell: Shell, update: int) -> None:
        """Sign what would ship."""
        shell("approve", str(update), "--gnupg-home", str(self.keys), "--yes")
