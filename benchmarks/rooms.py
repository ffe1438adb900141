# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build is compared with, in containers of their own: a ready tree, and sbuild as a maintainer would run it.

They have the farm's base image and its apt sources; the network that the engine gives to containers of the machine.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import docker

from workers.sandbox import tar

_IN = "/srv"
_BUILDER = "1000:1000"

#: Everything that `dpkg-buildpackage` needs, and the source unpacked once.
_PREPARE_TREE = """
rm -f /etc/apt/apt.conf.d/*patchfarm-proxy
apt-get update
apt-get --yes dist-upgrade
apt-get --yes --arch-only build-dep {dsc}
chown -R 1000:1000 /srv
"""
#: sbuild with a tarball to unpack for every build, as sbuild(1) describes for `unshare`, with the archive's keys.
_PREPARE_SBUILD = """
rm -f /etc/apt/apt.conf.d/*patchfarm-proxy
apt-get update
apt-get --yes install sbuild mmdebstrap uidmap zstd
usermod --home /srv builder
printf 'builder:100000:65536\\n' | tee /etc/subuid >/etc/subgid
cat /etc/apt/sources.list /etc/apt/sources.list.d/* >/tmp/sources.list 2>/dev/null || true
mkdir -p /srv/.cache/sbuild
mmdebstrap --variant=buildd bookworm /srv/.cache/sbuild/bookworm-{arch}.tar.zst /tmp/sources.list
chown -R 1000:1000 /srv
"""
_SBUILD = ("sbuild", "--chroot-mode=unshare", "--dist=bookworm", "--no-run-lintian", "--no-run-piuparts")


@dataclass(frozen=True)
class Run:
    """What one build took: seconds of wall time, and of a processor (cgroup)."""

    wall: float
    cpu: float


class Room:
    """A container that stays, to run commands in. `dsc` is where the source's control file is in it."""

    def __init__(self, client: docker.DockerClient, container: str, dsc: str) -> None:
        self._client = client
        self._container = container
        self.dsc = dsc

    def run(self, argv: Sequence[str], user: str = "0:0", folder: str = "/") -> Run:
        """Run a command to its end. Raises RuntimeError with the end of its output where that is not good."""
        api = self._client.api
        environment = {"HOME": _IN, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        call = api.exec_create(self._container, list(argv), user=user, workdir=folder, environment=environment)["Id"]
        cpu, began = self._cpu(), time.monotonic()
        said = bytes(api.exec_start(call))
        done = Run(time.monotonic() - began, self._cpu() - cpu)
        if api.exec_inspect(call)["ExitCode"] != 0:
            raise RuntimeError(f"{argv[0]}: {said[-2000:].decode(errors='replace')}")
        return done

    def _cpu(self) -> float:
        """Seconds of all processors since the container began, as the kernel's control group counts them."""
        now = self._client.api.stats(self._container, stream=False, one_shot=True)
        return float(now["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9


@contextmanager
def _room(client: docker.DockerClient, image: str, files: Sequence[Path], free: bool) -> Iterator[Room]:
    """`free` is a container that may have namespaces of its own: what sbuild needs, and no build of a farm's gets."""
    api = client.api
    options = api.create_host_config(
        network_mode="bridge",
        init=True,
        cap_add=["SYS_ADMIN"] if free else [],
        security_opt=["seccomp=unconfined", "apparmor=unconfined"] if free else [],
    )
    # A user namespace may mount its own /proc only where nothing of the container's is masked (user_namespaces(7)).
    masks: dict[str, list[str]] = {"MaskedPaths": [], "ReadonlyPaths": []} if free else {}
    container = str(
        api.create_container(image, ["sleep", "infinity"], user="0:0", host_config={**options, **masks})["Id"]
    )
    try:
        api.put_archive(container, _IN, b"".join(tar.stream([(path.name, path) for path in files])))
        api.start(container)
        yield Room(client, container, str(PurePosixPath(_IN) / files[0].name))
    finally:
        api.remove_container(container, force=True, v=True)


@contextmanager
def ready_tree(client: docker.DockerClient, image: str, files: Sequence[Path]) -> Iterator[Room]:
    """A room with everything that the source needs; `build_bare` builds in it."""
    with _room(client, image, files, free=False) as room:
        room.run(["sh", "-ec", _PREPARE_TREE.format(dsc=room.dsc)])
        yield room


def build_bare(room: Room) -> Run:
    """The commands of the package alone, in a tree that was just unpacked: no build can take less."""
    tree = f"{_IN}/tree"
    room.run(["rm", "-rf", tree])
    room.run(["dpkg-source", "--extract", room.dsc, tree], user=_BUILDER)
    return room.run(["dpkg-buildpackage", "--build=any", "--no-sign"], user=_BUILDER, folder=tree)


@contextmanager
def sbuild_room(client: docker.DockerClient, image: str, files: Sequence[Path], arch: str) -> Iterator[Room]:
    """A room with sbuild and its tarball; `build_sbuild` builds in it."""
    with _room(client, image, files, free=True) as room:
        room.run(["sh", "-ec", _PREPARE_SBUILD.format(arch=arch)])
        yield room


def build_sbuild(room: Room) -> Run:
    """What a maintainer types."""
    return room.run([*_SBUILD, room.dsc], user=_BUILDER, folder=_IN)
