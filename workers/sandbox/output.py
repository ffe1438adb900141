# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container prints: as it comes, for the process that starts it, or from the engine's copy, for an adopter."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import docker
from docker.utils.socket import frames_iter

from workers.sandbox import SandboxError


@contextlib.contextmanager
def attached(client: docker.DockerClient, container: str) -> Iterator[Iterator[bytes]]:
    """From now on, as it comes: a fifth of what reading the engine's copy costs. For a container not yet started."""
    # Not the SDK's own stream: that one takes a broken connection for the log's end.
    stream = client.api.attach_socket(container, params={"stdout": 1, "stderr": 1, "stream": 1})
    connection = getattr(stream, "_sock", stream)
    try:
        yield _pieces(stream, connection)
    finally:
        # Whoever reads it wakes up, and closes it: under a reader its number would be another file's, and never end.
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def _pieces(stream: socket.SocketIO, connection: socket.socket) -> Iterator[bytes]:
    with contextlib.closing(connection), contextlib.closing(stream):
        for _, piece in frames_iter(stream, tty=False):  # type: ignore[no-untyped-call]  # the SDK has none
            yield piece


@contextlib.contextmanager
def kept(client: docker.DockerClient, container: str) -> Iterator[Iterator[bytes]]:
    """All that it printed since its start, and on to its end."""
    pieces = client.api.logs(container, stdout=True, stderr=True, stream=True, follow=True)
    with contextlib.closing(pieces):
        yield iter(pieces)


class Pump:
    """Carries what a container prints to a sink, in its own thread."""

    def __init__(self, printed: Iterator[bytes], sink: Callable[[bytes], None]) -> None:
        self._printed = printed
        self._sink = sink
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._end = self._thread.submit(self._carry)
        self._thread.shutdown(wait=False)

    def _carry(self) -> None:
        for piece in self._printed:
            self._sink(piece)

    def ended(self) -> bool:
        """Whether nothing more will be carried: the log ended, or `finish` raises why not."""
        return self._end.done()

    def finish(self) -> None:
        """Wait for the rest, which ends with the container; raises what went wrong."""
        try:
            self._end.result(60)
        except TimeoutError as error:
            raise SandboxError("the container engine keeps the log open after the container's end") from error
