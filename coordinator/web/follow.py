# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a log while it grows, without a thread that waits."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

import anyio
from fastapi import Query
from starlette.concurrency import run_in_threadpool

from coordinator.errors import UnknownName
from coordinator.model import JobState
from coordinator.service import Coordinator
from workers.wire.order import JobKey

#: Seconds between two looks at whether a log that is waited for has grown, and how many of them there are until its
#: attempt is looked at as well, which costs far more.
_LOOK, _LOOKS = 0.1, 10
#: An offset beyond this is none.
FARTHEST = 1 << 40


@dataclass(frozen=True)
class Span:
    """Which bytes of a log are asked for, and how many seconds their reader is ready to wait for the first."""

    offset: Annotated[int, Query(ge=0, le=FARTHEST)] = 0
    count: Annotated[int, Query(ge=1, le=1 << 20)] = 1 << 18
    wait: Annotated[float, Query(ge=0, le=30)] = 0


@dataclass(frozen=True)
class Part:
    """Some bytes of a log, its size at that time, and whether its attempt had ended before they were read."""

    data: bytes
    size: int
    ended: bool


async def follow(farm: Coordinator, key: JobKey, attempt: int, span: Span, gone: Callable[[], Awaitable[bool]]) -> Part:
    """The span's bytes as soon as there are any. Answers early where the attempt has ended or the reader is gone."""
    until = anyio.current_time() + span.wait
    while True:
        part = await run_in_threadpool(_read, farm, key, attempt, span)
        if part.data or part.ended or anyio.current_time() >= until or await gone():
            return part
        await _growth(farm, key, attempt, span.offset)


async def _growth(farm: Coordinator, key: JobKey, attempt: int, offset: int) -> None:
    """Until the log goes on beyond the offset; no longer than the looks take."""
    for _ in range(_LOOKS):
        await anyio.sleep(_LOOK)
        if await run_in_threadpool(farm.logs.size, key, attempt) > offset:
            return


def _read(farm: Coordinator, key: JobKey, attempt: int, span: Span) -> Part:
    # First whether it has ended, then the bytes: the other way round the last ones could be missed.
    ended = has_ended(farm, key, attempt)
    data = farm.logs.read(key, attempt, span.offset, span.count)
    return Part(data, max(farm.logs.size(key, attempt), span.offset + len(data) if data else 0), ended)


def has_ended(farm: Coordinator, key: JobKey, attempt: int) -> bool:
    """Whether no more of the attempt's log can come. Raises UnknownName where there never was such an attempt."""
    job = farm.store.load(key.update).job(key.kind, key.arch)
    if job is None or attempt > job.attempt:
        raise UnknownName(f"{key} has no attempt {attempt}")
    return attempt < job.attempt or job.state not in (JobState.QUEUED, JobState.LEASED)
