# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at a host and prints what it found as JSON. Sent there as text and run by whatever Python there is.

So it needs the standard library of Python 3.7 alone, imports nothing of the farm, and changes nothing on the host.
Arguments: the worker's folder, from the home unless it begins with `/`; the farm's address; the broker's host and
port; each of these `-` where it need not be reached.
"""

from __future__ import annotations

import fnmatch
import getpass
import http.client
import importlib.util
import json
import os
import platform
import shutil
import socket
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ENGINE = "/var/run/docker.sock"
PROGRAMS = ("mmdebstrap", "gpgv", "arch-test", "setsid", "tar", "newuidmap")
ZONE = "/usr/share/zoneinfo/UTC"
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
OURS = ("home", "token", "settings", "run", "service", "pid", "log", "farm.sock", "broker.sock", "release-*", "*.part")
SECONDS = 10


class Engine(http.client.HTTPConnection):
    """HTTP on the container engine's socket."""

    def connect(self) -> None:
        """The socket in the place of an address."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(SECONDS)
        self.sock.connect(ENGINE)

    def told(self, path: str) -> dict[str, object]:
        """One answer of its API."""
        self.request("GET", path)
        told = json.loads(self.getresponse().read().decode())
        return told if isinstance(told, dict) else {}


def engine() -> dict[str, str | int]:
    """Its version and the room it has, or why it does not answer."""
    try:
        version = str(Engine("localhost").told("/version").get("Version", ""))
        root = str(Engine("localhost").told("/info").get("DockerRootDir", "/"))
        return {"engine": version, "engine_error": "", "engine_bytes": room(Path(root))}
    except (OSError, ValueError, http.client.HTTPException) as error:
        return {"engine": "", "engine_error": said(error), "engine_bytes": 0}


def room(folder: Path) -> int:
    """Free bytes where a folder is or will be."""
    while not folder.is_dir():
        folder = folder.parent
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def lingers() -> bool:
    """Whether this account's systemd may go on without a login: it does already, or polkit lets the account say so."""
    polkit = Path("/usr/share/dbus-1/system-services/org.freedesktop.PolicyKit1.service")
    return polkit.exists() or (Path("/var/lib/systemd/linger") / getpass.getuser()).exists()


def others(folder: Path) -> list[str]:
    """What is in the worker's folder that no worker put there; some of it is enough."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:
        return []
    return [name for name in names if not any(fnmatch.fnmatchcase(name, ours) for ours in OURS)][:3]


def farm(url: str) -> str:
    """Why the farm's web service cannot be reached; empty where it can."""
    try:
        urllib.request.urlopen(url + "/health", timeout=SECONDS).close()  # noqa: S310  # http is checked before it is sent
    except (OSError, ValueError, http.client.HTTPException) as error:
        return said(error)
    return ""


def broker(host: str, port: str) -> str:
    """The same of the broker."""
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS).close()
    except (OSError, ValueError) as error:
        return said(error)
    return ""


def binfmt() -> list[str]:
    """The qemu-user interpreters that are found in every container: enabled, with the flag F."""
    found = []
    for entry in sorted(Path("/proc/sys/fs/binfmt_misc").glob("qemu-*")):
        lines = entry.read_text().splitlines()
        if "enabled" in lines and any(line.startswith("flags:") and "F" in line for line in lines):
            found.append(entry.name[len("qemu-") :])
    return found


def said(error: BaseException) -> str:
    """Its own words on a line, or its name."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def main(folder: str, url: str, host: str, port: str) -> dict[str, object]:
    """Everything, in one answer."""
    home = Path("~").expanduser()
    place = home / folder
    path = os.environ.get("PATH", os.defpath) + ":" + SBIN
    found: dict[str, object] = {
        "python": list(sys.version_info[:3]),
        "venv": importlib.util.find_spec("ensurepip") is not None,
        "machine": platform.machine(),
        "binfmt": binfmt(),
        "programs": [name for name in PROGRAMS if shutil.which(name, path=path)],
        "zones": Path(ZONE).exists(),
        "free_bytes": room(place),
        "time": time.time(),
        "uid": os.getuid(),
        "home": str(home),
        "folder": str(place),
        "systemd": Path("/run/systemd/system").is_dir(),
        "lingers": lingers(),
        "others": others(place),
        "token": (place / "token").exists(),
        "farm_error": farm(url) if url != "-" else "",
        "broker_error": broker(host, port) if host != "-" else "",
    }
    found.update(engine())
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])))
