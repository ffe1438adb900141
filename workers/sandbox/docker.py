# SPDX-License-Identifier: GPL-3.0-or-later
"""Sandbox on Docker's API (the engine, or podman's socket that speaks the same).

A container never gets the engine's socket, a device, a folder of the host, or a privilege it was not measured to need.
"""

import contextlib
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, assert_never, cast

import docker
import requests
from docker.errors import APIError, DockerException, NotFound
from docker.types import LogConfig, Ulimit
from urllib3.exceptions import HTTPError

from workers.errors import one_line
from workers.sandbox import (
    OUTPUTS,
    WORK_DIRECTORY,
    Ended,
    EngineAway,
    Found,
    SandboxError,
    Spec,
    Taken,
    output,
    room,
    tar,
)
from workers.sandbox.gauge import Gauge
from workers.sandbox.network import NOWHERE, Proxy, Way
from workers.wire.order import Limits, Network, User
from workers.wire.report import Usage

_USERS: Final = {User.ROOT: "0:0", User.BUILDER: f"{tar.BUILDER}:{tar.BUILDER}"}
_HOMES: Final = {User.ROOT: "/root", User.BUILDER: "/nonexistent"}

#: What root keeps: apt drops to `_apt` (SETUID, SETGID, KILL to stop it), dpkg sets owners and modes of any file
#: (CHOWN, FOWNER, FSETID, DAC_OVERRIDE), autopkgtest's testbed is a chroot and changes users by su (SYS_CHROOT,
#: AUDIT_WRITE for PAM). A builder keeps none.
_CAPABILITIES: Final = {
    User.ROOT: ["AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SYS_CHROOT"],
    User.BUILDER: [],
}

#: No core dumps. Of open files the limits that systemd gives a service: with an engine's own million, whatever closes
#: all of them before it starts a program takes seconds.
_ULIMITS: Final = (Ulimit(name="core", soft=0, hard=0), Ulimit(name="nofile", soft=1024, hard=16384))

#: Of /dev/shm, which is memory and counts as such: what the engine gives unless told otherwise.
_SHARED_MEMORY: Final = 64 << 20
_NANO: Final = 10**9

#: Seconds between two looks at whether a container is to be stopped.
_SLICE: Final = 1
_ATTEMPT: Final = "patchfarm.attempt"


@contextlib.contextmanager
def engine_errors() -> Iterator[None]:
    """Whatever the engine or the way to it says becomes one SandboxError."""
    try:
        yield
    except APIError as error:
        raise SandboxError(f"the container engine: {one_line(error.explanation or str(error))}") from error
    except (DockerException, requests.RequestException, HTTPError, ConnectionError) as error:
        raise EngineAway(f"the container engine does not answer: {one_line(str(error))}") from error


def connect() -> docker.DockerClient:
    """The engine that DOCKER_HOST or the default socket names; raises SandboxError."""
    with engine_errors():
        # Committing a large layer takes the engine minutes; everything shorter has its own limit.
        return docker.from_env(timeout=900)


def owner(farm: str, worker: str) -> dict[str, str]:
    """The labels of whatever a worker makes for itself alone."""
    return {"patchfarm.farm": farm, "patchfarm.worker": worker}


