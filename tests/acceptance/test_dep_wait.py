# SPDX-License-Identifier: GPL-3.0-or-later
"""A build whose dependencies the archive does not have waits for them on a real farm, and goes on when it has them.

The archive is Debian's and a small one of the test's own, which the farm has to trust: whatever the farm starts finds
a keyring with one more key in the place of Debian's. Nobody but root can have it put there.
"""

import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import docker
import httpx2
import pytest

from coordinator import gpg
from coordinator.cli.session import Session
from coordinator.cli.watch import follow
from coordinator.client import Client
from coordinator.config import RECIPES
from coordinator.embedded import machine
from coordinator.model import JobState, Update, UpdateState
from tests.acceptance.kit import PATIENCE, Shell
from tests.sources import Person, make_source, resign
from workers import deb
from workers.images import LAYERS
from workers.sandbox.docker import connect

pytestmark = [pytest.mark.engine, pytest.mark.system, pytest.mark.timeout(PATIENCE)]

SUITE = "waiting-security"
#: As images of workers' proxies are called: so that with the same indices and packages one image serves for both.
OF_UPDATES = "proxy"
ARCH = machine.native()[0]
SAM, KEEPER = Person("sam"), Person("keeper")
RECIPE = {
    r"^name .*": f'name = "debian/{SUITE}"',
    r"^suite .*": f'suite = "{OF_UPDATES}"',
    r"^packages .*": 'packages = ["apt-cacher-ng"]',
    r"^indices = \[.*?^\]": f'indices = [{{ suite = "bookworm" }}, {{ suite = "{SUITE}" }}]',
    r"^build .*": f'build = ["{ARCH}"]',
    r"^all-on .*": f'all-on = "{ARCH}"',
}
#: Where the repository may listen: apt-cacher-ng 3.7.4 takes any higher port for another one.
PORTS = range(20000, 32768)
#: A fixed line: mount what is named first on what is named second, and become the rest.
MOUNTED = 'mount --bind "$1" "$2"; shift 2; exec "$@"'


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing of it."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Publisher:
    """A signed apt repository in `root / "now"`, which changes all at once. Its keyring is `root / "keyring.gpg"`."""

    root: Path
    numbers: Iterator[int]

    def prepare(self) -> None:
        """A keyring with Debian's keys and the keeper's, and the package that brings it into an image."""
        (self.root / "keyring.gpg").write_bytes(deb.KEYRING.read_bytes() + bytes(KEEPER.cert))
        self._pack("debian-archive-keyring", "9999", {str(deb.KEYRING): self.root / "keyring.gpg"})

    def publish(self, name: str, version: str) -> None:
        """One more package."""
        self._pack(name, version, {})
        release = self.root / f"release-{next(self.numbers)}"
        binaries = release / "dists" / SUITE / "main" / f"binary-{ARCH}"
        binaries.mkdir(parents=True)
        shutil.copytree(self.root / "pool", release / "pool")
        (binaries / "Packages").write_bytes(_said(release, "apt-ftparchive", "packages", "pool"))
        facts = {"Suite": SUITE, "Codename": SUITE, "Components": "main", "Architectures": str(ARCH)}
        options = (f"--option=APT::FTPArchive::Release::{key}={value}" for key, value in facts.items())
        text = _said(release, "apt-ftparchive", *options, "release", f"dists/{SUITE}")
        (release / "dists" / SUITE / "InRelease").write_bytes(KEEPER.clearsign(text))
        (self.root / "next").symlink_to(release)
        (self.root / "next").replace(self.root / "now")

    def _pack(self, name: str, version: str, files: dict[str, Path]) -> None:
        tree = self.root / "trees" / f"{name}_{version}"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN" / "control").write_text(
            f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: {KEEPER.user_id}\n"
            "Description: something that others need\n"
        )
        for path, content in files.items():
            (tree / path.lstrip("/")).parent.mkdir(parents=True)
            shutil.copy(content, tree / path.lstrip("/"))
        (self.root / "pool").mkdir(exist_ok=True)
        _said(self.root, "dpkg-deb", "--root-owner-group", "--build", str(tree), "pool")


