# SPDX-License-Identifier: GPL-3.0-or-later
"""`/blobs/{sha256}`: bytes in and out by digest, never held in memory.

Whoever knows a digest may have its bytes; a worker only those that it needs for what it has, for papers and logs tell
digests of sources that are not for every worker.
"""

import io
from functools import partial
from pathlib import Path

import anyio.to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from coordinator.errors import BadRequest
from coordinator.model import Role
from coordinator.web.auth import Anyone, Farm
from coordinator.web.body import Incoming
from coordinator.web.keys import Sha256

#: The most one file may have; a larger one gets 413.
MAX_BLOB = 8 << 30
#: What one read of an arriving body asks for.
_CHUNK = 1 << 20

router = APIRouter(prefix="/blobs", tags=["blobs"])


@router.head("/{sha256}", include_in_schema=False)
def head(sha256: Sha256, farm: Farm, _who: Anyone) -> FileResponse:
    """Whether they are here, so that nobody sends them twice."""
    return _answer(farm.blobs.path(sha256))


@router.get("/{sha256}", response_class=FileResponse)
def get(sha256: Sha256, farm: Farm, who: Anyone) -> FileResponse:
    """The bytes with that digest."""
    return _answer(farm.file_for(who.name, sha256) if who.role == Role.WORKER else farm.blobs.path(sha256))


@router.put("/{sha256}", status_code=204, max_body_size=MAX_BLOB)
async def put(sha256: Sha256, request: Request, farm: Farm, _who: Anyone) -> Response:
    """Keep the body under its digest; needs Content-Length. Bytes that are here already are the same bytes."""
    length = request.headers.get("Content-Length", "")
    if not length.isascii() or not length.isdigit():
        raise BadRequest("an upload says its Content-Length")
    stream = io.BufferedReader(Incoming(aiter(request.stream())), _CHUNK)
    keep = partial(farm.blobs.put, sha256, int(length), stream)
    # Threads of their own: slow uploads must not keep everybody else waiting.
    await anyio.to_thread.run_sync(keep, limiter=request.app.state.uploads)
    return Response(status_code=204)


def _answer(file: Path) -> FileResponse:
    return FileResponse(file, media_type="application/octet-stream", headers={"X-Content-Type-Options": "nosniff"})
