# SPDX-License-Identifier: GPL-3.0-or-later
"""The container engine and base images for the tests that are marked `engine`."""

import platform
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import docker
import pytest
from docker.errors import NotFound

from workers.images import Base, DockerImages
from workers.proxy import DockerProxy, own_arch
from workers.sandbox.docker import DockerSandbox, connect, owner
from workers.wire.arch import Arch
from workers.wire.order import Environment, Index


@pytest.fixture(scope="session")
def client() -> Iterator[docker.DockerClient]:
    """The engine."""
    client = connect()
    yield client
    client.close()


@pytest.fixture(scope="session")
def proxy(client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerProxy]:
    """The way to the mirror, of which nothing is left afterwards."""
    home = tmp_path_factory.mktemp("proxy")
    mine = owner("testfarm", "w1")
    proxy = DockerProxy(client, DockerImages(client, home, mine, home), home, own_arch(platform.machine(), ()), mine)
    yield proxy
    proxy.retire()
    # No test may have needed it.
    with suppress(NotFound):
        client.api.remove_volume(proxy.name)


@pytest.fixture
def sandbox(client: docker.DockerClient, proxy: DockerProxy) -> Iterator[DockerSandbox]:
    """A sandbox that has nothing before and after."""
    box = DockerSandbox(client, "testfarm", "w1", proxy)
    box.sweep(())
    yield box
    assert box.sweep(()) == 0


@pytest.fixture(scope="session")
def mirrors() -> dict[str, str]:
    """Where the machine's own apt finds each suite."""
    command = ["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return dict(line.split(" ", 1) for line in lines)


@pytest.fixture(scope="session")
def debian(mirrors: dict[str, str]) -> Environment:
    """The environment of the shipped recipe for bookworm-security."""
    suites = {"bookworm": False, "bookworm-updates": True, "bookworm-security": True}
    indices = tuple(Index(mirrors[suite], suite, ("main",), optional) for suite, optional in suites.items())
    return Environment("deb", "bookworm-security", "debian-archive", indices, ("autopkgtest", "fakeroot"))


@pytest.fixture(scope="session")
def base(
    client: docker.DockerClient, debian: Environment, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Arch], Base]:
    """The base image of an architecture: the engine keeps it for the next run."""
    home: Path = tmp_path_factory.mktemp("images")
    return lambda arch: DockerImages(client, home, owner("testfarm", "w1"), home).ensure(
        debian, arch, lambda _: None, lambda: None
    )
