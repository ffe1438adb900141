# SPDX-License-Identifier: GPL-3.0-or-later
"""What hostile code tries in a container, as the builder and as root of a step that needs the mirror.

What it tries with its output, its log and its limits is in test_engine.py and test_tar.py. Each attempt here
names what stopped it, in the kernel's own words: one that fails for another reason proves nothing.
"""

import dataclasses
import re
import socket
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from itertools import count

import docker
import pytest

from tests.workers.kit import LIMITS, order
from workers.images import Base
from workers.proxy import DockerProxy
from workers.sandbox import Ended, SandboxError, Spec
from workers.sandbox.docker import DockerSandbox
from workers.steps import spec_of
from workers.wire.arch import Arch, Tier
from workers.wire.order import Environment, Limits, Network, Step, User

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

BUILDER = (User.BUILDER, Network.NONE)
ROOT = (User.ROOT, Network.MIRROR)
_NUMBERS = count(1)


class Cell:
    """Runs one program after the other, each in a container of its own that is gone afterwards."""

    def __init__(self, box: DockerSandbox, image: str, environment: Environment) -> None:
        self.box = box
        self.image = image
        self._environment = environment

    def spec(self, *argv: str, who: tuple[User, Network] = BUILDER, limits: Limits = LIMITS, runtime: str = "") -> Spec:
        given = order(
            attempt=next(_NUMBERS),
            steps=(Step("try", (argv,), *who),),
            limits=limits,
            environment=self._environment,
            runtime=runtime,
        )
        return spec_of(given, 0, self.image, "testfarm", Tier.NATIVE)

    def run(self, *argv: str, who: tuple[User, Network] = BUILDER, limits: Limits = LIMITS) -> tuple[Ended, str]:
        """How it ended, and what it printed."""
        container = self.box.create(self.spec(*argv, who=who, limits=limits))
        printed: list[bytes] = []
        try:
            ended = self.box.run(container, printed.append, lambda _: False)
        finally:
            self.box.remove(container)
        return ended, b"".join(printed).decode(errors="replace")


@pytest.fixture
def cell(sandbox: DockerSandbox, base: Callable[[Arch], Base], debian: Environment) -> Cell:
    return Cell(sandbox, base(Arch.AMD64).image, debian)


def perl(program: str) -> str:
    """A call of the kernel that no program of the image makes; the error is printed in words."""
    return f'perl -MSocket -e \'{program} and print "done\\n" or print "$!\\n"\''


DENIED = "Permission denied"
FORBIDDEN = "Operation not permitted"
READ_ONLY = "Read-only file system"

