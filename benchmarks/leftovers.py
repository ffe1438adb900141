# SPDX-License-Identifier: GPL-3.0-or-later
"""What a farm leaves behind: of its attempts while it is up, of itself once it is down, and in its files.

A worker keeps its proxy and the proxy's networks as long as it runs; an attempt's has another container on it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import docker
from docker.errors import NotFound

from benchmarks.kit import Farm
from coordinator import app
from coordinator.engine.collector import Collector, references
from coordinator.store.blobs import FolderBlobs
from coordinator.store.logs import FolderLogs

#: How many steps a round of the collector has beside those of updates: one for each shelf, and its end.
_SHELVES = 257


@contextmanager
def _engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    try:
        yield client
    finally:
        client.close()


def containers(farm: Farm) -> set[str]:
    """The ids of the containers of the farm's attempts, whatever state they are in."""
    with _engine() as engine:
        return {str(found["Id"]) for found in engine.api.containers(all=True, filters=_labels(farm, "attempt"))}


def of_attempts(farm: Farm) -> list[str]:
    """What there is of attempts: containers, images, networks, folders."""
    with _engine() as engine:
        found = [f"container {_name(it)}" for it in engine.api.containers(all=True, filters=_labels(farm, "attempt"))]
        found += [f"image {it['Id']}" for it in engine.api.images(filters=_labels(farm, "attempt"))]
        networks = [str(it["Id"]) for it in engine.api.networks(filters=_labels(farm))]
        found += [f"network {name}" for name in networks if _used(engine, name)]
    folders = (path for path in farm.home.root.glob("*/attempts/*") if "-" in path.name)
    return found + [f"folder {path.name}" for path in folders]


def of_the_farm(farm: Farm) -> list[str]:
    """What there is of a farm that is down, but for what the proxy of its worker keeps for the next time."""
    with _engine() as engine:
        found = [f"container {_name(it)}" for it in engine.api.containers(all=True, filters=_labels(farm))]
        found += [f"network {it['Name']}" for it in engine.api.networks(filters=_labels(farm))]
    return found + [f"image of an attempt {image}" for image in _images(farm)]


def _images(farm: Farm) -> list[str]:
    with _engine() as engine:
        return [str(it["Id"]) for it in engine.api.images(filters=_labels(farm, "attempt"))]


def _labels(farm: Farm, *more: str) -> dict[str, list[str]]:
    return {"label": [f"patchfarm.farm={farm.settings.farm}", *(f"patchfarm.{name}" for name in more)]}


def _name(found: Mapping[str, Any]) -> str:
    return str(found["Names"][0]).lstrip("/")


def _used(engine: docker.DockerClient, network: str) -> bool:
    """Whether anything but the proxy is on it."""
    try:
        on_it = engine.api.inspect_network(network)["Containers"] or {}
    except NotFound:
        return False
    return any(not str(container["Name"]).endswith("-proxy") for container in on_it.values())


@dataclass(frozen=True)
class Collected:
    """The farm's files after the collector: how many updates refer to, how many it took, and what it should not keep.

    `missing` are files that an update refers to and that are not there.
    """

    referred: int
    gone: int
    kept: frozenset[str]
    missing: frozenset[str]


class _Later:
    """Clock: long after everything that happened."""

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(days=365)


def collect(farm: Farm) -> Collected:
    """Let the farm's collector go one round, as it would when all that is here now is old. The farm is at rest."""
    store, clock = app.store(farm.settings), _Later()
    blobs = FolderBlobs(farm.home.blobs, clock.now)
    try:
        updates = store.updates(limit=10_000)
        referred = frozenset[str]().union(*map(references, updates))
        before = _files(farm)
        unused = timedelta(days=farm.settings.unused_days)
        collector = Collector(store, blobs, FolderLogs(farm.home.attempts), clock, unused)
        for _ in range(len(updates) + _SHELVES):
            collector.step()
    finally:
        store.close()
    after = _files(farm)
    return Collected(len(referred), len(before - after), after - referred, referred - after)


def _files(farm: Farm) -> frozenset[str]:
    return frozenset(path.name for path in farm.home.blobs.glob("*/*"))
