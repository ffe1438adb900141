# SPDX-License-Identifier: GPL-3.0-or-later
"""Request bodies that are not plain JSON: raw bytes, wire types, and streams of any length in constant memory.

A handler names its bearer before its body: dependencies are met in order, and nobody unknown is read from.
"""

import io
from collections.abc import AsyncIterator, Callable
from typing import Annotated, TypeVar

import anyio.from_thread
from fastapi import Depends, Request

from workers.wire.codec import decode

T = TypeVar("T")


async def raw(request: Request) -> bytes:
    """The whole body; the application's limit has bounded it."""
    return await request.body()


Raw = Annotated[bytes, Depends(raw)]


def wire(kind: type[T]) -> Callable[[bytes], T]:
    """A dependency that reads the body as a wire type; raises WireError."""

    def read(data: Raw) -> T:
        return decode(kind, data)

    return read


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
