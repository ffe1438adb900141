# SPDX-License-Identifier: GPL-3.0-or-later
"""A private PostgreSQL on a unix socket: no port, no password, nothing of the machine's own server."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg

_USER = "postgres"


def _programs() -> Path:
    """The newest version there is."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent


def _run(*argv: str | Path) -> None:
    """PostgreSQL refuses to run as root, so that root becomes somebody else first."""
    become = ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--init-groups", "--"] if os.geteuid() == 0 else []
    ran = subprocess.run([*become, *argv], capture_output=True, text=True, cwd="/")
    assert ran.returncode == 0, ran.stdout + ran.stderr


class Cluster:
    """Makes databases."""

    def __init__(self, sockets: Path) -> None:
        self._sockets = sockets
        self._numbers = count(1)

    @contextmanager
    def database(self) -> Iterator[str]:
        """The address of an empty database, which is gone afterwards."""
        name = f"farm{next(self._numbers)}"
        server = f"host={self._sockets} user=farm dbname=postgres"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
            try:
                yield f"postgresql://farm@/{name}?host={self._sockets}"
            finally:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A running server. Its folder is not pytest's, which another user may not enter."""
    root = Path(tempfile.mkdtemp(prefix="farm-pg-"))
    data, programs = root / "data", _programs()
    if os.geteuid() == 0:
        shutil.chown(root, _USER, _USER)
    try:
        _run(
            programs / "initdb", "-D", data, "-U", "farm", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"
        )
        _run(programs / "pg_ctl", "-D", data, "-l", root / "log", "-o", f"-k {root} -c listen_addresses= -F", "start")
        try:
            yield Cluster(root)
        finally:
            _run(programs / "pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(root)
