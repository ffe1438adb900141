# SPDX-License-Identifier: GPL-3.0-or-later
"""Request bodies that are not plain JSON: raw bytes, wire types, and streams of any length in constant memory.

A handler names its bearer before its body: dependencies are met in order, and nobody unknown is read from.
"""

import io
from collections.abc import AsyncIterator, Callable
from typing import Annotated, BinaryIO, TypeVar

import anyio.from_thread
import anyio.to_thread
from fastapi import Depends, Request, Response

from coordinator.errors import BadRequest
from workers.wire.codec import decode

T = TypeVar("T")

#: The most one file may have; a larger one gets 413.
MAX_FILE = 8 << 30
#: What one read of an arriving body asks for.
_CHUNK = 1 << 20


async def raw(request: Request) -> bytes:
    """The whole body; the application's limit has bounded it."""
    return await request.body()


Raw = Annotated[bytes, Depends(raw)]


def wire(kind: type[T]) -> Callable[[bytes], T]:
    """A dependency that reads the body as a wire type; raises WireError."""

    def read(data: Raw) -> T:
        return decode(kind, data)

    return read


async def receive(request: Request, keep: Callable[[int, BinaryIO], None]) -> Response:
    """Give the body to `keep` as it arrives, with its length; needs Content-Length. Answers that it is kept."""
    length = request.headers.get("Content-Length", "")
    if not length.isascii() or not length.isdigit():
        raise BadRequest("an upload says its Content-Length")
    stream = io.BufferedReader(Incoming(aiter(request.stream())), _CHUNK)
    # Threads of their own: slow uploads must not keep everybody else waiting.
    await anyio.to_thread.run_sync(keep, int(length), stream, limiter=request.app.state.uploads)
    return Response(status_code=204)


class Incoming(io.RawIOBase):
    """A request's body as a file that a worker thread reads while it arrives."""

    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        super().__init__()
        self._stream = stream
        self._rest = b""

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # the base takes any buffer
        """As much as has come; 0 at the end. Raises ClientDisconnect."""
        while not self._rest:
            piece = anyio.from_thread.run(self._next)
            if piece is None:
                return 0
            self._rest = piece
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count

    async def _next(self) -> bytes | None:
        return await anext(self._stream, None)
