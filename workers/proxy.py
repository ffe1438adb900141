# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's caching proxy: apt-cacher-ng in a container, which relays the mirrors that orders name and nothing else.

It is the only thing that a step with the network `mirror` can reach. One that died is started again by the next such
step; where there can be none the attempt fails by the farm's fault, and never gets another network instead.
"""

import contextlib
import hashlib
import json
import logging
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

import docker
from docker.errors import APIError, NotFound
from docker.types import LogConfig, Mount

from workers.bootstrap import SCRIPTS
from workers.errors import broken, one_line
from workers.images import FRESH, Images
from workers.lock import hold, hold_if_free
from workers.sandbox import WORK_DIRECTORY, SandboxError, tar
from workers.sandbox.docker import engine_errors
from workers.sandbox.network import PROXY_HOST, PROXY_PORT, Networks, Way
from workers.transfer import digest_of
from workers.wire.arch import RUNS_NATIVELY, Arch
from workers.wire.order import Environment

_LOG = logging.getLogger(__name__)

RUN_PROXY: Final = "/usr/lib/patchfarm/run-proxy.sh"
#: Of the cache; what was used longest ago goes when it is more.
CACHE_BYTES: Final = 8 << 30
_MEMORY: Final = 512 << 20
_PROCESSES: Final = 256
_MADE_BY: Final = "patchfarm.proxy"
_MIRRORS: Final = "patchfarm.mirrors"
#: Run beside it, in its own container, for half a minute at most.
_KNOCK: Final = f"""
for (1..150) {{ exit if IO::Socket::INET->new("localhost:{PROXY_PORT}"); select undef, undef, undef, 0.2 }}
exit 1
"""
_LISTENS: Final = ("perl", "-MIO::Socket::INET", "-e", _KNOCK)
#: What an address may be made of: nothing that the proxy's settings could read as more than an address.
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_PATH: Final = re.compile(r"[A-Za-z0-9._~/+-]*")
#: Higher ones apt-cacher-ng 3.7.4 takes for others.
_HIGHEST: Final = 32767
_PORTS: Final = {"http": 80, "https": 443}


class DockerProxy:
    """See workers.sandbox.network.Proxy. `home` holds its lock; its image is of `arch`, which is the machine's own.

    One for all processes of a worker. It outlives them where a container does that needs it.
    """

    def __init__(
        self, client: docker.DockerClient, images: Images, home: Path, arch: Arch, owner: Mapping[str, str]
    ) -> None:
        self._client = client
        self._images = images
        self._home = home
        self._arch = arch
        self._owner = dict(owner)
        stem = stem_of(owner)
        self.name = f"{stem}-proxy"
        self._networks = Networks(client, owner, stem)

    @contextlib.contextmanager
    def way(self, environment: Environment, check: Callable[[], None]) -> Iterator[Way]:
        """See Proxy."""
        wanted = mirrors_of(environment)
        with hold(self._home / "proxy.lock", check):
            with engine_errors():
                found = self._found()
                proxy = self._running(found, wanted) or self._make(found, wanted, environment, check)
                way = self._networks.way_to(proxy)
            yield way

    @engine_errors()
    def retire(self) -> None:
        """Leave nothing of it but what it keeps. Nothing happens where a container may still need it."""
        with hold_if_free(self._home / "proxy.lock") as free:
            if not free or self._networks.used():
                return
            self._remove()
            self._networks.remove()

    def _remove(self) -> None:
        """It, and one that an earlier version of the worker called otherwise: both have the same address."""
        mine = [*(f"{key}={value}" for key, value in self._owner.items()), _MADE_BY]
        for container in self._client.api.containers(all=True, filters={"label": mine}):
            with contextlib.suppress(NotFound):
                self._client.api.remove_container(container["Id"], force=True)

    def _found(self) -> Mapping[str, Any] | None:
        try:
            return cast("Mapping[str, Any]", self._client.api.inspect_container(self.name))
        except NotFound:
            return None

    def _running(self, found: Mapping[str, Any] | None, wanted: Collection[str]) -> Mapping[str, Any] | None:
        """The proxy, started now if it is not running; nothing where another has to be made."""
        if found is None or not _fits(found, wanted):
            return None
        if not found["State"]["Running"]:
            _LOG.warning("the proxy had ended with exit code %s, and is started again", found["State"]["ExitCode"])
            try:
                self._start()
            except APIError as error:
                _LOG.warning("the proxy cannot be started: %s", one_line(str(error)))
                return None
        return found

    def _make(
        self,
        found: Mapping[str, Any] | None,
        wanted: Collection[str],
        environment: Environment,
        check: Callable[[], None],
    ) -> Mapping[str, Any]:
        """A new one, which relays what the old one did as well: other steps may be at it."""
        mirrors = sorted({*wanted, *(_relayed(found) if found else ())})
        _LOG.info("the proxy is made for %s", ", ".join(mirrors))
        image = self._images.ensure(image_of(environment), self._arch, lambda _: None, check).image
        self._remove()
        self._client.api.create_volume(self.name, labels=self._owner)
        self._client.containers.create(
            image,
            ["/bin/sh", RUN_PROXY, str(CACHE_BYTES), *settings_of(mirrors)],
            name=self.name,
            hostname=PROXY_HOST,
            user=f"{tar.BUILDER}:{tar.BUILDER}",
            labels={**self._owner, _MADE_BY: _version(), _MIRRORS: json.dumps(mirrors)},
            network_mode="bridge",
            restart_policy={"Name": "on-failure"},
            # In the only folder of the image that belongs to the builder: the engine gives the volume the same owner.
            mounts=[Mount(WORK_DIRECTORY, self.name)],
            tmpfs={"/tmp": "size=16m"},  # noqa: S108  # inside the container
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
            mem_limit=_MEMORY,
            memswap_limit=_MEMORY,
            pids_limit=_PROCESSES,
            init=True,
            log_config=LogConfig(type="local", config={"max-size": "1m", "max-file": "1", "compress": "false"}),
        )
        for name in self._networks.names():
            self._networks.join(name, self.name)
        self._start()
        return cast("Mapping[str, Any]", self._client.api.inspect_container(self.name))

    def _start(self) -> None:
        """Start it, and wait until it listens: apt takes a proxy that does not yet for a mirror that is away."""
        self._client.api.start(self.name)
        asked = str(self._client.api.exec_create(self.name, _LISTENS)["Id"])
        self._client.api.exec_start(asked)
        if self._client.api.exec_inspect(asked)["ExitCode"] != 0:
            raise SandboxError("the worker's proxy was started, and does not listen")


def stem_of(owner: Mapping[str, str]) -> str:
    """What a worker's own things in the engine are called by, and no other's: a dash is part of many a name."""
    digest = hashlib.sha256(json.dumps(list(owner.items())).encode()).hexdigest()
    return "-".join(("patchfarm", *owner.values(), digest[:8]))


def _fits(found: Mapping[str, Any], wanted: Collection[str]) -> bool:
    made = datetime.fromisoformat(re.sub(r"\.\d+", "", found["Created"]))
    same = found["Config"]["Labels"].get(_MADE_BY) == _version()
    return same and set(wanted) <= set(_relayed(found)) and datetime.now(UTC) - made < FRESH


def _relayed(found: Mapping[str, Any]) -> list[str]:
    return [str(url) for url in json.loads(found["Config"]["Labels"][_MIRRORS])]


def _version() -> str:
    """What decides how a proxy runs, but for its mirrors and its image."""
    return hashlib.sha256(f"{digest_of(SCRIPTS / 'run-proxy.sh')} {settings_of(())} {CACHE_BYTES}".encode()).hexdigest()


def image_of(environment: Environment) -> Environment:
    """What a proxy's image is made of: the same archive that its containers get their packages from."""
    return replace(environment, suite="proxy", packages=("apt-cacher-ng",))


