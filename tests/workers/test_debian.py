# SPDX-License-Identifier: GPL-3.0-or-later
"""A real security update of Debian's, built and tested as an order: the archive's own binaries are the oracle."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
import requests

from tests.workers.kit import MemoryFarm, tools, worker
from workers import deb
from workers.ending import End
from workers.errors import AttemptEnded
from workers.images import LAYERS, Base, DockerImages
from workers.layers import DockerLayers
from workers.mirror import Mirror
from workers.sandbox.docker import DockerSandbox, owner
from workers.wire.arch import Arch
from workers.wire.order import Environment, Index, Input, JobKey, JobKind, Limits, Network, Order, Step, User
from workers.wire.report import Outcome, Report

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

VERSION = "3.1.6-2.1+deb12u1"
DSC = f"libmodbus_{VERSION}.dsc"
TREE = "--chdir=libmodbus-3.1.6"
UPDATE = (("apt-get", "update"), ("apt-get", "--yes", "dist-upgrade"))
BUILD = (
    Step(
        "depends",
        (*UPDATE, ("apt-get", "--yes", "--arch-only", "build-dep", deb.DEPENDS), ("apt-get", "clean")),
        User.ROOT,
        Network.MIRROR,
        prepares=True,
    ),
    Step(
        "compile",
        (
            ("dpkg-source", "--extract", DSC, "libmodbus-3.1.6"),
            # Its own tests measure time, and fail on a machine that has too little of it.
            ("env", TREE, "DEB_BUILD_OPTIONS=nocheck", "dpkg-buildpackage", "--build=any", "--no-sign"),
        ),
    ),
)
TEST = ("autopkgtest", "--output-dir=autopkgtest", "--user=builder", "--needs-internet=skip", "--no-built-binaries")
LIMITS = Limits(1800, 2, 4 << 30, 4096, 8 << 30, 64 << 20, 1 << 30, 100)

Work = Callable[[JobKind, tuple[Step, ...], tuple[Input, ...], tuple[str, ...]], Report]


@pytest.fixture(scope="module")
def pool(mirrors: dict[str, str]) -> str:
    return f"{mirrors['bookworm-security'].rstrip('/')}/pool/updates/main/libm/libmodbus"


@pytest.fixture(scope="module")
def farm(pool: str) -> MemoryFarm:
    """A coordinator that has Debian's source."""
    farm = MemoryFarm()
    for name in (DSC, "libmodbus_3.1.6.orig.tar.gz", f"libmodbus_{VERSION}.debian.tar.xz"):
        content = requests.get(f"{pool}/{name}", timeout=60).content
        farm.blobs[hashlib.sha256(content).hexdigest()] = content
        farm.inputs.append(Input(name, hashlib.sha256(content).hexdigest(), len(content)))
    return farm


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    mirror = Mirror()
    yield mirror
    mirror.close()


@pytest.fixture
def work(
    farm: MemoryFarm,
    sandbox: DockerSandbox,
    client: docker.DockerClient,
    debian: Environment,
    tmp_path: Path,
    mirror: Mirror,
) -> Work:
    """Have one order carried out; the report."""

    def carry_out(
        kind: JobKind, steps: tuple[Step, ...], inputs: tuple[Input, ...], collect: tuple[str, ...]
    ) -> Report:
        job = JobKey(1, kind, Arch.AMD64)
        farm.given = Order(job, 1, Arch.AMD64, debian, inputs, steps, collect, LIMITS, 60)
        farm.written = b""
        farm.claims = 0
        images = DockerImages(client, tmp_path, owner("testfarm", "w1"), tmp_path)
        given = tools(farm, sandbox, images, DockerLayers(client, tmp_path, mirror))
        worker(tmp_path, farm, lambda: given, lambda: End.NOT_YET).work()
        return farm.reports[-1]

    return carry_out


