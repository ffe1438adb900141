# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker on a host with systemd, from `worker add` to `worker remove`; the host is made for this and gone afterwards.

It is a container of Debian 12 as mmdebstrap makes it, with systemd as its first process, an SSH server, and a
container engine of its own. What is looked at: the unit and what it may not do, a build, the unit's restart in
mid-build, the host's, and what is left in the end. A bootstrap and two builds happen in it: some minutes.

The machine's own settings of pip and its certificates are copied, so that the host finds packages as this one does. It
needs all of root's rights but one; a container engine that itself is in a container may not grant them.
"""

import io
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.models.containers import Container

from benchmarks import kit, recovery
from benchmarks.kit import ARCH, Farm
from coordinator.model import JobState
from tests.sshd import make_key, public

NAME = "host"
UNIT = f"patchfarm-worker-{NAME}.service"
FOLDER = f"/opt/patchfarm-worker/{NAME}"
_PACKAGES = (
    "arch-test,ca-certificates,dbus,debian-archive-keyring,docker.io,gpgv,iptables,mmdebstrap,openssh-server,"
    "procps,python3-venv,systemd-sysv,tzdata"
)
#: A host has to itself what an engine makes read-only in a container.
_INIT = b"""#!/bin/sh
for each in /proc/sys /sys/fs/cgroup /sys/fs/cgroup/*/; do
    mount -o remount,bind,rw "$each"
done
exec /lib/systemd/systemd
"""
#: Where pip finds packages, and whom it believes.
_COPIED = (Path("/etc/pip.conf"), Path("/etc/ssl/certs/ca-certificates.crt"))
#: The most that systemd-analyze(1) may say of the unit: up to here it calls it OK.
_EXPOSURE = 5.0


@dataclass(frozen=True)
class Seen:
    """One step: how long it took, what was found, and whether that is what it should be."""

    step: str
    seconds: float
    found: str
    good: bool


@dataclass(frozen=True)
class Machine:
    """The host, and how to get in. Commands are run inside by the engine, so that nothing depends on what is tested."""

    container: Container
    identity: Path

    def run(self, *argv: str) -> str:
        """What it printed, errors too. Raises RuntimeError where there is no such program."""
        code, said = self.container.exec_run(list(argv))
        if code in (126, 127):
            raise RuntimeError(f"{argv[0]} cannot be run there")
        whole = said if isinstance(said, bytes) else b"".join(said)
        return whole.decode(errors="replace").strip()

    @property
    def address(self) -> str:
        """Where SSH answers."""
        self.container.reload()
        networks: dict[str, dict[str, str]] = self.container.attrs["NetworkSettings"]["Networks"]
        return next(iter(networks.values()))["IPAddress"]

    def fingerprint(self) -> str:
        """Of its host key, as its administrator would read it out."""
        return self.run("ssh-keygen", "-lf", "/etc/ssh/ssh_host_ed25519_key.pub").split()[1]

    def is_up(self) -> bool:
        """Whether systemd has started everything, and SSH and the engine answer."""
        up = self.run("systemctl", "is-active", "multi-user.target", "ssh.service", "docker.service")
        return up.split() == ["active"] * 3


@contextmanager
def machine() -> Iterator[Machine]:
    """A new host, up; gone afterwards, its image and its volume too."""
    client = docker.from_env(timeout=900)
    with tempfile.TemporaryDirectory() as folder:
        argv = ["mmdebstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", f"{folder}/root.tar"]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        client.api.import_image(src=f"{folder}/root.tar", repository="patchfarm-bench/host")
        identity = make_key(Path(folder) / "identity")
        container = client.containers.create(
            "patchfarm-bench/host",
            ["/init"],
            hostname=NAME,
            cap_add=["ALL"],
            # An engine in a container must not have more than its own has; nothing in here needs it.
            cap_drop=["SYS_RESOURCE"],
            security_opt=["seccomp=unconfined", "apparmor=unconfined"],
            cgroupns="private",
            tmpfs={"/run": "", "/run/lock": "", "/tmp": "exec"},  # noqa: S108  # as a host has them
            # An overlay cannot be on an overlay.
            volumes=["/var/lib/docker"],
            stop_signal="SIGRTMIN+3",
        )
        try:
            container.put_archive("/", _files(public(identity)))
            container.start()
            yield Machine(container, identity)
        finally:
            container.remove(force=True, v=True)
            client.images.remove("patchfarm-bench/host", force=True)
            client.close()


def _files(key: str) -> bytes:
    with io.BytesIO() as made:
        with tarfile.open(fileobj=made, mode="w") as tar:
            _add(tar, "init", _INIT, 0o755)
            _add(tar, "root/.ssh/authorized_keys", key.encode(), 0o600)
            for path in _COPIED:
                if path.is_file():
                    _add(tar, str(path).lstrip("/"), path.read_bytes(), 0o644)
        return made.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    tar.addfile(member, io.BytesIO(content))


def added(farm: Farm, there: Machine) -> Seen:
    """`worker add`, with the host's key named, as it would be from a script."""
    began = time.monotonic()
    where = ("worker", "add", f"root@{there.address}", "--name", NAME, "--identity", str(there.identity))
    farm.run(*where, "--host-key", there.fingerprint(), "--arch", ARCH, "--clearance", "embargoed")
    state = there.run("systemctl", "is-active", UNIT)
    return Seen("worker add", time.monotonic() - began, state, state == "active")


def verified(there: Machine) -> Seen:
    """What systemd itself says of the unit."""
    began = time.monotonic()
    complaints = there.run("systemd-analyze", "verify", f"/etc/systemd/system/{UNIT}")
    last = there.run("systemd-analyze", "security", "--no-pager", UNIT).splitlines()[-1]
    level = re.search(r": ([\d.]+) ", last)
    good = not complaints and level is not None and float(level[1]) <= _EXPOSURE
    return Seen("unit", time.monotonic() - began, f"exposure {level[1] if level else last} {complaints}", good)


def restarted(farm: Farm, there: Machine) -> Seen:
    """A build, and in the middle of it `systemctl restart`: another process goes on with it, and no line is lost."""
    began = time.monotonic()
    update = recovery.begin(farm, "restarted")
    there.run("systemctl", "restart", UNIT)
    job = recovery.ended(farm, update)
    log = farm.run("log", str(update), str(ARCH))
    lines = len(re.findall(r"^line \d+$", log, re.MULTILINE))
    adopted = job.report.adopted if job.report else 0
    found = f"{job.state} by {job.worker} ({job.tier}), attempt {job.attempt}, adopted {adopted} times, {lines} lines"
    good = (job.state, job.worker, job.attempt, lines) == (JobState.SUCCEEDED, NAME, 1, recovery.LINES) and adopted > 0
    return Seen("restart of the unit", time.monotonic() - began, found, good)


def rebooted(farm: Farm, there: Machine) -> Seen:
    """A build, and in the middle of it the host goes down: it comes back with its worker, and the job is done again."""
    update = recovery.begin(farm, "rebooted")
    began = time.monotonic()
    there.container.restart()
    job = recovery.ended(farm, update)
    found = f"{job.state} by {job.worker}, attempt {job.attempt}"
    return Seen("restart of the host", time.monotonic() - began, found, (job.state, job.attempt) == ("succeeded", 2))


def removed(farm: Farm, there: Machine) -> Seen:
    """`worker remove`: of the worker nothing is left on its host but the images that are anybody's."""
    began = time.monotonic()
    farm.run("worker", "drain", NAME, "--wait")
    farm.run("worker", "remove", NAME)
    kinds = (["ps", "--all"], ["volume", "ls"], ["network", "ls", "--filter", "type=custom"])
    left = [
        *(there.run("docker", *kind, "--quiet") for kind in kinds),
        there.run("find", FOLDER, f"/etc/systemd/system/{UNIT}", "-maxdepth", "0", "-printf", "%p\\n"),
        there.run("pgrep", "--full", FOLDER),
    ]
    found = " ".join(line for line in "\n".join(left).splitlines() if line and "No such file" not in line)
    return Seen("worker remove", time.monotonic() - began, found or "nothing left", not found)


def main() -> None:
    """All of it; the exit code is 1 where one thing is not as it should be."""
    asked = kit.arguments(__doc__).parse_args()
    began = time.monotonic()
    with machine() as there, kit.farm(NAME, kit.only_here) as farm:
        made = time.monotonic() - began
        kit.wait_for(there.is_up, 120)
        for duty in farm.client.workers():
            farm.run("worker", "drain", duty.worker.name)
        seen = [Seen("host and farm", made, there.run("systemctl", "--version").splitlines()[0], good=True)]
        seen += [added(farm, there), verified(there), restarted(farm, there), rebooted(farm, there)]
        seen.append(removed(farm, there))
    rows = [(one.step, one.seconds, one.found, "well" if one.good else "WRONG") for one in seen]
    kit.table("a worker on a host with systemd", ("", "s", "found", ""), rows)
    kit.write(asked.json, {"host": [vars(one) for one in seen]})
    sys.exit(0 if all(one.good for one in seen) else 1)


if __name__ == "__main__":
    main()
