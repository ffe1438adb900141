# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts a coordinator together from the settings: the only place that knows which adapter stands behind which port.

Makes parts and decides nothing. Each process that needs the parts builds its own.
"""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from coordinator.archive import HttpArchive
from coordinator.config import Settings, TargetSettings
from coordinator.engine import Destination, Engine, Timing, at_once
from coordinator.engine.collector import Collector
from coordinator.engine.depwait import Supply
from coordinator.errors import BadRecipe
from coordinator.mirror import checks_valid_until, mirror_for
from coordinator.openpgp import SequoiaVerifier, fingerprint, load_certs
from coordinator.queue.bell import CeleryBell
from coordinator.queue.wake import RedisWake
from coordinator.reception import Reception
from coordinator.recipe import Recipe, Recipes, keyring_in
from coordinator.service import Coordinator, Parts
from coordinator.store.blobs import FolderBlobs
from coordinator.store.logs import FolderLogs
from coordinator.store.sql import SqlStore, open_store
from coordinator.target.index import ArchiveTarget
from coordinator.upload.sftp import SftpUploader
from workers.wire.order import Index


class SystemClock:
    """The port Clock."""

    def now(self) -> datetime:
        """Aware UTC."""
        return datetime.now(UTC)


@dataclass(frozen=True)
class FolderPeople:
    """The port People: one file `<name>.asc` for each, read anew every time."""

    folder: Path

    def fingerprints(self) -> dict[str, frozenset[str]]:
        """Name → primary fingerprints, as of now: a removed person is gone at once."""
        paths = sorted(self.folder.glob("*.asc"))
        return {path.stem: frozenset(fingerprint(cert) for cert in load_certs(path)) for path in paths}

    def keyring(self) -> Path:
        """The folder."""
        return self.folder


class Mirrors:
    """The addresses that suites have here; each is asked for once, for the answer may take apt a second."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[str, str] = {}

    def index(self, suite: str) -> Index:
        """The suite's own index. Raises ArchiveUnreachable where no mirror is known."""
        return Index(self._url(suite), suite, ("main",))

    def indices(self, recipe: Recipe) -> tuple[Index, ...]:
        """A recipe's environment with addresses."""
        return tuple(
            Index(self._url(rule.suite), rule.suite, rule.components, rule.optional)
            for rule in recipe.environment.indices
        )

    def _url(self, suite: str) -> str:
        if suite not in self._known:
            self._known[suite] = mirror_for(suite, self._settings.mirror, self._settings.security_mirror)
        return self._known[suite]


def store(settings: Settings) -> SqlStore:
    """The database, its schema brought up to date."""
    return open_store(settings.database or f"sqlite:///{settings.paths.database}")


def archive(settings: Settings) -> HttpArchive:
    """Reads archives, and keeps their indices in the home."""
    return HttpArchive(settings.paths.indices, SequoiaVerifier(), check_valid_until=checks_valid_until())


def engine(settings: Settings, targets: Executor | None = None) -> tuple[Engine, RedisWake]:
    """What the engine process runs, and what wakes it. `targets` works with targets: a slow one delays nobody."""
    broker, kept, blobs, clock = settings.broker, store(settings), FolderBlobs(settings.paths.blobs), SystemClock()
    unused = timedelta(days=settings.unused_days)
    made = Engine(
        store=kept,
        blobs=blobs,
        bell=CeleryBell(broker, settings.farm),
        clock=clock,
        destinations=destinations(settings),
        supply=Supply(archive(settings), Mirrors(settings).indices, partial(keyring_in, settings.paths.keyrings)),
        collector=Collector(kept, blobs, FolderLogs(settings.paths.attempts), clock, unused),
        timing=Timing(
            ring_again=settings.ring_again_seconds,
            confirm=settings.confirm_seconds,
            lease=settings.lease_seconds,
            look=settings.look_seconds,
        ),
        aside=targets.submit if targets else at_once,
    )
    return made, RedisWake(broker, settings.farm)


def destinations(settings: Settings) -> Callable[[str], Destination]:
    """The targets of the settings by name, as recipes name them."""

    def destination(name: str) -> Destination:
        target = _target(settings, name)
        return Destination(SftpUploader(target), _index_of(settings, target))

    return destination


def build(settings: Settings) -> Coordinator:
    """A coordinator for the web service."""
    kept = store(settings)
    blobs = FolderBlobs(settings.paths.blobs)
    clock, verifier, recipes, mirrors = SystemClock(), SequoiaVerifier(), Recipes(settings.recipes), Mirrors(settings)
    driver, wake = engine(settings)
    reception = Reception(
        store=kept,
        blobs=blobs,
        clock=clock,
        verifier=verifier,
        archive=archive(settings),
        recipes=recipes,
        keyrings=settings.paths.keyrings,
        targets=lambda name: _index_of(settings, _target(settings, name)),
        index=mirrors.index,
    )
    return Coordinator(
        Parts(
            store=kept,
            blobs=blobs,
            logs=FolderLogs(settings.paths.attempts),
            clock=clock,
            engine=driver,
            recipes=recipes,
            reception=reception,
            verifier=verifier,
            people=FolderPeople(settings.paths.people),
            wake=wake,
            indices=mirrors.indices,
            lease_seconds=settings.lease_seconds,
        )
    )


def _target(settings: Settings, name: str) -> TargetSettings:
    """A target's settings, with the files they name found in the home unless they say otherwise."""
    if name not in settings.targets:
        raise BadRecipe(f"the recipe publishes to the target {name!r}, which farm.toml does not have")
    target = settings.targets[name]
    files = {"identity": target.identity, "known_hosts": target.known_hosts, "keyring": target.keyring}
    return target.model_copy(update={key: settings.home / path for key, path in files.items() if path is not None})


def _index_of(settings: Settings, target: TargetSettings) -> ArchiveTarget:
    return ArchiveTarget(archive(settings), target.url, target.keyring)
