# SPDX-License-Identifier: GPL-3.0-or-later
"""A farm of separate services by docker-compose.yml, on a machine without a registry; nothing of it is left behind."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import docker
import httpx2
from docker.errors import APIError, ImageNotFound
from docker.models.containers import Container

from coordinator.client import Client
from coordinator.mirror import mirror_for
from tests.architecture.tree import ROOT
from tests.sshd import free_port

#: What every image is built on; the next run finds it, and it is made anew where somebody removed it.
BASE = "patchfarm/test-base:bookworm"
PROJECT = "patchfarm-test"
#: What the workers make of it is this test's own: the base image is made in the worker's container every time.
ENVIRONMENT = ('packages = ["autopkgtest", "fakeroot"]', 'packages = ["fakeroot"]')
SECONDS = 500
_LABEL = "com.docker.compose"
_SITE = re.compile(r'^(Acquire::(?:Check-[\w-]+|https?::[\w:-]+) ".+");$', re.MULTILINE)


@dataclass(frozen=True)
class Composed:
    """The project in a folder, with the settings it is run with."""

    folder: Path
    environment: Mapping[str, str]
    engine: docker.DockerClient

    def __call__(self, *arguments: str, stdin: str = "", check: bool = True) -> str:
        """What a command of docker-compose prints."""
        command = ["docker-compose", "--ansi", "never", "--project-name", PROJECT, *arguments]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        if check and done.returncode != 0:
            logs = self("logs", "--tail=20", check=False)
            raise AssertionError(f"{' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-2000:]}\n{logs}")
        return done.stdout

    def patchfarm(self, *arguments: str, stdin: str = "") -> str:
        """The command line, as README says."""
        return self("run", "--rm", "-T", "patchfarm", *arguments, stdin=stdin)

    def inside(self, service: str, *command: str) -> str:
        """What a command prints in a service's container, as the account that the service has."""
        printed, _ = self.container(service).exec_run(list(command), demux=True).output
        return bytes(printed or b"").decode()

    def container(self, service: str) -> Container:
        """A service's container."""
        labels = [f"{_LABEL}.project={PROJECT}", f"{_LABEL}.service={service}", f"{_LABEL}.oneoff=False"]
        return self.engine.containers.list(all=True, filters={"label": labels})[0]

    def url(self) -> str:
        """Where this machine reaches it."""
        return f"http://127.0.0.1:{self.environment['PATCHFARM_PORT']}"

    def token(self) -> str:
        """A person's, got as README says."""
        return self("run", "--rm", "-T", "--entrypoint", "cat", "patchfarm", "/var/farm/operator/token").strip()

    @contextmanager
    def client(self) -> Iterator[Client]:
        """The farm as a person's client has it."""
        headers = {"Authorization": f"Bearer {self.token()}"}
        with httpx2.Client(base_url=self.url(), headers=headers, timeout=120, trust_env=False) as http:
            yield Client(http)


@contextmanager
def composed(folder: Path, engine: docker.DockerClient, *services: str) -> Iterator[Composed]:
    """The named services, and what they need, built and started."""
    _copy(folder)
    farm = Composed(folder, _environment(), engine)
    layer = _base(folder, engine)
    try:
        farm("build", "--force-rm", *_needed(services))
        farm("up", "--detach", "--no-build", *services)
        yield farm
    finally:
        made = _made_by_workers(farm)
        farm("down", "--volumes", "--remove-orphans", "--timeout", "10", check=False)
        for image in made:
            with suppress(ImageNotFound):
                engine.api.remove_image(image, force=True)
        _remove_built_on(layer, engine)


def left(engine: docker.DockerClient) -> list[str]:
    """Containers, volumes, networks and images of the project, and its workers' containers."""
    mine: dict[str, str | list[str] | bool] = {"label": f"{_LABEL}.project={PROJECT}"}
    found = [str(container.name) for container in engine.containers.list(all=True, filters=mine)]
    found += [str(volume.name) for volume in engine.volumes.list(filters=mine)]
    found += [str(network.name) for network in engine.networks.list(filters=mine)]
    found += [str(one["Id"]) for one in engine.api.containers(all=True, filters={"label": f"patchfarm.farm={PROJECT}"})]
    return found + [str(image.id) for image in engine.images.list(filters={"reference": f"patchfarm/*:{PROJECT}"})]


def _copy(folder: Path) -> None:
    """The project as it is built, with every Python package beside it."""
    for name in ("coordinator", "workers", "recipes"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "wheels"))
    for name in ("docker-compose.yml", ".dockerignore"):
        shutil.copy(ROOT / name, folder)
    recipe = folder / "recipes" / "debian" / "bookworm-security.toml"
    assert ENVIRONMENT[0] in recipe.read_text()
    recipe.write_text(recipe.read_text().replace(*ENVIRONMENT))
    for lock, wheels in (("coordinator", "wheels"), ("workers", "workers/wheels")):
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes", "--only-binary=:all:"]
        wanted = ["--requirement", str(ROOT / lock / "requirements.lock"), "--dest", str(folder / wheels)]
        subprocess.run([*pip, *wanted], check=True, capture_output=True, timeout=SECONDS)


def _environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PATCHFARM_", "PIP_", "COMPOSE_"))}
    return own | {
        "BASE_IMAGE": BASE,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": "/wheels",
        "PATCHFARM_TAG": PROJECT,
        "PATCHFARM_FARM": PROJECT,
        "PATCHFARM_PORT": str(free_port()),
        "PATCHFARM_MIRROR": mirror_for("bookworm", "", ""),
        "PATCHFARM_SECURITY_MIRROR": mirror_for("bookworm-security", "", ""),
    }


def _needed(services: tuple[str, ...]) -> list[str]:
    """One service for each image: the others would find it built and say so slowly."""
    return ["redis", "postgres", "web", *(service for service in services if service.startswith("worker-"))]


def _base(folder: Path, engine: docker.DockerClient) -> str:
    """Bookworm as this machine's own apt has it, with what apt needs here to reach its mirror; answers its layer."""
    if not engine.images.list(BASE):
        site = _SITE.findall(subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout)
        tarball = folder.with_suffix(".tar")
        command = ["mmdebstrap", "--variant=minbase", *(f"--aptopt={line}" for line in site), "bookworm", str(tarball)]
        source = f"deb {mirror_for('bookworm', '', '')} bookworm main"
        subprocess.run([*command, source], check=True, capture_output=True, timeout=SECONDS)
        repository, _, tag = BASE.rpartition(":")
        engine.api.import_image(src=str(tarball), repository=repository, tag=tag)
        tarball.unlink()
    return str(engine.images.get(BASE).attrs["RootFS"]["Layers"][0])


def _made_by_workers(farm: Composed) -> list[str]:
    """The base images that this farm's worker made, by the locks it keeps."""
    try:
        said = farm.inside("worker-amd64", "sh", "-c", "cd /var/lib/patchfarm-worker && ls *.lock")
    except (IndexError, APIError):
        return []
    return [f"patchfarm/base:{name.removesuffix('.lock')}" for name in said.split() if name.endswith(".lock")]


def _remove_built_on(layer: str, engine: docker.DockerClient) -> None:
    """Every image that stands on the base, the nameless ones between stages too; children go before their parents."""
    for _ in range(2):
        for image in engine.api.images(all=True, quiet=True):
            with suppress(APIError, ImageNotFound):
                about = engine.images.get(image).attrs
                if about["RootFS"]["Layers"][:1] == [layer] and BASE not in (about["RepoTags"] or []):
                    engine.api.remove_image(image, force=True)
