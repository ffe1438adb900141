# SPDX-License-Identifier: GPL-3.0-or-later
"""What this machine has for an embedded farm: programs, architectures, ports. It changes nothing."""

import platform
import shutil
import socket
from contextlib import ExitStack
from pathlib import Path

import docker
from docker.errors import DockerException

from coordinator.errors import EngineMissing, PatchfarmError
from workers.wire.arch import QEMU, RUNS_NATIVELY, Arch, Tier

BINFMT = Path("/proc/sys/fs/binfmt_misc")
#: Where administrators' programs are: not on every person's PATH.
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
_SECONDS = 10


def program(*names: str) -> Path | None:
    """The first of the named programs that is here."""
    found = (shutil.which(name) or shutil.which(name, path=_SBIN) for name in names)
    return next((Path(path) for path in found if path), None)


def needed(package: str, *names: str) -> Path:
    """The same, where nothing goes without it; `package` is Debian's. Raises PatchfarmError with what to type."""
    found = program(*names)
    if found is None:
        raise PatchfarmError(f"{names[0]} is not installed", f"Type: sudo apt-get install {package}")
    return found


def tiers(machine: str = "", binfmt: Path = BINFMT) -> dict[Arch, Tier]:
    """The architectures that containers can have here, by themselves or through a qemu-user that the kernel knows."""
    native = RUNS_NATIVELY.get(machine or platform.machine(), frozenset())
    found = {arch: Tier.NATIVE for arch in Arch if arch in native}
    return found | {
        arch: Tier.EMULATED for arch, suffix in QEMU.items() if arch not in native and _fixed(binfmt / f"qemu-{suffix}")
    }


def native() -> tuple[Arch, ...]:
    """Those that need no emulation."""
    return tuple(arch for arch, tier in tiers().items() if tier == Tier.NATIVE)


def engine() -> str:
    """The version of the container engine. Raises EngineMissing."""
    try:
        client = docker.from_env(timeout=_SECONDS)
        try:
            return str(client.version()["Version"])
        finally:
            client.close()
    except (DockerException, OSError) as error:
        if "PermissionError" in str(error):
            advice = "Type: sudo usermod -aG docker $USER; then log in again."
            raise EngineMissing("this account may not use the container engine", advice) from error
        raise EngineMissing("no container engine answers") from error


def worker_name() -> str:
    """The host's name, as far as a worker's may have its letters."""
    short = socket.gethostname().partition(".")[0].lower()
    return (
        "".join(letter for letter in short if letter.isascii() and (letter.isalnum() or letter == "-"))[:40] or "here"
    )


def free_ports(count: int) -> list[int]:
    """Different TCP ports of the loopback that nobody listens on now."""
    with ExitStack() as open_together:
        probes = [open_together.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def _fixed(entry: Path) -> bool:
    """Whether it is enabled with the flag F: only then is the interpreter found inside a container (binfmt_misc)."""
    lines = entry.read_text().splitlines() if entry.is_file() else []
    return "enabled" in lines and any(line.startswith("flags:") and "F" in line for line in lines)
