# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the API's addresses: numbers that a database can keep, words of closed sets, digests."""

from typing import Annotated

from fastapi import Depends, Path

from workers.wire.arch import Arch
from workers.wire.order import JobKey, JobKind

#: What every database keeps in an integer column.
_LARGEST = 2**31 - 1

UpdateId = Annotated[int, Path(ge=1, le=_LARGEST)]
Attempt = Annotated[int, Path(ge=1, le=_LARGEST)]
Sha256 = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]


def _key(update: UpdateId, kind: JobKind, arch: Arch) -> JobKey:
    return JobKey(update, kind, arch)


Key = Annotated[JobKey, Depends(_key)]
