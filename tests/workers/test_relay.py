# SPDX-License-Identifier: GPL-3.0-or-later
"""The proxy in a real engine: a mirror that is not where it says, and who waits for the proxy."""

import platform
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path

import docker
import pytest

from tests.workers.kit import order
from workers.errors import AttemptEnded, LetGo
from workers.images import Base, DockerImages
from workers.lock import hold
from workers.proxy import DockerProxy, image_of, own_arch
from workers.sandbox.docker import DockerSandbox, owner
from workers.sandbox.fake import FakeImages
from workers.steps import spec_of
from workers.wire.arch import Arch, Tier
from workers.wire.order import Environment, Index, Network, Step, User
from workers.wire.report import Outcome

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

OWNER = owner("testfarm", "w3")

#: Prints what the proxy says to each address that it is asked for.
ASK = """
use IO::Socket::INET;
for (@ARGV) {
    my $proxy = IO::Socket::INET->new(PeerAddr => "patchfarm-proxy:3142", Timeout => 5) or die "no proxy";
    print $proxy "GET $_ HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n";
    print scalar(<$proxy>) // "nothing\\n";
}
"""


class Mirror(ThreadingHTTPServer):
    """Serves what is below /debian/, and says of /debian/moved that it is elsewhere."""

    def __init__(self, port: int) -> None:
        super().__init__(("0.0.0.0", port), _Handler)  # noqa: S104  # a container has to reach it
        self.asked: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        moved = self.path == "/debian/moved.deb"
        self.send_response(302 if moved else 200)
        if moved:
            self.send_header("Location", f"http://{self.headers['Host']}/elsewhere/secret.deb")
        self.send_header("Content-Length", "0" if moved else "4")
        self.end_headers()
        self.wfile.write(b"" if moved else b"text")

    def log_message(self, *_: object) -> None:
        pass


def low_port() -> Mirror:
    """A mirror at one of the ports that the proxy reaches."""
    for port in range(20_000, 32_768):
        with suppress(OSError):
            return Mirror(port)
    pytest.fail("there is no free port")


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with low_port() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@dataclass
class Relay:
    """A proxy of its own for a worker of its own, made from an image that is there."""

    client: docker.DockerClient
    home: Path
    image: str

    def proxy(self) -> DockerProxy:
        return DockerProxy(self.client, FakeImages(Base(self.image)), self.home, Arch.AMD64, OWNER)

    def left(self) -> list[str]:
        """The containers and networks that there are of it."""
        mine = {"label": [f"{key}={value}" for key, value in OWNER.items()]}
        containers = [str(it["Names"][0]) for it in self.client.api.containers(all=True, filters=mine)]
        return containers + [str(it["Name"]) for it in self.client.api.networks(filters=mine)]


@pytest.fixture
def relay(client: docker.DockerClient, debian: Environment, tmp_path: Path) -> Iterator[Relay]:
    arch = own_arch(platform.machine(), ())
    images = DockerImages(client, tmp_path, OWNER, tmp_path)
    relay = Relay(client, tmp_path, images.ensure(image_of(debian), arch, lambda _: None, lambda: None).image)
    yield relay
    relay.proxy().retire()
    for volume in client.volumes.list(filters={"label": [f"{key}={value}" for key, value in OWNER.items()]}):
        volume.remove()
    assert relay.left() == []


def cancelled() -> None:
    raise AttemptEnded(Outcome.CANCELLED, "cancelled")


def test_a_mirror_that_says_it_is_elsewhere_is_not_followed_there(
    relay: Relay, mirror: Mirror, base: Callable[[Arch], Base], debian: Environment
) -> None:
    host = ip_network(relay.client.api.inspect_network("bridge")["IPAM"]["Config"][0]["Subnet"])[1]
    place = f"http://{host}:{mirror.server_port}"
    environment = Environment("deb", "x", "debian-archive", (Index(f"{place}/debian", "x", ("main",)),), ())
    asked = [f"{place}/{path}" for path in ("debian/here.deb", "debian/moved.deb", "elsewhere/secret.deb")]
    step = Step("ask", (("perl", "-e", ASK, *asked),), User.ROOT, Network.MIRROR)
    box = DockerSandbox(relay.client, "testfarm", "w3", relay.proxy())
    given = order(steps=(step,), environment=environment)
    container = box.create(spec_of(given, 0, base(Arch.AMD64).image, "testfarm", Tier.NATIVE))
    printed: list[bytes] = []
    box.run(container, printed.append, lambda _: False)
    box.remove(container)
    answers = [line.split()[1] for line in b"".join(printed).decode().splitlines() if line.startswith("HTTP/1.")]
    assert (answers[0], answers[2]) == ("200", "403")
    assert mirror.asked == ["/debian/here.deb", "/debian/moved.deb"]


def test_who_waits_for_the_proxy_or_for_its_image_can_be_told_to_stop(relay: Relay, debian: Environment) -> None:
    with pytest.raises(AttemptEnded, match="cancelled"), relay.proxy().way(debian, cancelled):
        pytest.fail("its image is not there yet")
    with hold(relay.home / "proxy.lock", cancelled), pytest.raises(LetGo), relay.proxy().way(debian, let_go):
        pytest.fail("somebody else makes it")


def let_go() -> None:
    raise LetGo("the worker ends")


def test_a_proxy_of_before_makes_way_for_the_one_of_now(relay: Relay, debian: Environment) -> None:
    before, now = relay.proxy(), relay.proxy()
    before.name = "patchfarm-testfarm-w3-of-before"
    for proxy in (before, now):
        with proxy.way(debian, lambda: None):
            assert [name for name in relay.left() if name.startswith("/")] == [f"/{proxy.name}"]


def test_a_worker_that_ends_leaves_a_proxy_to_whoever_is_at_it(relay: Relay, debian: Environment) -> None:
    proxy = relay.proxy()
    with proxy.way(debian, lambda: None):
        relay.proxy().retire()
        assert f"/{proxy.name}" in relay.left()
