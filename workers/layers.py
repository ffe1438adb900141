# SPDX-License-Identifier: GPL-3.0-or-later
"""Dependency layers: what an order's preparing steps left behind, kept as an image and used again.

A layer is shared between updates, so it never holds a file of one. It is found by everything it was made from: the base
image, the steps, what they read, and the mirror's indices as they are now.
"""

import contextlib
import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Final, Protocol

import docker
from docker.errors import ImageNotFound, NotFound

from workers import deb
from workers.errors import broken
from workers.images import LAYERS, PACKAGES_LABEL, Base, touch
from workers.lock import hold
from workers.mirror import Mirror
from workers.sandbox import OutputRefused, SandboxError, tar
from workers.sandbox.docker import engine_errors
from workers.wire.order import Network, Order, Step

#: Of a source control file, and of the list of installed packages: far more than any has.
_MOST_SOURCE: Final = 4 << 20
_MOST_PACKAGES: Final = 64 << 20

#: A layer belongs to no worker: all that share the engine use it. Labels of a container cannot be taken off its image,
#: and an image that names its attempt would be swept as a leftover.
_NOBODYS: Final = "patchfarm.farm= patchfarm.worker= patchfarm.attempt="


@dataclass(frozen=True)
class Layer:
    """An image to start the first step in that does not prepare, and the sha256 of the packages that it has."""

    image: str
    packages_sha256: str


class Layers(Protocol):
    """Where layers are kept. A key is a word for people, too. Every call may raise SandboxError."""

    def key(self, order: Order, base: Base, files: Sequence[tuple[str, Path]]) -> str:
        """The key of what the order's preparing steps make of a base image; `files` are its inputs by their names.

        Nothing where there can be no layer: no such steps, or a mirror that does not answer. Raises AttemptEnded.
        """

    def making(self, key: str, check: Callable[[], None]) -> AbstractContextManager[None]:
        """While somebody makes a layer, others that need the same wait here; `check` may raise to stop waiting."""

    def find(self, key: str) -> Layer | None:
        """The layer, which counts as used now."""

    def keep(self, key: str, container: str) -> Layer:
        """Make a layer of the stopped container of the last preparing step."""


def preparing(order: Order) -> tuple[Step, ...]:
    """The steps that a layer takes the place of: those at the beginning that prepare."""
    return tuple(takewhile(lambda step: step.prepares, order.steps))


def depends_of(order: Order, files: Sequence[tuple[str, Path]]) -> str:
    """What has to be in `deb.DEPENDS` before the first preparing step; nothing where none of them names it.

    Raises AttemptEnded where it cannot be made of the inputs.
    """
    if not any(deb.DEPENDS in argv for step in preparing(order) for argv in step.run):
        return ""
    sources = [path for name, path in files if name.endswith(".dsc")]
    if len(sources) != 1:
        raise broken(f"the order has {len(sources)} source control files, and its steps need the one")
    if sources[0].stat().st_size > _MOST_SOURCE:
        raise broken("the source control file is larger than any can be")
    return deb.depends(sources[0].read_bytes().decode(errors="replace"))


def key_of(order: Order, base: Base, depends: str, mirror: Sequence[str]) -> str:
    """The key by what a layer is made from; pure. `mirror` is the state of every index.

    Its last part is the mirror's state, so that layers that differ by nothing else can be found by the rest. Where a
    later step installs more, the lists that apt keeps matter too, and not only the packages: then the state is in both.
    """
    steps = preparing(order)
    later = any(step.network is Network.MIRROR for step in order.steps[len(steps) :])
    made_from = [base.image, [[step.run, step.user, step.network] for step in steps], depends, mirror if later else ()]
    suite = re.sub(r"[^a-z0-9.-]", "-", order.environment.suite.lower())[:30]
    base_id = base.image.removeprefix("sha256:")[:12]
    return f"{suite}-{order.host}-{base_id}-{_digest(made_from)}-{_digest(mirror)}"


def lock_of(key: str) -> str:
    """The file whose lock is held while a layer is made.

    A few for all keys, so that they do not pile up: two keys that share one only wait. Of all parts of the key, for the
    mirror's state is the same for all layers of a suite.
    """
    return f"layer-{_digest(key)[:2]}.lock"


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:32]


class DockerLayers:
    """See Layers. `home` holds the locks; `mirror` is this process's."""

    def __init__(self, client: docker.DockerClient, home: Path, mirror: Mirror) -> None:
        self._client = client
        self._home = home
        self._mirror = mirror

    def key(self, order: Order, base: Base, files: Sequence[tuple[str, Path]]) -> str:
        """See Layers."""
        if not preparing(order):
            return ""
        depends = depends_of(order, files)
        states = self._mirror.states(order.environment.indices)
        return key_of(order, base, depends, states) if states else ""

    def making(self, key: str, check: Callable[[], None]) -> AbstractContextManager[None]:
        """See Layers."""
        return hold(self._home / lock_of(key), check)

    @engine_errors()
    def find(self, key: str) -> Layer | None:
        """See Layers."""
        try:
            image = self._client.images.get(f"{LAYERS}:{key}")
        except ImageNotFound:
            return None
        if not touch(self._client, str(image.id), f"{LAYERS}:{key}"):
            return None
        return Layer(str(image.id), image.labels.get(PACKAGES_LABEL, ""))

    @engine_errors()
    def keep(self, key: str, container: str) -> Layer:
        """See Layers. A layer that differs by the mirror's state alone is taken again, under the new key too."""
        packages = self._packages(container)
        filters = {"reference": f"{LAYERS}:{key.rpartition('-')[0]}-*", "label": f"{PACKAGES_LABEL}={packages}"}
        for same in self._client.api.images(filters=filters):
            if touch(self._client, str(same["Id"]), f"{LAYERS}:{key}"):
                return Layer(str(same["Id"]), packages)
        label = f"LABEL {_NOBODYS} {PACKAGES_LABEL}={packages}"
        return Layer(str(self._client.api.commit(container, LAYERS, key, changes=[label])["Id"]), packages)

    def _packages(self, container: str) -> str:
        with tempfile.TemporaryDirectory(dir=self._home, prefix="layer-") as folder:
            into = Path(folder) / "status"
            try:
                pieces, status = self._client.api.get_archive(container, deb.STATUS)
                with contextlib.closing(pieces):
                    tar.refuse_unless_small_file(deb.STATUS, status, _MOST_PACKAGES)
                    tar.only_file(deb.STATUS, pieces, into, _MOST_PACKAGES)
            except (NotFound, OutputRefused) as error:
                raise SandboxError(f"the preparing steps left no list of packages: {error}") from error
            return deb.packages_sha256(into.read_text(errors="replace"))