def _said(folder: Path, *command: str) -> bytes:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    """The engine."""
    engine = connect()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def publisher(tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    """A repository that has an older version of what is needed."""
    publisher = Publisher(tmp_path_factory.mktemp("archive"), count(1))
    publisher.prepare()
    publisher.publish("needed", "1.0")
    return publisher


@pytest.fixture(scope="module")
def address(engine: docker.DockerClient, publisher: Publisher) -> Iterator[str]:
    """Where the repository is, for the farm as for containers: on the engine's own bridge."""
    gateway = engine.api.inspect_network("bridge")["IPAM"]["Config"][0]["Gateway"]
    with _listening(gateway, partial(Quiet, directory=publisher.root / "now")) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://{gateway}:{server.server_port}"
        server.shutdown()
        thread.join()


def _listening(host: str, handler: Callable[..., Quiet]) -> ThreadingHTTPServer:
    for port in PORTS:
        with suppress(OSError):
            return ThreadingHTTPServer((host, port), handler)
    raise AssertionError("every port is taken")


@pytest.fixture(scope="module")
def farm(
    engine: docker.DockerClient, publisher: Publisher, address: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shell]:
    """A farm with a recipe of its own, which looks often and trusts the keeper. Nothing of it is left in the engine."""
    folder = tmp_path_factory.mktemp("waiting")
    recipe = (RECIPES / "debian" / "bookworm-security.toml").read_text()
    for before, after in RECIPE.items():
        recipe = re.sub(rf"(?ms){before}" if "indices" in before else rf"(?m){before}", after, recipe, count=1)
    (folder / "recipes").mkdir()
    (folder / "recipes" / f"{SUITE}.toml").write_text(recipe)
    settings = {"RECIPES": str(folder / "recipes"), "SECURITY_MIRROR": address, "LOOK_SECONDS": "2"}
    mount = ("unshare", "--mount", "sh", "-ec", MOUNTED, "sh", str(publisher.root / "keyring.gpg"), str(deb.KEYRING))
    shell = Shell(folder / "home", {f"PATCHFARM_{key}": value for key, value in settings.items()}, mount)
    shell("up")
    yield shell
    name = re.findall(r'^farm = "(.*)"$', (shell.home / "farm.toml").read_text(), re.MULTILINE)[0]
    mine: dict[str, str | list[str] | bool] = {"label": f"patchfarm.farm={name}"}
    images = {str(container.attrs["Image"]) for container in engine.containers.list(all=True, filters=mine)}
    shell("down")
    for base in images:
        for layer in engine.images.list(f"{LAYERS}:*-{base.removeprefix('sha256:')[:12]}-*"):
            engine.images.remove(str(layer.id), force=True)
        engine.images.remove(base, force=True)
    for volume in engine.volumes.list(filters=mine):
        volume.remove()
    for keys in (shell.home / "signer" / "gnupg", shell.home / "target" / "gnupg"):
        gpg.stop(keys)


@pytest.fixture(scope="module")
def client(farm: Shell) -> Iterator[Client]:
    """The farm as a person's client has it."""
    headers = {"Authorization": f"Bearer {(farm.home / 'secrets' / 'me.token').read_text().strip()}"}
    with httpx2.Client(base_url=farm("up").strip(), headers=headers, timeout=120, trust_env=False) as http:
        yield Client(http)


@pytest.fixture(scope="module")
def number(farm: Shell, tmp_path_factory: pytest.TempPathFactory) -> int:
    """An update of a source that needs more than the archive has."""
    folder = tmp_path_factory.mktemp("source")
    farm("submitter", "add", "sam", str(SAM.write_cert(folder)), "--replace")
    (dsc, *_) = make_source(folder, "sample", "1.0-1", SAM, suite=OF_UPDATES, tested=False)
    resign(dsc, SAM, lambda text: text.replace("Package-List:", "Build-Depends: needed (>= 2)\nPackage-List:"))
    submitted: dict[str, Any] = farm.json("submit", str(dsc), "--suite", OF_UPDATES)
    return int(submitted["id"])


def test_a_build_waits_for_what_is_not_published_yet_and_goes_on_by_itself_when_it_is(
    farm: Shell, client: Client, publisher: Publisher, number: int
) -> None:
    waiting: list[str] = []

    def publish_once_it_waits(update: Update) -> None:
        if not waiting and JobState.DEP_WAIT in {job.state for job in update.jobs}:
            waiting.append(farm("show", str(number)))
            publisher.publish("needed", "2.0")

    session = Session(connect=lambda: client)
    follow(session, number, UpdateState.AWAITING_APPROVAL, meanwhile=publish_once_it_waits)
    assert re.search(r"Dep-Wait .*waits for needed \(>= 2\)", waiting[0])
    [build] = farm.json("show", str(number))["jobs"]
    assert (build["state"], build["attempt"], build["reason"]) == ("succeeded", 2, "")
    assert "Setting up needed (2.0)" in farm("log", str(number), str(ARCH))
    assert "DependenciesMet" in farm("history", str(number))
