# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine of its own for a benchmark, as far as namespaces make one: it can lose its container engine, and its disks.

It has its own processes, mounts, network and engine, and small disks; another engine of the host notices nothing, and
all of it is gone with its last process. Needs root, iproute2 and iptables. Its way out is a cable to the host.
"""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from ipaddress import IPv4Network
from pathlib import Path

import docker
from docker.errors import DockerException

from benchmarks.kit import ARCH, MIB, ROOT, SUITE
from coordinator.config import Home
from workers.images import BASES

#: A range for documentation (RFC 5737), that no network uses; each machine has a small part of it.
_RANGE, _PREFIX = IPv4Network("203.0.113.0/24"), 30
_INSIDE = "PF_BENCHMARK_APART"
_SCRATCH = "tmp"
#: What a machine has that nobody else's may be: where an engine keeps its number and sockets, its images, and its log.
ENGINE_DISK = Path("/var/lib/docker")
_OWN = {Path("/run"): "64m", Path("/var/log"): "64m", ENGINE_DISK: "4g"}
#: Of a farm's folder, and of its worker's in it; they have to have room for a base image while it is made.
_FARM_DISK, _WORKERS_DISK = "1g", "2g"
#: Kills all that there is with its first process, and leaves nobody's child a zombie, as a machine's init would.
_NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--", "tini", "--")


def here(module: str, arguments: Sequence[str]) -> bool:
    """Whether this process is on such a machine; else it runs the module there, and ends as that does.

    Raises CalledProcessError where there can be no such machine.
    """
    if _INSIDE in os.environ:
        return True
    # As by a person's interrupt: what was made here is removed on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="pf-") as folder, _network() as name:
        (Path(folder) / _SCRATCH).mkdir()
        _save_images(Path(folder))
        # It ends with this process, however that does.
        bound = ("setpriv", "--pdeathsig", "KILL", "--", "nsenter", f"--net=/run/netns/{name}", "--")
        command = [*bound, *_NAMESPACES, sys.executable, "-m", module, *arguments]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, _INSIDE: folder, "TMPDIR": f"{folder}/{_SCRATCH}"})
    sys.exit(done.returncode)


def furnish() -> None:
    """Give this machine its disks and its engine, which the launcher starts as for anybody who has none."""
    folder = Path(os.environ[_INSIDE])
    for path, size in {**_OWN, folder / _SCRATCH: "8g"}.items():
        path.mkdir(exist_ok=True)
        mount(path, size)
    run(str(ROOT / "patchfarm"), "up", "--help")
    _load_images(folder)


def disks(home: Home) -> None:
    """Put a farm that is not there yet on a disk, and what its worker has in hand on another."""
    for path, size in ((home.root, _FARM_DISK), (home.worker, _WORKERS_DISK)):
        path.mkdir(mode=0o700)
        mount(path, size)


def _save_images(folder: Path) -> None:
    """The base images that the host's engine has, if it has any: to make them takes minutes."""
    needed = tuple(f"{BASES}:{name}-{ARCH}-" for name in (SUITE, "proxy"))
    # Without them this machine's worker makes its own.
    with suppress(DockerException), closing(docker.from_env(timeout=900)) as engine:
        tags = [tag for image in engine.images.list(BASES) for tag in image.tags if tag.startswith(needed)]
        # The newest one of each name: the engine tells them first.
        newest = {tag.rpartition("-")[0]: tag for tag in reversed(tags)}
        for number, tag in enumerate(newest.values()):
            with (folder / f"{number}.tar").open("wb") as file:
                file.writelines(engine.images.get(tag).save(named=tag))


def _load_images(folder: Path) -> None:
    with closing(docker.from_env(timeout=900)) as engine:
        for path in folder.glob("*.tar"):
            with path.open("rb") as file:
                engine.images.load(file)


def mount(path: Path, size: str) -> None:
    """A disk of that size, empty, in memory."""
    run("mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "none", str(path))


def shrink(disk: Path) -> int:
    """Take all room but a MiB from such a disk, at once; answers the size that it had."""
    while True:
        found = os.statvfs(disk)
        # Somebody may have written more meanwhile.
        with suppress(subprocess.CalledProcessError):
            resize(disk, (found.f_blocks - found.f_bfree) * found.f_frsize + MIB)
            return found.f_blocks * found.f_frsize


def resize(disk: Path, size: int) -> None:
    """Let such a disk have so many bytes, which may not be less than what is on it."""
    run("mount", "-o", f"remount,size={size}", str(disk))


def run(*command: str) -> None:
    """Raises CalledProcessError."""
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True)


@contextmanager
def _network() -> Iterator[str]:
    """A network namespace that reaches what the host does, through it; the ends of its cable are NAMEa and NAMEb."""
    name = f"pf{secrets.token_hex(3)}"
    host, guest = secrets.choice(list(_RANGE.subnets(new_prefix=_PREFIX))).hosts()
    inside = ("ip", "-n", name)
    with ExitStack() as stack:
        run("ip", "netns", "add", name)
        stack.callback(run, "ip", "netns", "del", name)
        run("ip", "link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
        run("ip", "address", "add", f"{host}/{_PREFIX}", "dev", f"{name}a")
        run("ip", "link", "set", f"{name}a", "up")
        run(*inside, "address", "add", f"{guest}/{_PREFIX}", "dev", f"{name}b")
        run(*inside, "link", "set", "lo", "up")
        run(*inside, "link", "set", f"{name}b", "up")
        run(*inside, "route", "add", "default", "via", str(host))
        forwards = Path("/proc/sys/net/ipv4/ip_forward")
        stack.callback(forwards.write_text, forwards.read_text())
        forwards.write_text("1")
        # At the beginning: an engine of the host has a rule at the end that lets nothing through.
        for table, chain, *rule in (
            ("filter", "FORWARD", "-i", f"{name}a", "-j", "ACCEPT"),
            ("filter", "FORWARD", "-o", f"{name}a", "-j", "ACCEPT"),
            ("nat", "POSTROUTING", "-s", str(guest), "-j", "MASQUERADE"),
        ):
            run("iptables", "--wait", "-t", table, "-I", chain, *rule)
            stack.callback(run, "iptables", "--wait", "-t", table, "-D", chain, *rule)
        yield name
