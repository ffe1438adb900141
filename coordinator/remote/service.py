# SPDX-License-Identifier: GPL-3.0-or-later
"""How a worker is kept running on its host: by systemd where there is one, else by a session of its own. Pure.

Only texts and lists of arguments are made here. A worker that is told to end leaves its containers to the next one.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from coordinator.remote.book import Host, Keeper
from coordinator.remote.checks import Facts

#: What a bootstrap takes: whose files they are, and a root, mounts and devices of its own.
_CAPABILITIES = (
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_ADMIN",
    "CAP_SYS_CHROOT",
)


@dataclass(frozen=True)
class Service:
    """A worker's service on its host."""

    host: Host

    @property
    def unit(self) -> str:
        """Its name for systemd."""
        return f"patchfarm-worker-{self.host.worker}.service"

    @property
    def place(self) -> str:
        """The unit's file."""
        if self.host.keeper is Keeper.SYSTEM:
            return f"/etc/systemd/system/{self.unit}"
        return f"{self.host.home}/.config/systemd/user/{self.unit}"

    @property
    def lingering(self) -> str:
        """A file that is there if the account's systemd needs no login to go on (systemd-logind)."""
        return f"/var/lib/systemd/linger/{self.host.address.user}"

    def systemctl(self, *arguments: str) -> list[str]:
        """A command of its systemd."""
        if self.host.keeper is Keeper.SYSTEM:
            return ["systemctl", *arguments]
        return ["env", f"XDG_RUNTIME_DIR=/run/user/{self.host.uid}", "systemctl", "--user", *arguments]

    def start(self) -> list[list[str]]:
        """Start it, or start it anew."""
        match self.host.keeper:
            case Keeper.SYSTEM | Keeper.USER:
                return [
                    self.systemctl("daemon-reload"),
                    self.systemctl("enable", "--quiet", self.unit),
                    self.systemctl("restart", self.unit),
                ]
            case Keeper.NONE:
                return [[f"{self.host.folder}/service", "stop"], [f"{self.host.folder}/service", "start"]]
            case _ as unreachable:
                assert_never(unreachable)

    def end(self) -> list[list[str]]:
        """Stop it for good, and its containers with it; then it is not to be started by anybody."""
        if self.host.keeper is Keeper.NONE:
            return [[f"{self.host.folder}/service", "end"]]
        return [
            self.systemctl("daemon-reload"),
            self.systemctl("disable", "--quiet", "--now", self.unit),
            ["rm", "-f", "--", self.place],
            self.systemctl("daemon-reload"),
        ]

    def told(self) -> list[str]:
        """What it said last."""
        match self.host.keeper:
            case Keeper.SYSTEM:
                return ["journalctl", "--no-pager", "--lines=5", "--output=cat", f"--unit={self.unit}"]
            case Keeper.USER:
                return ["journalctl", "--user", "--no-pager", "--lines=5", "--output=cat", f"--user-unit={self.unit}"]
            case Keeper.NONE:
                return ["tail", "-n", "5", f"{self.host.folder}/log"]
            case _ as unreachable:
                assert_never(unreachable)


def keeper_of(facts: Facts) -> Keeper:
    """The one that a host has."""
    if not facts.systemd:
        return Keeper.NONE
    return Keeper.SYSTEM if facts.uid == 0 else Keeper.USER


def settings(values: Mapping[str, str]) -> bytes:
    """The file that the worker's settings are in, as sh reads it."""
    lines = [f"{name}={shlex.quote(value)}\n" for name, value in sorted(values.items())]
    return "".join(["# Made by `patchfarm worker add`; run it again to change anything.\n", *lines]).encode()


