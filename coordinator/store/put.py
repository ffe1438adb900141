# SPDX-License-Identifier: GPL-3.0-or-later
"""Inserts a row, or changes the one that is there, in one statement of either database."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from coordinator.store.rows import Values


def put(connection: sa.Connection, table: sa.Table, values: Values, kept: Sequence[str] = ()) -> None:
    """Insert the row, or change the one with the same primary key, but for the columns that are `kept` there."""
    keys = list(table.primary_key)
    changed = {name: value for name, value in values.items() if name not in kept}
    statement: sa.Insert
    if connection.dialect.name == "postgresql":
        statement = postgresql.insert(table).values(values).on_conflict_do_update(index_elements=keys, set_=changed)
    else:
        statement = sqlite.insert(table).values(values).on_conflict_do_update(index_elements=keys, set_=changed)
    connection.execute(statement)
