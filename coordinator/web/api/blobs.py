# SPDX-License-Identifier: GPL-3.0-or-later
"""`/blobs/{sha256}`: bytes in and out by digest, never held in memory.

Whoever knows a digest may have its bytes; a worker only those that it needs for what it has, for papers and logs tell
digests of sources that are not for every worker. What a worker has made it brings to its attempt: see jobs.
"""

from functools import partial
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from coordinator.errors import NotAllowed
from coordinator.model import Role
from coordinator.web.auth import Anyone, Bearer, Farm
from coordinator.web.body import MAX_FILE, receive
from coordinator.web.keys import Sha256

router = APIRouter(prefix="/blobs", tags=["blobs"])


@router.head("/{sha256}", include_in_schema=False)
def head(sha256: Sha256, farm: Farm, who: Anyone) -> FileResponse:
    """Whether they are here, so that nobody sends them twice."""
    return _answer(_file(farm, who, sha256))


@router.get("/{sha256}", response_class=FileResponse)
def get(sha256: Sha256, farm: Farm, who: Anyone) -> FileResponse:
    """The bytes with that digest."""
    return _answer(_file(farm, who, sha256))


@router.put("/{sha256}", status_code=204, max_body_size=MAX_FILE)
async def put(sha256: Sha256, request: Request, farm: Farm, who: Anyone) -> Response:
    """Keep the body under its digest; needs Content-Length. Bytes that are here already are the same bytes."""
    if who.role == Role.WORKER:
        raise NotAllowed("a worker brings files to the attempt that made them")
    return await receive(request, partial(farm.blobs.put, sha256))


def _file(farm: Farm, who: Bearer, sha256: str) -> Path:
    return farm.file_for(who.name, sha256) if who.role == Role.WORKER else farm.blobs.path(sha256)


def _answer(file: Path) -> FileResponse:
    return FileResponse(file, media_type="application/octet-stream", headers={"X-Content-Type-Options": "nosniff"})
