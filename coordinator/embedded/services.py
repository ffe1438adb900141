# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processes an embedded farm has, what each may know, and how supervisord is told. Pure.

A process gets the settings it needs and no others: the worker no database, the signer no broker.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coordinator.config import Home
from coordinator.errors import BadRequest
from workers.wire.arch import Arch


@dataclass(frozen=True)
class Program:
    """A process that is started again whenever it ends. Lower `priority` starts earlier and is stopped later.

    `stop_seconds` is how long it has after the signal before it and its children are killed.
    """

    name: str
    argv: tuple[str, ...]
    priority: int
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_seconds: int = 10
    stop_signal: str = "TERM"


#: What a worker may be given of this machine, as workers/config.py reads it; its defaults are the machine's own.
_THE_WORKERS_OWN = frozenset({"PATCHFARM_CACHE_MIB", "PATCHFARM_CORES", "PATCHFARM_MEMORY_MIB"})


@dataclass(frozen=True)
class Site:
    """What the processes are told of this machine. `settings` are those that were given in the environment."""

    home: Home
    farm: str
    url: str
    sockets: Path
    python: str
    redis_server: Path
    own_redis: bool
    broker: str
    worker: str
    arches: tuple[Arch, ...]
    slots: int
    settings: Mapping[str, str]
    target: tuple[Program, ...]


#: What the names of processes begin with that hold tunnels: one waits for its host, and nothing waits for it.
TUNNEL = "tunnel-"


def redis_socket(sockets: Path) -> Path:
    """Where the embedded broker listens."""
    return sockets / "redis.sock"


def control_socket(sockets: Path) -> Path:
    """Where supervisord listens."""
    return sockets / "supervisor.sock"


def given(environment: Mapping[str, str]) -> dict[str, str]:
    """What the coordinator's processes may know of it: the settings, and where libpq finds the database's password."""
    known = {
        name: value for name, value in environment.items() if name.startswith("PATCHFARM_") or name == "PGPASSFILE"
    }
    return {name: value for name, value in known.items() if name != "PATCHFARM_TOKEN_FILE"}


def programs(site: Site) -> tuple[Program, ...]:
    """All of them, in the order of their start."""
    own = (_redis(site),) if site.own_redis else ()
    return (*own, *_coordinator(site), *site.target, _signer(site), _worker(site))


def _redis(site: Site) -> Program:
    # Workers elsewhere come by a tunnel to this socket, and none has to make redis write files, follow another, or call
    # somebody for it. Scripts stay: kombu needs them.
    user = ("--user", "default", "on", "nopass", "~*", "&*", "+@all", "-@admin", "-migrate", "-restore")
    listen = ("--port", "0", "--unixsocket", str(redis_socket(site.sockets)), "--unixsocketperm", "700")
    # The folder for the file was made beforehand; an evicted key would be a lost queue.
    keep = ("--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction", "--dir", str(site.home.redis))
    # It need not wake ten times a second to see whether a key has expired: none ever does.
    return Program("redis", (str(site.redis_server), *listen, *keep, "--hz", "1", *user), 10)


def _coordinator(site: Site) -> tuple[Program, ...]:
    known = {**site.settings, "PATCHFARM_HOME": str(site.home.root), "PATCHFARM_BROKER": site.broker}
    return (
        Program("web", (site.python, "-m", "coordinator.web"), 20, known),
        Program("engine", (site.python, "-m", "coordinator.engine"), 30, known, stop_seconds=30),
    )


def _signer(site: Site) -> Program:
    known = {
        "PATCHFARM_URL": site.url,
        "PATCHFARM_TOKEN_FILE": str(site.home.secrets / "signer.token"),
        "PATCHFARM_SIGNER_HOME": str(site.home.signer),
    }
    return Program("signer", (site.python, "-m", "coordinator.signer"), 50, known, stop_seconds=30)


