# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads and writes whole updates with their files, jobs and approvals, inside a transaction that the caller opened."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa

from coordinator.model import Job, Update
from coordinator.store import rows
from coordinator.store.tables import approvals, files, jobs, updates

#: Picks the ids of the updates to read.
Chosen = sa.Select[tuple[int]]


def read(connection: sa.Connection, chosen: Chosen) -> list[Update]:
    """The newest first. Four queries at most, however many updates there are."""
    query = sa.select(updates).where(updates.c.id.in_(chosen)).order_by(updates.c.id.desc())
    found = connection.execute(query).mappings().all()
    if not found:
        return []
    own_files, own_jobs, own_approvals = (_by_update(connection, part, chosen) for part in (files, jobs, approvals))
    return [rows.to_update(row, own_files[row["id"]], own_jobs[row["id"]], own_approvals[row["id"]]) for row in found]


def add(connection: sa.Connection, update: Update) -> int:
    """Write a new update in its first revision; answers the id it was given."""
    row = rows.of_update(update) | {"revision": 1}
    number: int = connection.execute(sa.insert(updates).values(row).returning(updates.c.id)).scalar_one()
    bare = replace(update, source=replace(update.source, files=()), jobs=(), approvals=(), signed=())
    _write_parts(connection, number, bare, update)
    return number


def change(connection: sa.Connection, before: Update, after: Update) -> bool:
    """Write what differs, if the update still has the revision of `before`; answers whether it had."""
    guard = (updates.c.id == before.id) & (updates.c.revision == before.revision)
    row = rows.of_update(after) | {"revision": before.revision + 1}
    if connection.execute(sa.update(updates).where(guard).values(row)).rowcount != 1:
        return False
    _write_parts(connection, before.id, before, after)
    return True


def _by_update(connection: sa.Connection, part: sa.Table, chosen: Chosen) -> dict[int, list[sa.RowMapping]]:
    query = sa.select(part).where(part.c.update_id.in_(chosen)).order_by(part.c.position)
    grouped: dict[int, list[sa.RowMapping]] = defaultdict(list)
    for row in connection.execute(query).mappings():
        grouped[row["update_id"]].append(row)
    return grouped


def _write_parts(connection: sa.Connection, number: int, before: Update, after: Update) -> None:
    _write_jobs(connection, number, before.jobs, after.jobs)
    for role, old, new in (
        ("source", before.source.files, after.source.files),
        ("signed", before.signed, after.signed),
    ):
        if old != new:
            connection.execute(sa.delete(files).where(files.c.update_id == number, files.c.role == role))
            _insert(connection, files, number, rows.of_files(role, new))
    if before.approvals != after.approvals:
        connection.execute(sa.delete(approvals).where(approvals.c.update_id == number))
        _insert(connection, approvals, number, rows.of_approvals(after.approvals))


def _write_jobs(connection: sa.Connection, number: int, before: Sequence[Job], after: Sequence[Job]) -> None:
    old, new = rows.of_jobs(before), rows.of_jobs(after)
    for key in old.keys() - new.keys():
        connection.execute(sa.delete(jobs).where(_job(number, key)))
    for key in old.keys() & new.keys():
        changed = rows.changes(old[key], new[key])
        if changed:
            connection.execute(sa.update(jobs).where(_job(number, key)).values(changed))
    _insert(connection, jobs, number, [row for key, row in new.items() if key not in old])


def _job(number: int, key: tuple[str, str]) -> sa.ColumnElement[bool]:
    kind, arch = key
    return (jobs.c.update_id == number) & (jobs.c.kind == kind) & (jobs.c.arch == arch)


def _insert(connection: sa.Connection, table: sa.Table, number: int, found: list[rows.Values]) -> None:
    if found:
        connection.execute(sa.insert(table), [{"update_id": number} | row for row in found])
