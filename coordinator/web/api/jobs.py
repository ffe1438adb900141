# SPDX-License-Identifier: GPL-3.0-or-later
"""`/jobs/{update}/{kind}/{arch}/{attempt}`: a worker's side of an attempt, and its log for everybody else.

What a worker says counts for its own attempt only, and only while that is the current one.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from coordinator.errors import BadRequest, Fenced
from coordinator.model import JobState
from coordinator.web.auth import Farm, Person, Worker, check_name
from coordinator.web.body import Raw, wire
from coordinator.web.follow import FARTHEST, Span, follow
from coordinator.web.keys import Attempt, Key
from workers.wire.order import JobKey
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
    _check_holds(farm, key, attempt, who.name)
    return LogSize(farm.logs.append(key, attempt, offset, data))


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


def _check_holds(farm: Farm, key: JobKey, attempt: int, worker: str) -> None:
    job = farm.store.load(key.update).job(key.kind, key.arch)
    if job is None or (job.attempt, job.state, job.worker) != (attempt, JobState.LEASED, worker):
        raise Fenced(f"{key} attempt {attempt} is not {worker}'s")
