# SPDX-License-Identifier: GPL-3.0-or-later
"""Base images: bootstrapped from the archive's signed indices, kept in the engine, made anew when they are old.

An image never comes from a registry, and is used only after its architecture was looked at from inside.
"""

import contextlib
import hashlib
import json
import re
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote

import docker
from docker.errors import ImageNotFound

from workers import deb
from workers.bootstrap import SCRIPTS, bootstrap
from workers.keyring import keyring_in
from workers.lock import hold
from workers.sandbox import SandboxError
from workers.sandbox.docker import engine_errors
from workers.transfer import digest_of
from workers.wire.arch import Arch
from workers.wire.order import Environment

#: An image grows old, and one that had to leave an index out does so before the mirror's next sync is long past.
FRESH = timedelta(days=7)
FRESH_WITHOUT_AN_INDEX = timedelta(hours=1)

#: Where the engine keeps base images, and layers on top of them.
BASES = "patchfarm/base"
LAYERS = "patchfarm/layer"
#: What an image is called that must not be found again; of two of them, the one before has no name at all.
FORGOTTEN = "patchfarm/base:forgotten"
LEFT_OUT_LABEL = "patchfarm.left-out"
PACKAGES_LABEL = "patchfarm.packages"


@dataclass(frozen=True)
class Base:
    """A base image by its id, the optional indices that did not verify when it was made, and how long it was made for.

    `seconds` is 0 for one that was there.
    """

    image: str
    left_out: tuple[str, ...] = ()
    seconds: float = 0.0


class Images(Protocol):
    """Where base images come from."""

    def ensure(
        self, environment: Environment, arch: Arch, say: Callable[[bytes], None], check: Callable[[], None]
    ) -> Base:
        """The image, made now if need be; progress goes to `say`, `check` may raise to stop. Raises AttemptEnded."""

    def forget(self, environment: Environment, arch: Arch) -> None:
        """Make it anew next time: the mirror is not what it was when this one was made."""


class DockerImages:
    """See Images. `home` holds locks and the tarballs while they are made; `owner` labels what is to be swept.

    `keyrings` is the folder of those that are trusted beside the machine's own.
    """

    def __init__(self, client: docker.DockerClient, home: Path, owner: Mapping[str, str], keyrings: Path) -> None:
        self._client = client
        self._home = home
        self._owner = owner
        self._keyrings = keyrings

    def ensure(
        self, environment: Environment, arch: Arch, say: Callable[[bytes], None], check: Callable[[], None]
    ) -> Base:
        """See Images."""
        keyring = keyring_in(self._keyrings, environment.keyring)
        tag = tag_of(environment, arch, keyring)
        with hold(self._home / f"{tag.rpartition(':')[2]}.lock", check):
            return self._fresh(tag) or self._make(tag, environment, arch, keyring, say, check)

    @engine_errors()
    def forget(self, environment: Environment, arch: Arch) -> None:
        """See Images."""
        tag = tag_of(environment, arch, keyring_in(self._keyrings, environment.keyring))
        # It stays for those who have found it. The cache takes it away when nobody can need it any more.
        if touch(self._client, tag, FORGOTTEN):
            with contextlib.suppress(ImageNotFound):
                self._client.api.remove_image(tag, noprune=True)

    @engine_errors()
    def _fresh(self, tag: str) -> Base | None:
        try:
            image = self._client.images.get(tag)
        except ImageNotFound:
            return None
        base = Base(str(image.id), tuple(json.loads(unquote(image.labels.get(LEFT_OUT_LABEL, "[]")))))
        made = datetime.fromisoformat(re.sub(r"\.\d+", "", image.attrs["Created"]))
        limit = FRESH_WITHOUT_AN_INDEX if base.left_out else FRESH
        if datetime.now(UTC) - made >= limit or not touch(self._client, base.image, tag):
            return None
        return base

    def _make(
        self,
        tag: str,
        environment: Environment,
        arch: Arch,
        keyring: Path,
        say: Callable[[bytes], None],
        check: Callable[[], None],
    ) -> Base:
        say(f"== base image: {environment.suite} {arch}\n".encode())
        began = time.monotonic()
        with tempfile.TemporaryDirectory(dir=self._home, prefix="image-") as folder:
            # mmdebstrap's own user namespace looks at it from another user.
            Path(folder).chmod(0o755)
            left_out = bootstrap(environment, arch, Path(folder), keyring, say, check)
            image = self._import(Path(folder) / "root.tar", left_out)
        try:
            self._refuse_wrong(image, arch)
            with engine_errors():
                # The one that had the tag stays for those who have found it, as a forgotten one does.
                touch(self._client, image, tag)
        except SandboxError:
            with engine_errors():
                self._client.api.remove_image(image, force=True)
            raise
        return Base(image, left_out, time.monotonic() - began)

    @engine_errors()
    def _import(self, tarball: Path, left_out: tuple[str, ...]) -> str:
        # Quoted so that no word of a mirror's can be read as more of the instruction.
        label = f"LABEL {LEFT_OUT_LABEL}={quote(json.dumps(left_out), safe='')}"
        answer = self._client.api.import_image(src=str(tarball), changes=[label])
        last = json.loads(str(answer).strip().splitlines()[-1])
        if "status" not in last:
            raise SandboxError(f"the container engine does not take the image: {last.get('error', 'no reason given')}")
        return str(last["status"])

    @engine_errors()
    def _refuse_wrong(self, image: str, arch: Arch) -> None:
        command = ["dpkg", "--print-architecture"]
        # Labelled as a step's container would be, so that what a killed worker leaves of it is swept.
        labels = {**self._owner, "patchfarm.attempt": "base image"}
        said = self._client.containers.run(
            image, command, remove=True, network_mode="none", user="1000:1000", labels=labels
        )
        if bytes(said).decode(errors="replace").strip() != arch:
            raise SandboxError(f"the image made for {arch} says that it is {said!r}")


def touch(client: docker.DockerClient, image: str, tag: str) -> bool:
    """Give an image a tag, which it may have already: the engine remembers when, for all workers that share it.

    Answers whether the image is there.
    """
    repository, _, name = tag.rpartition(":")
    try:
        client.api.tag(image, repository, name)
    except ImageNotFound:
        return False
    return True


def tag_of(environment: Environment, arch: Arch, keyring: Path) -> str:
    """The name an image is kept under: everything that decides what is in it goes into its last part."""
    digest = hashlib.sha256(json.dumps([asdict(environment), arch], sort_keys=True).encode())
    for path in (*sorted(SCRIPTS.glob("*.sh")), keyring):
        digest.update(digest_of(path).encode())
    digest.update(json.dumps(deb.bootstrap_command(environment, arch, Path("root.tar"))).encode())
    suite = re.sub(r"[^a-z0-9.-]", "-", environment.suite.lower())
    return f"{BASES}:{suite}-{arch}-{digest.hexdigest()[:12]}"
