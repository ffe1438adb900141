# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers in the real engine: kept, found, and told apart from what an attempt leaves behind."""

import dataclasses
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from tests.workers.kit import ORDER
from workers.cache import GRACE, Cache, Kept, surplus
from workers.images import LAYERS, Base, DockerImages, tag_of, touch
from workers.layers import DockerLayers, key_of
from workers.mirror import Mirror
from workers.sandbox import SandboxError
from workers.sandbox.docker import DockerSandbox
from workers.steps import spec_of
from workers.wire.arch import Arch, Tier
from workers.wire.order import Network, User

pytestmark = pytest.mark.engine

STEP = dataclasses.replace(ORDER.steps[0], user=User.ROOT, network=Network.NONE)


class Shelf:
    """Layers, and containers to make them of."""

    def __init__(self, client: docker.DockerClient, sandbox: DockerSandbox, base: Base, home: Path) -> None:
        self.client = client
        self.sandbox = sandbox
        self.base = base
        self.layers = DockerLayers(client, home, Mirror())
        self.cache = Cache(client, home, 1 << 60)

    def key(self, mirror: str) -> str:
        return key_of(ORDER, self.base, "a test of layers", (mirror,))

    def container(self, script: str = "true") -> str:
        """A container that has ended."""
        step = dataclasses.replace(STEP, run=(("sh", "-c", script),))
        order = dataclasses.replace(ORDER, steps=(step,))
        container = self.sandbox.create(spec_of(order, 0, self.base.image, "testfarm", Tier.NATIVE))
        self.sandbox.run(container, lambda _: None, lambda _: False)
        return container

    def kept(self, key: str) -> Kept:
        [found] = [one for one in self.cache.kept() if f"{LAYERS}:{key}" in one.tags]
        return found


@pytest.fixture
def shelf(
    client: docker.DockerClient, sandbox: DockerSandbox, base: Callable[[Arch], Base], tmp_path: Path
) -> Iterator[Shelf]:
    shelf = Shelf(client, sandbox, base(Arch.AMD64), tmp_path)
    yield shelf
    sandbox.sweep(())
    for image in client.api.images(filters={"reference": f"{LAYERS}:{shelf.key('').rpartition('-')[0]}-*"}):
        for tag in image["RepoTags"]:
            client.api.remove_image(tag)


def test_a_layer_is_found_by_its_key_and_no_other(shelf: Shelf) -> None:
    key = shelf.key("today")
    assert shelf.layers.find(key) is None
    kept = shelf.layers.keep(key, shelf.container())
    assert shelf.layers.find(key) == kept
    assert shelf.layers.find(shelf.key("tomorrow")) is None


def test_a_layer_is_nobodys_and_survives_a_sweep(shelf: Shelf) -> None:
    kept = shelf.layers.keep(shelf.key("today"), shelf.container())
    shelf.sandbox.sweep(())
    assert shelf.layers.find(shelf.key("today")) == kept


def test_where_only_the_mirror_changed_the_layer_stays_the_same(shelf: Shelf) -> None:
    first = shelf.layers.keep(shelf.key("today"), shelf.container())
    shelf.sandbox.sweep(())
    assert shelf.layers.keep(shelf.key("tomorrow"), shelf.container()) == first
    assert shelf.layers.find(shelf.key("tomorrow")) == first


def test_other_packages_are_another_layer(shelf: Shelf) -> None:
    first = shelf.layers.keep(shelf.key("today"), shelf.container())
    shelf.sandbox.sweep(())
    removed = shelf.container("dpkg --force-all --purge fakeroot")
    second = shelf.layers.keep(shelf.key("tomorrow"), removed)
    assert (second.image != first.image, second.packages_sha256 != first.packages_sha256) == (True, True)


def test_a_system_without_a_list_of_packages_is_no_layer(shelf: Shelf) -> None:
    for script in ("rm /var/lib/dpkg/status", "cd /var/lib/dpkg; rm status; ln -s /etc/shadow status"):
        container = shelf.container(script)
        with pytest.raises(SandboxError, match="no list of packages"):
            shelf.layers.keep(shelf.key("today"), container)
        shelf.sandbox.remove(container)


def test_the_cache_knows_a_layers_base_image_its_own_size_and_its_last_use(shelf: Shelf) -> None:
    key = shelf.key("today")
    layer = shelf.layers.keep(key, shelf.container("head -c 3000000 /dev/urandom >/var/tmp/x"))
    before = shelf.kept(key)
    shelf.layers.find(key)
    assert (before.image, before.layer, before.busy) == (layer.image, True, False)
    assert before.base == shelf.base.image.removeprefix("sha256:")[:12]
    assert 3_000_000 <= before.bytes < 4_000_000
    assert shelf.kept(key).used >= before.used


def test_a_layer_that_a_container_stands_on_is_busy(shelf: Shelf) -> None:
    layer = shelf.layers.keep(shelf.key("today"), shelf.container())
    shelf.sandbox.sweep(())
    shelf.sandbox.create(spec_of(ORDER, 1, layer.image, "testfarm", Tier.NATIVE))
    busy = shelf.kept(shelf.key("today"))
    assert busy.busy
    assert not shelf.cache._remove(busy)


def test_what_has_to_go_is_gone_under_every_key(shelf: Shelf) -> None:
    for mirror in ("today", "tomorrow"):
        shelf.layers.keep(shelf.key(mirror), shelf.container())
        shelf.sandbox.sweep(())
    assert shelf.cache._remove(shelf.kept(shelf.key("today")))
    assert shelf.layers.find(shelf.key("tomorrow")) is None


def test_an_image_that_is_forgotten_is_found_by_nobody_and_stays_for_who_has_found_it(
    client: docker.DockerClient, tmp_path: Path
) -> None:
    (tmp_path / "own.gpg").touch()
    environment = dataclasses.replace(ORDER.environment, suite="forgotten", keyring="own")
    tag = tag_of(environment, Arch.AMD64, tmp_path / "own.gpg")
    images, cache = DockerImages(client, tmp_path, {}, tmp_path), Cache(client, tmp_path, 1 << 60)
    with tarfile.open(tmp_path / "root.tar", "w"):
        image = images._import(tmp_path / "root.tar", ())
    touch(client, image, tag)
    images.forget(environment, Arch.AMD64)
    images.forget(environment, Arch.AMD64)
    assert images._fresh(tag) is None
    [kept] = [one for one in cache.kept() if one.image == image]
    assert surplus([kept], 1 << 60, kept.used) == []
    assert surplus([kept], 1 << 60, kept.used + GRACE) == [kept]
    assert cache._remove(kept)
    assert image not in {one.image for one in cache.kept()}


def test_collecting_where_there_is_room_takes_nothing_that_is_in_use(shelf: Shelf) -> None:
    kept = shelf.layers.keep(shelf.key("today"), shelf.container())
    shelf.cache.collect()
    assert shelf.layers.find(shelf.key("today")) == kept
