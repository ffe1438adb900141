# SPDX-License-Identifier: GPL-3.0-or-later
"""supervisord by its XML-RPC on a unix socket that only this farm's account may open. It decides nothing."""

import os
import subprocess
import sys
import xmlrpc.client as rpc
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from http.client import HTTPException
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from coordinator.errors import PatchfarmError


class ServiceState(StrEnum):
    """supervisord's words for a process (its manual's "Process States")."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    STOPPING = "stopping"
    EXITED = "exited"
    FATAL = "fatal"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ServiceRow:
    """A process as it is now. `pid` is 0 and `since` nothing where none runs."""

    name: str
    state: ServiceState
    pid: int
    since: datetime | None
    ended: datetime | None
    log: str


class Supervisor:
    """The supervisord that listens on a socket. Every method but `answers` raises OSError where none does."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def answers(self) -> bool:
        """Whether one runs."""
        try:
            self._call("getState")
        except (OSError, HTTPException, rpc.Error):
            return False
        return True

    def services(self) -> list[ServiceRow]:
        """Every process it looks after, in the order of their start."""
        return [_row(told) for told in self._call("getAllProcessInfo")]

    def pid(self) -> int:
        """Its own process."""
        return int(self._call("getPID"))

    def shut_down(self) -> None:
        """Ask it to stop everything and then itself; returns at once."""
        self._call("shutdown")

    def take_up(self, name: str) -> None:
        """Look after a program that its files have since it began, or look after it anew as they have it now."""
        self.let_go(name)
        self._call("reloadConfig")
        self._call("addProcessGroup", name)

    def let_go(self, name: str) -> None:
        """Stop a program and look after it no more; nothing happens for one that it does not have."""
        if any(row.name == name for row in self.services()):
            self._call("stopProcessGroup", name)
            self._call("removeProcessGroup", name)

    def _call(self, method: str, *arguments: str) -> Any:
        with closing(SupervisorTransport(serverurl=f"unix://{self._socket}")) as transport:
            proxy = rpc.ServerProxy("http://localhost", transport=transport)
            return getattr(proxy.supervisor, method)(*arguments)


def _row(told: Mapping[str, Any]) -> ServiceRow:
    state = ServiceState(str(told["statename"]).lower())
    alive = state in (ServiceState.RUNNING, ServiceState.STARTING)
    return ServiceRow(
        name=str(told["name"]),
        state=state,
        pid=int(told["pid"]),
        since=_time(told["start"]) if alive else None,
        ended=_time(told["stop"]),
        log=str(told["stdout_logfile"]),
    )


def _time(seconds: Any) -> datetime | None:
    """0 is never."""
    return datetime.fromtimestamp(int(seconds), UTC) if seconds else None


def start(configuration: Path, environment: Mapping[str, str]) -> None:
    """Start a supervisord that leaves the terminal; its processes get this environment and their own."""
    command = [sys.executable, "-m", "supervisor.supervisord", "--configuration", str(configuration)]
    done = subprocess.run(
        command, env=dict(environment), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    if done.returncode != 0:
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.startswith("Error")]
        raise PatchfarmError(f"supervisord did not start: {' '.join(said) or f'exit code {done.returncode}'}")


def clean_environment() -> dict[str, str]:
    """What every process may have of the environment: where programs, temporary files and proxies are."""
    kept = ("PATH", "HOME", "TMPDIR", "DOCKER_HOST", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
    proxies = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
    own = {name: os.environ[name] for name in (*kept, *proxies) if name in os.environ}
    # A proxy must not be asked for the farm's own services.
    here = ",".join(filter(None, (os.environ.get("no_proxy", os.environ.get("NO_PROXY", "")), "127.0.0.1,localhost")))
    return {"PATH": os.defpath, **own, "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", "no_proxy": here, "NO_PROXY": here}
