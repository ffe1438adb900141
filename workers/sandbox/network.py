# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container may reach: nothing; or, where a step needs the mirror, the worker's proxy and nothing else.

Each container that needs the proxy has a network of its own with it. The network leads nowhere, and the host has no
address on it: so neither the internet, nor a service of the host, nor another container can be reached.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from itertools import count, islice
from typing import Any, Final, Protocol

import docker
from docker.errors import APIError
from docker.types import IPAMConfig, IPAMPool

from workers.sandbox import SandboxError
from workers.wire.order import Environment

#: What the proxy is called in a container, and its port; setup-image.sh tells apt.
PROXY_HOST: Final = "patchfarm-proxy"
PROXY_PORT: Final = 3142

#: Two addresses each, from the range that belongs to no network (RFC 2544): the engine's own pool has 31 networks.
_RANGE: Final = IPv4Network("198.18.0.0/15")
_PREFIX: Final = 29
_TRIES: Final = 64

#: No address for the host's side of the bridge: that would be a way to everything that listens on all of its addresses.
_OPTIONS: Final = {"com.docker.network.bridge.inhibit_ipv4": "true"}

#: Where a container's resolver asks for names that its network does not have: nobody is there. Old engines would ask
#: the host's own resolver, also for a network that leads nowhere (CVE-2024-29018).
_NO_RESOLVER: Final = "127.0.0.1"


@dataclass(frozen=True)
class Way:
    """How a container is connected: its network, the names that it knows, and whom it asks for others."""

    network: str = "none"
    hosts: Mapping[str, str] = field(default_factory=dict)
    resolvers: tuple[str, ...] = ()


NOWHERE: Final = Way()


class Proxy(Protocol):
    """The way to the mirror."""

    def way(self, environment: Environment, check: Callable[[], None]) -> AbstractContextManager[Way]:
        """A way to the mirrors of an environment, for a container that is made before this ends, and no other.

        The first one of a week takes a minute; `check` may raise to stop.

        Raises SandboxError or AttemptEnded where there is none; there is no other way that could be taken instead.
        """


class Networks:
    """The networks of one worker, as many as it ever needed at one time. Only for whoever holds the proxy's lock.

    Which are in use, the engine knows: so it is known, too, after the worker was killed.
    """

    def __init__(self, client: docker.DockerClient, owner: Mapping[str, str], name: str) -> None:
        self._client = client
        self._owner = dict(owner)
        self._name = name

    def way_to(self, proxy: Mapping[str, Any]) -> Way:
        """A network that no container is on but the proxy, given as the engine describes it."""
        used = self.used()
        name = next(name for name in map(f"{self._name}-{{}}".format, count()) if name not in used)
        joined = proxy["NetworkSettings"]["Networks"].get(name)
        address = joined["IPAMConfig"]["IPv4Address"] if joined else self.join(name, str(proxy["Id"]))
        return Way(name, {PROXY_HOST: str(address)}, (_NO_RESOLVER,))

    def join(self, name: str, proxy: str) -> str:
        """Put the proxy on a network, which is made now if need be; answers its address there."""
        found = self._client.api.networks(names=[name])
        exact = [network for network in found if network["Name"] == name]
        subnet = IPv4Network(exact[0]["IPAM"]["Config"][0]["Subnet"]) if exact else self._make(name)
        address = str(subnet[-2])
        self._client.api.connect_container_to_network(proxy, name, ipv4_address=address)
        return address

    def used(self) -> set[str]:
        """The networks that a container is made for, whatever state it is in."""
        mine = {"label": [*self._labels(), "patchfarm.attempt"]}
        containers = self._client.api.containers(all=True, filters=mine)
        return {str(it["HostConfig"]["NetworkMode"]) for it in containers} - {NOWHERE.network}

    def names(self) -> list[str]:
        """All that there are."""
        return [str(network["Name"]) for network in self._client.api.networks(filters={"label": self._labels()})]

    def remove(self) -> None:
        """Forget them all; nobody may be on one."""
        for name in self.names():
            self._client.api.remove_network(name)

    def _labels(self) -> list[str]:
        return [f"{key}={value}" for key, value in self._owner.items()]

    def _make(self, name: str) -> IPv4Network:
        for subnet in islice(_subnets(name), _TRIES):
            pools = [IPAMPool(subnet=str(subnet))]
            try:
                self._client.api.create_network(
                    name,
                    driver="bridge",
                    internal=True,
                    check_duplicate=True,
                    options=_OPTIONS,
                    ipam=IPAMConfig(pool_configs=pools),
                    labels=self._owner,
                )
            except APIError as error:
                # The engine has no other word for it than this one.
                if "overlap" not in str(error.explanation):
                    raise
            else:
                return subnet
        raise SandboxError(f"the container engine has no room for a network in {_RANGE}")


def _subnets(name: str) -> Iterator[IPv4Network]:
    """Where to try, beginning somewhere that depends on the name: most of the time the first is free."""
    size = 2 ** (_PREFIX - _RANGE.prefixlen)
    first = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    start = int(_RANGE.network_address)
    return (IPv4Network((start + (first + more) % size * 2 ** (32 - _PREFIX), _PREFIX)) for more in count())