def _worker(site: Site) -> Program:
    known = {
        "PATCHFARM_URL": site.url,
        "PATCHFARM_BROKER": site.broker,
        "PATCHFARM_FARM": site.farm,
        "PATCHFARM_WORKER_NAME": site.worker,
        "PATCHFARM_WORKER_HOME": str(site.home.worker),
        "PATCHFARM_KEYRINGS": str(site.home.keyrings),
        "PATCHFARM_TOKEN_FILE": str(site.home.secrets / "worker.token"),
        "PATCHFARM_SLOTS": str(site.slots),
        "PATCHFARM_ARCHES": ",".join(site.arches),
        **{name: value for name, value in site.settings.items() if name in _THE_WORKERS_OWN},
    }
    # By TERM its containers would run on, for a next process that a farm that is down does not start.
    return Program("worker", (site.python, "-m", "workers"), 60, known, stop_seconds=60, stop_signal="INT")


def configuration(programs: Sequence[Program], home: Home, sockets: Path, folder: Path, user: str) -> str:
    """The file that supervisord reads. `folder` is where the packages are; `user` is who it stays."""
    parts = [
        "[unix_http_server]",
        f"file={_path(control_socket(sockets))}",
        "chmod=0700",
        "[supervisord]",
        f"logfile={_path(home.log / 'supervisord.log')}",
        "logfile_maxbytes=5MB",
        "logfile_backups=1",
        f"pidfile={_path(home.run / 'supervisord.pid')}",
        f"childlogdir={_path(home.log)}",
        f"directory={_path(folder)}",
        f"user={user}",
        "umask=077",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for program in programs:
        parts += section(program, home)
    # A file for each tunnel, which come and go while the farm is up; from `run/`, whose path may have a space in it.
    parts += ["[include]", f"files=../{home.hosts.name}/*.conf"]
    return "\n".join(parts) + "\n"


def section(program: Program, home: Home) -> list[str]:
    """A process in supervisord's words."""
    # Should supervisord itself be killed, its children are told to end: nothing is left to hold ports and sockets.
    argv = ("setpriv", "--pdeathsig", "TERM", "--", *program.argv)
    return [
        f"[program:{program.name}]",
        f"command={_plain(shlex.join(argv))}",
        f"environment={','.join(_pair(name, value) for name, value in sorted(program.environment.items()))}",
        f"priority={program.priority}",
        "autorestart=true",
        "startsecs=2",
        # With a longer pause before each: a farm that ran out of disk comes back by itself when there is some.
        "startretries=1000",
        f"stopsignal={program.stop_signal}",
        f"stopwaitsecs={program.stop_seconds}",
        "killasgroup=true",
        "redirect_stderr=true",
        f"stdout_logfile={_path(home.log / f'{program.name}.log')}",
        "stdout_logfile_maxbytes=10MB",
        "stdout_logfile_backups=3",
    ]


def _pair(name: str, value: str) -> str:
    quote = "'" if '"' in value else '"'
    # supervisord takes every quote off both ends.
    if quote in value or value[:1] in ("'", '"') or value[-1:] in ("'", '"'):
        raise BadRequest(f"{name} has quotes that supervisord would misread", "Write the setting into farm.toml.")
    return f"{name}={quote}{_plain(value)}{quote}"


def _plain(value: object) -> str:
    """A value for supervisord's file, in which `%` expands and a `;` or `#` after a space begins a comment."""
    text = str(value)
    if not text.isprintable() or " ;" in text or " #" in text:
        raise BadRequest(f"{text!r} cannot be told to supervisord", "Use a folder with an ordinary name.")
    return text.replace("%", "%%")


def _path(path: Path) -> str:
    """A path for it: some of them it expands once and some twice, so that no `%` can be written for all."""
    if "%" in str(path):
        raise BadRequest(f"{path} has a % in it, which supervisord takes for its own", "Use another folder.")
    return _plain(path)
