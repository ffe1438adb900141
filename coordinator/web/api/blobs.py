# SPDX-License-Identifier: GPL-3.0-or-later
"""`/blobs/{sha256}`: bytes in and out by digest, never held in memory. Whoever knows a digest may have its bytes."""

import io
from functools import partial

import anyio.to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from coordinator.errors import BadRequest
from coordinator.web.auth import Anyone, Farm
from coordinator.web.body import Incoming
from coordinator.web.keys import Sha256

#: The most one file may have; a larger one gets 413.
MAX_BLOB = 8 << 30
#: What one read of an arriving body asks for.
_CHUNK = 1 << 20

router = APIRouter(prefix="/blobs", tags=["blobs"])


@router.head("/{sha256}", include_in_schema=False)
@router.get("/{sha256}", response_class=FileResponse)
def get(sha256: Sha256, farm: Farm, _who: Anyone) -> FileResponse:
    """The bytes with that digest."""
    headers = {"X-Content-Type-Options": "nosniff"}
    return FileResponse(farm.blobs.path(sha256), media_type="application/octet-stream", headers=headers)


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