def test_what_the_farm_builds_is_what_debian_shipped_and_its_tests_pass(
    farm: MemoryFarm, work: Work, pool: str
) -> None:
    built = work(JobKind.BUILD, BUILD, tuple(farm.inputs), ("*.deb", "*.changes", "*.buildinfo"))
    assert (built.outcome, built.exit_code) == (Outcome.FINISHED, 0), farm.written[-2000:]
    for name in (f"libmodbus5_{VERSION}_amd64.deb", f"libmodbus-dev_{VERSION}_amd64.deb"):
        shipped = hashlib.sha256(requests.get(f"{pool}/{name}", timeout=60).content).hexdigest()
        assert {file.name: file.sha256 for file in built.artifacts}[name] == shipped

    files = tuple(Input(file.name, file.sha256, file.size) for file in built.artifacts)
    command = (*TEST, f"libmodbus_{VERSION}_amd64.changes", DSC, "--", "chroot", "/")
    steps = (
        Step("prepare", UPDATE, User.ROOT, Network.MIRROR, prepares=True),
        Step("autopkgtest", (command,), User.ROOT, Network.MIRROR),
    )
    tested = work(JobKind.TEST, steps, (*farm.inputs, *files), ("autopkgtest/summary",))
    assert (tested.outcome, tested.exit_code) == (Outcome.FINISHED, 0), farm.written[-2000:]
    assert farm.blobs[tested.artifacts[0].sha256].split() == [b"test", b"PASS"]


def test_a_second_build_begins_with_its_own_work_and_makes_the_same(farm: MemoryFarm, work: Work) -> None:
    first, second = (work(JobKind.BUILD, BUILD, tuple(farm.inputs), ("*.deb",)) for _ in range(2))
    assert [step.name for step in second.steps] == ["base image", "compile"]
    assert second.artifacts == first.artifacts
    assert second.packages_sha256 == first.packages_sha256 != ""


def test_a_layer_has_no_file_of_the_update(farm: MemoryFarm, work: Work, client: docker.DockerClient) -> None:
    built = work(JobKind.BUILD, BUILD, tuple(farm.inputs), ("*.deb",))
    [image] = client.images.list(LAYERS, filters={"label": f"patchfarm.packages={built.packages_sha256}"})[:1]
    command = ["sh", "-c", f"ls -A; cat {deb.DEPENDS}; ls /var/cache/apt/archives/*.deb /var/cache/apt/*.bin"]
    container = client.containers.run(image, command, detach=True, network_mode="none")
    try:
        container.wait()
        said = container.logs(stdout=True, stderr=False).decode()
    finally:
        container.remove(force=True)
    assert said == deb.depends("Build-Depends: debhelper-compat (= 12), asciidoc, xmlto, psmisc\n")


def test_a_dependency_that_is_not_in_the_archive_is_uninstallable(work: Work) -> None:
    missing = Step(
        "depends",
        (*UPDATE, ("apt-get", "--yes", "install", "no-such-package")),
        User.ROOT,
        Network.MIRROR,
        prepares=True,
    )
    report = work(JobKind.BUILD, (missing,), (), ())
    assert (report.outcome, report.exit_code) == (Outcome.UNINSTALLABLE, 100)
    assert report.reason == "Unable to locate package no-such-package"


def test_an_optional_index_is_in_the_image_where_it_verifies_and_named_where_not(
    debian: Environment, base: Callable[[Arch], Base], client: docker.DockerClient
) -> None:
    for arch in (Arch.AMD64, Arch.I386):
        made = base(arch)
        listed = client.containers.run(made.image, ["ls", "/etc/apt/sources.list.d"], remove=True, network_mode="none")
        named = [line for line in made.left_out if line.startswith(f"bookworm-security {arch}: ")]
        assert (b"optional-2.list" in listed) is not bool(named)


def test_a_required_index_that_is_not_there_is_the_farms_fault_with_apts_line(
    mirrors: dict[str, str], client: docker.DockerClient, tmp_path: Path
) -> None:
    index = Index(mirrors["bookworm"], "nosuch", ("main",))
    environment = Environment("deb", "nosuch", "debian-archive", (index,), ())
    said: list[bytes] = []
    with pytest.raises(AttemptEnded, match=r"no base image for nosuch amd64: .*Release") as ended:
        DockerImages(client, tmp_path, {}, tmp_path).ensure(environment, Arch.AMD64, said.append, lambda: None)
    assert ended.value.outcome is Outcome.BROKEN
    assert b"apt-get" in b"".join(said)


def test_a_bootstrap_is_stopped_when_the_attempt_is(
    debian: Environment, client: docker.DockerClient, tmp_path: Path
) -> None:
    said: list[bytes] = []

    def cancelled() -> None:
        if b"extracting archives" in b"".join(said):
            raise AttemptEnded(Outcome.CANCELLED, "cancelled")

    fresh = Environment("deb", "cancelled", "debian-archive", debian.indices, ())
    with pytest.raises(AttemptEnded, match="cancelled"):
        DockerImages(client, tmp_path, {}, tmp_path).ensure(fresh, Arch.AMD64, said.append, cancelled)
    assert b"removing tempdir" in said[-2]