def mirrors_of(environment: Environment) -> frozenset[str]:
    """The addresses that a container needs; raises AttemptEnded for one that is none, or that holds a password."""
    urls = frozenset(index.url.rstrip("/") for index in environment.indices)
    for url in urls:
        _parts(url)
    return urls


def _parts(url: str) -> tuple[str, str, int]:
    """Scheme, host and port."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        raise broken("the order names a mirror that cannot be one") from None
    host = parts.netloc.rpartition(":")[0] if parts.port else parts.netloc
    if port > _HIGHEST:
        raise broken(f"the order names a mirror at port {port}; apt-cacher-ng reaches none above {_HIGHEST}")
    if not port or not _HOST.fullmatch(host) or not _PATH.fullmatch(parts.path) or parts.query or parts.fragment:
        raise broken("the order names a mirror that cannot be one, or that the proxy cannot reach")
    return parts.scheme, host, port


def settings_of(mirrors: Collection[str]) -> list[str]:
    """Lines of acng.conf: what may be asked for is below one of the mirrors, and nothing else is anywhere.

    Through a mirror with https goes a tunnel to its host, and nothing of it is kept.
    """
    plain = [url for url in sorted(mirrors) if _parts(url)[0] == "http"]
    tunnels = [
        f"{host}:{port}".replace(".", r"\.") for scheme, host, port in map(_parts, sorted(mirrors)) if scheme == "https"
    ]
    ports = sorted({_parts(url)[2] for url in plain} | {80})
    return [
        f"CacheDir: {WORK_DIRECTORY}",
        f"Port: {PROXY_PORT}",
        "ForeGround: 1",
        "ForceManaged: 1",
        # Where a mirror says that it is elsewhere, whoever asked may ask there, and is refused as for any other place.
        "RedirMax: 0",
        f"AllowUserPorts: {' '.join(map(str, ports))}",
        f"PassThroughPattern: ^({'|'.join(sorted(set(tunnels)))})$",
        # The cache's folder of a mirror has to stay the same whatever other mirrors there are.
        *(f"Remap-{hashlib.sha256(url.encode()).hexdigest()[:16]}: {url} ; {url}" for url in plain),
    ]


def own_arch(machine: str, offered: Collection[Arch]) -> Arch:
    """What a machine (`uname -m`) runs by itself: one that its worker offers, if it offers any such."""
    native = [arch for arch in Arch if arch in RUNS_NATIVELY.get(machine, frozenset(offered))]
    return next((arch for arch in native if arch in offered), native[0])
