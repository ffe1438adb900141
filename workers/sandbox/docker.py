# SPDX-License-Identifier: GPL-3.0-or-later
"""Sandbox on Docker's API (the engine, or podman's socket that speaks the same).

A container never gets the engine's socket, a device, a folder of the host, or a privilege it was not measured to need.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, Final, cast

import docker
import requests
from docker.errors import APIError, DockerException, NotFound
from docker.types import LogConfig
from docker.utils.socket import frames_iter

from workers.errors import one_line
from workers.sandbox import WORK_DIRECTORY, Ended, SandboxError, Spec, Taken, fits, tar
from workers.wire.order import Network, User

_USERS: Final = {User.ROOT: "0:0", User.BUILDER: f"{tar.BUILDER}:{tar.BUILDER}"}
_HOMES: Final = {User.ROOT: "/root", User.BUILDER: "/nonexistent"}
_NETWORKS: Final = {Network.NONE: "none", Network.MIRROR: "bridge"}

#: What root keeps: apt drops to `_apt` (SETUID, SETGID, KILL to stop it), dpkg sets owners and modes of any file
#: (CHOWN, FOWNER, FSETID, DAC_OVERRIDE), autopkgtest's testbed is a chroot and changes users by su (SYS_CHROOT,
#: AUDIT_WRITE for PAM). A builder keeps none.
_CAPABILITIES: Final = {
    User.ROOT: ["AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SYS_CHROOT"],
    User.BUILDER: [],
}

#: Seconds between two looks at whether a container is to be stopped.
_SLICE: Final = 1
_DELETED: Final = 2


@contextlib.contextmanager
def engine_errors() -> Iterator[None]:
    """Whatever the engine or the way to it says becomes one SandboxError."""
    try:
        yield
    except APIError as error:
        raise SandboxError(f"the container engine: {one_line(error.explanation or str(error))}") from error
    except (DockerException, requests.RequestException) as error:
        raise SandboxError(f"the container engine does not answer: {one_line(str(error))}") from error


def connect() -> docker.DockerClient:
    """The engine that DOCKER_HOST or the default socket names; raises SandboxError."""
    with engine_errors():
        # Committing a large layer takes the engine minutes; everything shorter has its own limit.
        return docker.from_env(timeout=900)


class DockerSandbox:
    """See Sandbox. `farm` and `worker` are on every container and image, so that workers sweep only their own."""

    def __init__(self, client: docker.DockerClient, farm: str, worker: str) -> None:
        self._client = client
        self._owner = {"patchfarm.farm": farm, "patchfarm.worker": worker}

    @engine_errors()
    def create(self, spec: Spec) -> str:
        """See Sandbox."""
        try:
            container = self._client.containers.create(
                spec.image,
                list(spec.command),
                name=spec.name,
                hostname="builder",
                user=_USERS[spec.user],
                working_dir=WORK_DIRECTORY,
                environment=environment_of(spec.user),
                labels={**self._owner, "patchfarm.attempt": spec.attempt},
                network_mode=_NETWORKS[spec.network],
                cap_drop=["ALL"],
                cap_add=_CAPABILITIES[spec.user],
                security_opt=["no-new-privileges:true"],
                mem_limit=spec.limits.memory_bytes,
                memswap_limit=spec.limits.memory_bytes,
                pids_limit=spec.limits.processes,
                init=True,
                # The log is read from the attached stream; the engine keeping it too would fill its disk.
                log_config=LogConfig(type="none"),
            )
        except APIError as error:
            if error.status_code == requests.codes.conflict:
                raise Taken(f"a container {spec.name} exists already") from error
            raise
        return str(container.id)

    @engine_errors()
    def put(self, container: str, files: Sequence[tuple[str, Path]]) -> None:
        """See Sandbox."""
        # The stubs know bytes only; the request takes any iterable and sends it in chunks.
        self._client.api.put_archive(container, WORK_DIRECTORY, tar.stream(files))

    @engine_errors()
    def run(self, container: str, sink: Callable[[bytes], None], stop: Callable[[], bool]) -> Ended:
        """See Sandbox."""
        # Not the SDK's own stream: that one takes a broken connection for the log's end.
        socket = self._client.api.attach_socket(container, params={"stdout": 1, "stderr": 1, "stream": 1})
        with contextlib.closing(getattr(socket, "_sock", socket)), contextlib.closing(socket):
            pump = _Pump(frames_iter(socket, tty=False), sink)  # type: ignore[no-untyped-call]  # the SDK has none
            self._client.api.start(container)
            started = time.monotonic()
            state = self._until_exit(container, lambda: stop() or pump.failed())
            seconds = time.monotonic() - started
            pump.finish()
        return Ended(int(state["ExitCode"]), bool(state["OOMKilled"]), seconds)

    def _until_exit(self, container: str, stop: Callable[[], bool]) -> Mapping[str, Any]:
        while True:
            # A slice that runs out is a ConnectionError on a Unix socket; what is true, the engine says below.
            with contextlib.suppress(requests.ConnectionError, requests.Timeout):
                self._client.api.wait(container, timeout=_SLICE)
            state = self._client.api.inspect_container(container)["State"]
            if not state["Running"]:
                if state["Error"]:
                    raise SandboxError(f"the container did not start: {one_line(state['Error'])}")
                return cast("Mapping[str, Any]", state)
            if stop():
                self._kill(container)

    def _kill(self, container: str) -> None:
        # Nothing in it is worth a polite end; it may have ended by itself by now.
        with contextlib.suppress(APIError):
            self._client.api.kill(container)

    @engine_errors()
    def changed(self, container: str, patterns: Sequence[str]) -> list[str]:
        """See Sandbox."""
        paths = (
            PurePosixPath(change["Path"])
            for change in self._client.api.diff(container) or []
            if change["Kind"] != _DELETED
        )
        inside = (path.relative_to(WORK_DIRECTORY) for path in paths if path.is_relative_to(WORK_DIRECTORY))
        return sorted(str(path) for path in inside if any(fits(path, pattern) for pattern in patterns))

    @engine_errors()
    def get(self, container: str, path: str, into: Path, most: int) -> int:
        """See Sandbox."""
        try:
            pieces, status = self._client.api.get_archive(container, f"{WORK_DIRECTORY}/{path}")
        except NotFound as error:
            raise FileNotFoundError(path) from error
        with contextlib.closing(pieces):
            tar.refuse_unless_small_file(path, status, most)
            return tar.only_file(path, pieces, into, most)

    @engine_errors()
    def commit(self, container: str) -> str:
        """See Sandbox."""
        return str(self._client.api.commit(container)["Id"])

    @engine_errors()
    def remove(self, container: str) -> None:
        """See Sandbox."""
        with contextlib.suppress(NotFound):
            self._client.api.remove_container(container, force=True, v=True)

    @engine_errors()
    def remove_image(self, image: str) -> None:
        """See Sandbox."""
        with contextlib.suppress(NotFound):
            self._client.api.remove_image(image, force=True)

    @engine_errors()
    def sweep(self) -> int:
        """See Sandbox."""
        mine = {"label": [*(f"{key}={value}" for key, value in self._owner.items()), "patchfarm.attempt"]}
        containers = self._client.api.containers(all=True, filters=mine)
        for container in containers:
            self.remove(container["Id"])
        images = self._client.api.images(filters=mine)
        for image in images:
            self.remove_image(image["Id"])
        return len(containers) + len(images)


def environment_of(user: User) -> dict[str, str]:
    """All that a command finds in its environment, but for what the engine sets (HOSTNAME)."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": _HOMES[user],
        "LC_ALL": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
    }


class _Pump:
    """Carries what a container prints to a sink, in its own thread."""

    def __init__(self, printed: Iterator[tuple[int, bytes]], sink: Callable[[bytes], None]) -> None:
        self._printed = printed
        self._sink = sink
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._end = self._thread.submit(self._carry)
        self._thread.shutdown(wait=False)

    def _carry(self) -> None:
        for _, piece in self._printed:
            self._sink(piece)

    def failed(self) -> bool:
        """Whether nothing more can be carried, though there may be more: `finish` raises why."""
        return self._end.done() and self._end.exception() is not None

    def finish(self) -> None:
        """Wait for the rest, which ends with the container; raises what went wrong."""
        try:
            self._end.result(60)
        except TimeoutError as error:
            raise SandboxError("the container engine keeps the log open after the container's end") from error