def run(folder: str, release: str) -> bytes:
    """The program that becomes the worker of that release, or the module of it that is named."""
    code = f"{folder}/{release}"
    python = shlex.quote(f"{code}/venv/bin/python")
    return (
        "#!/bin/sh\n"
        f"cd {shlex.quote(folder)} || exit 1\n"
        '[ "$1" ] || echo $$ >pid\n'
        "set -a\n"
        ". ./settings\n"
        f"PYTHONPATH={shlex.quote(code)} PYTHONUNBUFFERED=1 LANG=C.UTF-8\n"
        "PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin\n"
        f'exec {python} -m "${{1:-workers}}"\n'
    ).encode()


def unit(made: Service, last: bool = False) -> bytes:
    """The unit; the `last` one ends the containers as well, for nobody will be there to go on with them.

    A user's systemd may not take privileges away, and mmdebstrap needs newuidmap's there.
    """
    system = made.host.keeper is Keeper.SYSTEM
    return (
        "[Unit]\n"
        f"Description=patchfarm worker {made.host.worker}\n"
        "After=network-online.target docker.service\n"
        "Wants=network-online.target\n"
        "StartLimitIntervalSec=0\n"
        "\n"
        "[Service]\n"
        f"ExecStart={_path(f'{made.host.folder}/run')}\n"
        "Restart=always\n"
        "RestartSec=5\n"
        # TERM to the worker alone, which ends its own children; containers are the engine's and run on.
        "KillMode=mixed\n"
        f"KillSignal={'SIGINT' if last else 'SIGTERM'}\n"
        "TimeoutStopSec=60\n"
        "UMask=0077\n"
        f"{_hardening(made.host.folder) if system else ''}"
        "\n"
        "[Install]\n"
        f"WantedBy={'multi-user.target' if system else 'default.target'}\n"
    ).encode()


def _hardening(folder: str) -> str:
    """What a worker does not need (systemd.exec(5)). mmdebstrap does need to mount, to make devices, and to be anybody.

    Nor is an architecture forbidden, or a personality: what is bootstrapped runs programs of its own.
    """
    at_home = folder.startswith(("/home/", "/root/", "/run/user/"))
    return (
        "NoNewPrivileges=yes\n"
        "ProtectSystem=strict\n"
        f"ReadWritePaths={folder}\n"
        f"ProtectHome={'no' if at_home else 'yes'}\n"
        "PrivateTmp=yes\n"
        "ProtectHostname=yes\n"
        "ProtectControlGroups=yes\n"
        "ProtectKernelTunables=yes\n"
        "ProtectKernelModules=yes\n"
        "ProtectKernelLogs=yes\n"
        "RestrictRealtime=yes\n"
        "RestrictNamespaces=mnt pid uts ipc\n"
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK\n"
        f"CapabilityBoundingSet={' '.join(_CAPABILITIES)}\n"
        "SystemCallFilter=~@clock @cpu-emulation @debug @module @obsolete @raw-io @reboot @swap\n"
        "SystemCallErrorNumber=EPERM\n"
    )


def script() -> bytes:
    """What starts and stops a worker where there is no systemd; a process that merely has its number is left alone."""
    return b"""#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Starts and stops the worker of this folder; made by `patchfarm worker add` where there is no systemd.
cd "$(dirname "$0")" || exit 1
pid=$(cat pid 2>/dev/null)
ours() { [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "$(pwd -P)" ]; }
case $1 in
start)
    ours && exit 0
    umask 077
    rm -f pid
    # Not by `&`: sh lets what it starts so ignore INT.
    setsid --fork ./run >>log 2>&1 </dev/null
    for _ in 1 2 3 4 5 6 7 8 9; do
        [ -s pid ] && exit 0
        sleep 1
    done
    exit 1
    ;;
stop | end)
    ours || exit 0
    case $1 in stop) kill -TERM "$pid" ;; end) kill -INT "$pid" ;; esac
    for _ in $(seq 60); do
        ours || exit 0
        sleep 1
    done
    kill -s KILL -- "-$pid"
    ;;
esac
"""


def _path(path: str) -> str:
    """As systemd.service(5) reads a command line: folders have neither spaces nor quotes, but `%` and `$` expand."""
    return path.replace("%", "%%").replace("$", "$$")
