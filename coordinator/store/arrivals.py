# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files an attempt has brought, inside a transaction that the caller opened. They count while it has its job."""

import sqlalchemy as sa

from coordinator.model import JobState
from coordinator.store.put import put
from coordinator.store.rows import Values
from coordinator.store.tables import arrivals, jobs
from workers.wire.order import JobKey


def add(connection: sa.Connection, job: JobKey, attempt: int, sha256: str, size: int) -> None:
    """A file is here, whole, and came from that attempt."""
    its: Values = {"update_id": job.update, "kind": job.kind, "arch": job.arch, "attempt": attempt}
    put(connection, arrivals, its | {"sha256": sha256, "size": size})


def of(connection: sa.Connection, job: JobKey, attempt: int) -> dict[str, int]:
    """Whatever came from that attempt, by sha256, with its size."""
    row = arrivals.c
    its = (row.update_id == job.update, row.kind == job.kind, row.arch == job.arch, row.attempt == attempt)
    return {found.sha256: found.size for found in connection.execute(sa.select(row.sha256, row.size).where(*its))}


def forget(connection: sa.Connection) -> None:
    """Those of attempts that are over."""
    row, job = arrivals.c, jobs.c
    same = (job.update_id == row.update_id, job.kind == row.kind, job.arch == row.arch, job.attempt == row.attempt)
    held = sa.select(job.update_id).where(*same, job.state == JobState.LEASED).exists()
    connection.execute(sa.delete(arrivals).where(~held))