class DockerSandbox:
    """See Sandbox. `farm` and `worker` are on every container and image, so that workers sweep only their own.

    Without a `proxy` no container is made that needs the mirror. `lacking` says what the engine's disk has too little
    of, where there is another way to know than to look.
    """

    def __init__(
        self,
        client: docker.DockerClient,
        farm: str,
        worker: str,
        proxy: Proxy | None = None,
        lacking: Callable[[], str] | None = None,
    ) -> None:
        self._client = client
        self._proxy = proxy
        self._lacking = lacking
        self._owner = owner(farm, worker)

    @engine_errors()
    def create(self, spec: Spec, check: Callable[[], None] = lambda: None) -> str:
        """See Sandbox."""
        with self._way(spec, check) as way:
            try:
                return self._create(spec, way)
            except APIError as error:
                if error.status_code == requests.codes.conflict:
                    raise Taken(f"a container {spec.name} exists already") from error
                if spec.runtime and "runtime" in str(error.explanation):
                    raise SandboxError(f"the worker's engine has no runtime {spec.runtime!r}") from error
                raise

    def _create(self, spec: Spec, way: Way) -> str:
        limits = spec.limits
        container = self._client.containers.create(
            spec.image,
            list(spec.command),
            name=spec.name,
            hostname="builder",
            user=_USERS[spec.user],
            working_dir=WORK_DIRECTORY,
            environment=environment_of(spec.user),
            labels={**self._owner, _ATTEMPT: spec.attempt},
            network_mode=way.network,
            extra_hosts=dict(way.hosts),
            dns=list(way.resolvers),
            runtime=spec.runtime or None,
            cap_drop=["ALL"],
            cap_add=_CAPABILITIES[spec.user],
            # The engine's own filter of system calls is in force as long as no other is named here.
            security_opt=["no-new-privileges:true"],
            ipc_mode="private",
            shm_size=_SHARED_MEMORY,
            ulimits=list(_ULIMITS),
            nano_cpus=min(limits.cores, int(self._client.api.info()["NCPU"])) * _NANO,
            mem_limit=limits.memory_bytes,
            memswap_limit=limits.memory_bytes,
            pids_limit=limits.processes,
            init=True,
            log_config=_log_of(limits),
        )
        return str(container.id)

    def _way(self, spec: Spec, check: Callable[[], None]) -> contextlib.AbstractContextManager[Way]:
        match spec.network:
            case Network.NONE:
                return contextlib.nullcontext(NOWHERE)
            case Network.MIRROR if self._proxy is None:
                raise SandboxError("the worker has no proxy, and the mirror is reached by no other way")
            case Network.MIRROR:
                return self._proxy.way(spec.environment, check)
            case _:
                assert_never(spec.network)

    @engine_errors()
    def find(self, name: str) -> Found | None:
        """See Sandbox."""
        try:
            found = self._client.api.inspect_container(name)
        except NotFound:
            return None
        return Found(str(found["Id"]), started=found["State"]["Status"] != "created")

    @engine_errors()
    def put(self, container: str, files: Sequence[tuple[str, Path]], folder: str = WORK_DIRECTORY) -> None:
        """See Sandbox."""
        # The stubs know bytes only; the request takes any iterable and sends it in chunks.
        self._client.api.put_archive(container, folder, tar.stream(files))

    @engine_errors()
    def run(self, container: str, sink: Callable[[bytes], None], stop: Callable[[Usage], bool]) -> Ended:
        """See Sandbox."""
        fresh = self._client.api.inspect_container(container)["State"]["Status"] == "created"
        gauge = Gauge(self._client, container)
        with output.attached(self._client, container) if fresh else output.kept(self._client, container) as printed:
            pump = output.Pump(printed, sink)
            if fresh:
                self._client.api.start(container)
            state = self._until_exit(container, lambda: stop(gauge.look()), pump)
            pump.finish()
        if state["ExitCode"] != 0:
            _refuse(self._lacks())
        return Ended(int(state["ExitCode"]), bool(state["OOMKilled"]), _seconds(state), gauge.usage)

    def _until_exit(self, container: str, stop: Callable[[], bool], pump: output.Pump) -> Mapping[str, Any]:
        while True:
            ended = pump.ended()
            # A slice that runs out is a ConnectionError on a Unix socket; what is true, the engine says below.
            with contextlib.suppress(requests.ConnectionError, requests.Timeout):
                self._client.api.wait(container, timeout=_SLICE)
            state = self._client.api.inspect_container(container)["State"]
            if not state["Running"]:
                if state["Error"]:
                    raise SandboxError(f"the container did not start: {one_line(state['Error'])}")
                return cast("Mapping[str, Any]", state)
            if ended:
                pump.finish()
                raise EngineAway("the container engine closed the log of a container that runs on")
            lacks = self._lacks()
            if lacks or stop():
                self._kill(container)
            _refuse(lacks)

    def _lacks(self) -> str:
        """What the engine's disk has too little of."""
        if self._lacking is None:
            self._lacking = room.of_engine(self._client)
        return self._lacking()

    def _kill(self, container: str) -> None:
        # Nothing in it is worth a polite end; it may have ended by itself by now.
        with contextlib.suppress(APIError):
            self._client.api.kill(container)

    @engine_errors()
    def outputs(self, container: str, into: Path, limits: Limits) -> list[str]:
        """See Sandbox."""
        try:
            pieces, _ = self._client.api.get_archive(container, f"{WORK_DIRECTORY}/{OUTPUTS}")
        except NotFound:
            return []
        with contextlib.closing(pieces):
            return tar.files(pieces, into, limits.output_bytes, limits.output_files)

    @engine_errors()
    def commit(self, container: str) -> str:
        """See Sandbox."""
        return str(self._client.api.commit(container)["Id"])

    @engine_errors()
    def remove(self, container: str) -> None:
        """See Sandbox."""
        try:
            self._client.api.remove_container(container, force=True, v=True)
        except APIError as error:
            # Gone, or going: another process is at it.
            if error.status_code not in (requests.codes.not_found, requests.codes.conflict):
                raise

    @engine_errors()
    def clear(self, attempt: str) -> None:
        """See Sandbox."""
        self._remove_all({**self._owner, _ATTEMPT: attempt}, keep=())

    @engine_errors()
    def sweep(self, keep: Container[str]) -> int:
        """See Sandbox."""
        return self._remove_all(self._owner, keep)

    def _remove_all(self, labels: Mapping[str, str], keep: Container[str]) -> int:
        mine = {"label": [*(f"{key}={value}" for key, value in labels.items()), _ATTEMPT]}
        found = self._client.api.containers(all=True, filters=mine)
        containers = [it for it in found if _of(it) not in keep]
        for container in containers:
            self.remove(container["Id"])
        images = [it for it in self._client.api.images(filters=mine) if _of(it) not in keep]
        for image in images:
            with contextlib.suppress(NotFound):
                self._client.api.remove_image(image["Id"], force=True)
        return len(containers) + len(images)


def _refuse(lacks: str) -> None:
    """Nothing that ends where the engine's disk is full says anything of its package."""
    if lacks:
        raise SandboxError(f"the container engine's disk is full: {lacks}")


def _of(found: Mapping[str, Any]) -> str:
    """The attempt that a container or an image is of."""
    return str(found["Labels"][_ATTEMPT])


def _log_of(limits: Limits) -> LogConfig:
    """The engine keeps the log too, for a process that adopts the container. The worker stops one that is too long.

    So the bound is for the time when there is no worker: what is written then over it is lost, and that is noticed.
    """
    settings = {"max-size": str(4 * limits.log_bytes), "max-file": "1", "compress": "false"}
    return LogConfig(type="local", config=settings)


def _seconds(state: Mapping[str, Any]) -> float:
    """How long a container ran, by the engine's clock, which may have been set meanwhile."""
    began, ended = (datetime.fromisoformat(state[key]) for key in ("StartedAt", "FinishedAt"))
    return max(0.0, (ended - began).total_seconds())


def environment_of(user: User) -> dict[str, str]:
    """All that a command finds in its environment, but for what the engine sets (HOSTNAME)."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": _HOMES[user],
        "LC_ALL": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
    }
