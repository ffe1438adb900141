# SPDX-License-Identifier: GPL-3.0-or-later
"""`/jobs/{update}/{kind}/{arch}/{attempt}`: a worker's side of an attempt, and its log for everybody else.

What a worker says counts for its own attempt only, and only while that is the current one.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from coordinator.errors import BadRequest
from coordinator.web.auth import Farm, Person, Worker, check_name
from coordinator.web.body import MAX_FILE, Raw, receive, wire
from coordinator.web.follow import FARTHEST, Span, follow
from coordinator.web.keys import Attempt, Key, Sha256
from workers.wire.report import Heartbeat, Report

router = APIRouter(prefix="/jobs/{update}/{kind}/{arch}/{attempt}", tags=["jobs"])


@dataclass(frozen=True)
class LogSize:
    """How many bytes of a log have arrived."""

    size: int


@router.post("/renew")
def renew(key: Key, attempt: Attempt, worker: str, farm: Farm, who: Worker) -> Heartbeat:
    """Prolong the lease; 409 means to stop and throw the container away."""
    check_name(who, worker)
    return farm.renew(key, attempt, worker)


@router.post("/log")
def add_to_log(
    who: Worker, key: Key, attempt: Attempt, offset: Annotated[int, Query(ge=0, le=FARTHEST)], data: Raw, farm: Farm
) -> LogSize:
    """Add bytes that begin at `offset`; 400 where some are missing in between."""
    return LogSize(farm.add_to_log(who.name, key, attempt, offset, data))


@router.put("/files/{sha256}", status_code=204, max_body_size=MAX_FILE)
async def bring(who: Worker, key: Key, attempt: Attempt, sha256: Sha256, request: Request, farm: Farm) -> Response:
    """A file that the attempt made; needs Content-Length. A report names no others."""
    return await receive(request, partial(farm.bring, who.name, key, attempt, sha256))


@router.post("/report", status_code=204)
def report(who: Worker, key: Key, attempt: Attempt, said: Annotated[Report, Depends(wire(Report))], farm: Farm) -> None:
    """End the attempt."""
    check_name(who, said.worker)
    if (said.job, said.attempt) != (key, attempt):
        raise BadRequest(f"the report is of {said.job} attempt {said.attempt}, the address of {key} attempt {attempt}")
    farm.report(who.name, said)


@router.get("/log", response_class=Response)
async def log(
    key: Key, attempt: Attempt, request: Request, farm: Farm, _who: Person, span: Annotated[Span, Depends()]
) -> Response:
    """Bytes of the log from `offset`; with `wait`, only once there are some or the attempt has ended."""
    part = await follow(farm, key, attempt, span, request.is_disconnected)
    headers = {
        "X-Log-Size": str(part.size),
        "X-Log-Ended": "true" if part.ended else "false",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(part.data, media_type="application/octet-stream", headers=headers)
