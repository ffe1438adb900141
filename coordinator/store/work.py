# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is to do, and how it went before, inside a transaction that the caller opened. One query each."""

import sqlalchemy as sa

from coordinator.model import JobState, OpenJob, Past
from coordinator.store import rows
from coordinator.store.tables import jobs, updates

_OPEN = (JobState.WAITING, JobState.QUEUED, JobState.LEASED)


def open_jobs(connection: sa.Connection) -> list[OpenJob]:
    """Every job that waits, may begin or is being done, without what an earlier attempt reported."""
    own = [column for column in jobs.c if column.name not in ("report", "tests")]
    update = updates.c
    query = (
        sa.select(*own, update.source_name, update.source_origin, update.urgency, update.recipe, update.recipe_sha256)
        .join(updates, update.id == jobs.c.update_id)
        .where(jobs.c.state.in_(_OPEN))
        .order_by(jobs.c.update_id, jobs.c.position)
    )
    return [rows.to_open_job(row) for row in connection.execute(query).mappings()]


def past(connection: sa.Connection, last: int) -> list[Past]:
    """How the jobs that succeeded went, of that many updates: the last."""
    job, update = jobs.c, updates.c
    since = sa.select(sa.func.max(update.id)).scalar_subquery() - last
    # Not as `state = …`: SQLite would go through every job that ever succeeded, by the index of states.
    succeeded = sa.cast(job.state, sa.Text) == JobState.SUCCEEDED.value
    query = (
        sa.select(update.source_name, job.kind, job.arch, job.tier, job.started_at, job.ended_at, job.report)
        .join(updates, update.id == job.update_id)
        .where(job.update_id > since, succeeded, job.report.is_not(None))
        .order_by(job.update_id, job.position)
    )
    return [rows.to_past(row) for row in connection.execute(query).mappings()]