#: What is tried, by whom, and what the kernel says to it.
ATTEMPTS = {
    "a device node": ("mknod disk b 254 0", ROOT, FORBIDDEN),
    "a device node of a builder": ("mknod disk b 254 0", BUILDER, FORBIDDEN),
    "a mount": ("mount -t tmpfs none /mnt", ROOT, "permission denied"),
    "a namespace where one is root": ("unshare --user --map-root-user true", BUILDER, FORBIDDEN),
    "a namespace of mounts": ("unshare --mount true", ROOT, FORBIDDEN),
    "settings of the kernel": (": >>/proc/sys/kernel/core_pattern", ROOT, READ_ONLY),
    "settings of the kernel by a builder": (": >>/proc/sys/kernel/core_pattern", BUILDER, DENIED),
    "the magic key": (
        "[ ! -e /proc/sysrq-trigger ] && echo no key || : >>/proc/sysrq-trigger",
        ROOT,
        "no key|" + READ_ONLY,
    ),
    "sysfs": (": >>/sys/kernel/uevent_helper", ROOT, READ_ONLY),
    "its own limits": ("for file in $(find /sys/fs/cgroup -name pids.max); do : >>$file; done", ROOT, READ_ONLY),
    "more open files": ("ulimit -n 1048576", ROOT, "ot permitted"),
    "a better priority": ("nice -n -5 true", BUILDER, DENIED),
    "the kernel's log": ("dmesg", ROOT, FORBIDDEN),
    "the kernel's keys": (perl("syscall(250, 0, -3, 1) >= 0"), BUILDER, FORBIDDEN),
    "a program in the kernel": (perl("syscall(321, 0, 0, 0) >= 0"), ROOT, FORBIDDEN),
    "the kernel's events": (perl("syscall(298, 0, 0, -1, -1, 0) >= 0"), BUILDER, FORBIDDEN),
    "a module": (perl("syscall(175, 0, 0, 0) >= 0"), ROOT, FORBIDDEN),
    "the clock": ("date --set=@0", ROOT, FORBIDDEN),
    "the host's name": ("hostname x", ROOT, "you must be root"),
    "packets of its own making": (perl("socket(S, PF_INET, SOCK_RAW, 1)"), ROOT, FORBIDDEN),
    "frames of its own making": (perl("socket(S, 17, SOCK_RAW, 768)"), ROOT, FORBIDDEN),
    "the disks": ("cat /dev/vda /dev/sda /dev/nvme0n1 /dev/mem", ROOT, "No such file or directory"),
    "the system": ("touch /usr/x /etc/x /root/x /usr/lib/patchfarm/x", BUILDER, DENIED),
    "passwords": ("cat /etc/shadow", BUILDER, DENIED),
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_what_is_tried_is_refused_by_the_kernel(cell: Cell, name: str) -> None:
    script, who, stopped_by = ATTEMPTS[name]
    _, printed = cell.run("sh", "-c", script, who=who)
    assert re.search(stopped_by, printed.partition("\n")[2], re.IGNORECASE), printed
    assert "done" not in printed.splitlines()


def test_a_builder_can_write_where_it_works_and_to_scratch_folders_alone(cell: Cell) -> None:
    find = ["find", "/", "-xdev", "-path", "/proc", "-prune", "-o", "-writable", "!", "-type", "l", "-print"]
    _, printed = cell.run(*find)
    folders = {line for line in printed.splitlines() if line.startswith("/") and not line.startswith("find:")}
    assert folders == {"/build/reproducible-path", "/tmp", "/var/tmp", "/run/lock"}


def test_nothing_of_the_host_is_inside(cell: Cell) -> None:
    script = "find / -xdev -type s; find /dev -type b; for process in /proc/[0-9]*; do cat $process/comm; done"
    _, printed = cell.run("sh", "-c", script, who=ROOT)
    assert set(printed.partition("\n")[2].split()) <= {"docker-init", "sh", "cat", "tini"}


def test_a_program_with_roots_bit_does_not_make_root(cell: Cell) -> None:
    plant = cell.box.create(cell.spec("install", "-m", "4755", "/usr/bin/id", "/usr/local/bin/planted", who=ROOT))
    cell.box.run(plant, lambda _: None, lambda _: False)
    cell.image = cell.box.commit(plant)
    _, printed = cell.run("sh", "-c", "stat --format=%A:%u /usr/local/bin/planted; planted -u")
    assert printed.splitlines()[1:] == ["-rwsr-xr-x:0", "1000"]
    assert cell.box.sweep(()) == 2


def test_an_attempt_finds_nothing_of_another(cell: Cell) -> None:
    places = "/tmp /var/tmp /dev/shm /dev/mqueue /run/lock /build/reproducible-path"
    _, printed = cell.run("sh", "-c", f"for place in {places}; do echo secret >$place/left-here; done; echo left")
    assert "left" in printed.split()
    _, printed = cell.run("find", *places.split(), "-name", "left-here")
    assert len(printed.splitlines()) == 1


@pytest.mark.parametrize("runtime", ["no-such-runtime"])
def test_a_runtime_that_the_engine_does_not_have_is_named(cell: Cell, runtime: str) -> None:
    with pytest.raises(SandboxError, match=f"no runtime '{runtime}'"):
        cell.box.create(cell.spec("true", runtime=runtime))


def test_a_runtime_that_the_engine_has_is_used(cell: Cell, client: docker.DockerClient) -> None:
    container = cell.box.create(cell.spec("true", runtime="runc"))
    assert client.api.inspect_container(container)["HostConfig"]["Runtime"] == "runc"
    cell.box.remove(container)


def test_shared_memory_is_small(cell: Cell) -> None:
    _, printed = cell.run("dd", "if=/dev/zero", "of=/dev/shm/x", "bs=1M", "count=65")
    assert "No space left on device" in printed


def test_it_gets_the_cores_that_it_is_given(cell: Cell) -> None:
    limits = dataclasses.replace(LIMITS, cores=1)
    spin = "for core in 1 2 3 4; do timeout 4 sh -c 'while :; do :; done' & done; wait"
    ended, _ = cell.run("sh", "-c", spin, limits=limits)
    assert 0 < ended.usage.cpu_seconds <= 1.2 * ended.seconds


# The network.

#: Prints each address with what became of it.
KNOCK = """
use IO::Socket::INET;
for (@ARGV) { print "$_ ", IO::Socket::INET->new(PeerAddr => $_, Timeout => 2) ? "reached" : "not", "\\n" }
"""

#: Prints what the proxy says to each request.
ASK = """
use IO::Socket::INET;
for (@ARGV) {
    my $proxy = IO::Socket::INET->new(PeerAddr => "patchfarm-proxy:3142", Timeout => 5) or die "no proxy";
    print $proxy "$_ HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n";
    print "$_: ", scalar(<$proxy>) // "nothing\\n";
}
"""


@pytest.fixture
def service() -> Iterator[int]:
    """A service of the host that listens on all of its addresses, by its port."""
    with socket.create_server(("0.0.0.0", 0)) as server:  # noqa: S104  # that is the point
        threading.Thread(target=_accept, args=(server,), daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket) -> None:
    while True:
        try:
            server.accept()[0].close()
        except OSError:
            return


@pytest.fixture
def hosts(client: docker.DockerClient) -> list[str]:
    """Addresses that the host has: of the engine's bridge, and of its way to the world."""
    # Its first address there: an engine does not say which one it has when it is started for the first time.
    bridge = ip_network(client.api.inspect_network("bridge")["IPAM"]["Config"][0]["Subnet"])[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return [str(bridge), probe.getsockname()[0]]


def test_the_hosts_service_would_be_reached_on_an_ordinary_network(
    client: docker.DockerClient, cell: Cell, hosts: list[str], service: int
) -> None:
    knock = ["perl", "-e", KNOCK, *(f"{host}:{service}" for host in hosts)]
    said = client.containers.run(cell.image, knock, network_mode="bridge", remove=True)
    assert said.decode().split()[1::2] == ["reached", "reached"]


@pytest.mark.parametrize("who", [BUILDER, ROOT])
def test_nothing_of_the_host_nor_beyond_it_is_reached(
    cell: Cell, who: tuple[User, Network], hosts: list[str], service: int, debian: Environment
) -> None:
    mirror = socket.gethostbyname(debian.indices[0].url.split("/")[2])
    services = [f"{host}:{service}" for host in (*hosts, "198.18.0.1")]
    _, printed = cell.run("perl", "-e", KNOCK, *services, f"{mirror}:80", "169.254.169.254:80", who=who)
    assert printed.split()[-9::2] == ["not"] * 5


@pytest.mark.parametrize("who", [BUILDER, ROOT])
def test_no_name_is_resolved(cell: Cell, who: tuple[User, Network], debian: Environment) -> None:
    host = debian.indices[0].url.split("/")[2]
    ended, printed = cell.run("getent", "hosts", host, who=who)
    assert ended.exit_code == 2
    assert len(printed.splitlines()) == 1


def test_two_steps_that_need_the_mirror_do_not_see_each_other(cell: Cell, client: docker.DockerClient) -> None:
    listen = "use IO::Socket::INET; $s = IO::Socket::INET->new(LocalPort => 7000, Listen => 9); $s->accept while 1"
    other = cell.box.create(cell.spec("perl", "-e", listen, who=ROOT))
    client.api.start(other)
    networks = client.api.inspect_container(other)["NetworkSettings"]["Networks"]
    address = next(iter(networks.values()))["IPAddress"]
    _, printed = cell.run("perl", "-e", KNOCK, f"{address}:7000", who=ROOT)
    cell.box.remove(other)
    assert printed.splitlines()[-1] == f"{address}:7000 not"


def test_the_proxy_relays_the_mirror_and_nothing_else(
    cell: Cell, hosts: list[str], service: int, debian: Environment
) -> None:
    mirror = debian.indices[0].url
    wanted = f"GET {mirror}/dists/bookworm/InRelease"
    refused = [
        "GET http://169.254.169.254/latest/meta-data/",
        f"GET http://{hosts[0]}:{service}/",
        f"GET {mirror}/../somewhere/else",
        "GET /acng-report.html",
        f"CONNECT {hosts[0]}:{service}",
        f"CONNECT {mirror.split('/')[2]}:22",
    ]
    _, printed = cell.run("perl", "-e", ASK, wanted, *refused, who=ROOT)
    answers = dict(line.rsplit(": ", 1) for line in printed.splitlines() if ": HTTP/1." in line)
    assert "200" in answers.pop(wanted)
    assert {request: answer.split()[1] for request, answer in answers.items()} == dict.fromkeys(refused, "403")


def test_a_proxy_that_died_is_started_again(
    cell: Cell, client: docker.DockerClient, proxy: DockerProxy, debian: Environment
) -> None:
    with proxy.way(debian, lambda: None):
        client.api.stop(proxy.name, timeout=0)
    _, printed = cell.run("perl", "-e", ASK, f"GET {debian.indices[0].url}/dists/bookworm/InRelease", who=ROOT)
    assert "200 OK" in printed


def test_without_a_proxy_there_is_no_other_way(cell: Cell, client: docker.DockerClient) -> None:
    box = DockerSandbox(client, "testfarm", "w1")
    with pytest.raises(SandboxError, match="no proxy"):
        box.create(cell.spec("true", who=ROOT))
