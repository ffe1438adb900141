# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the migrations on the connection and in the transaction that `coordinator.store.database.migrate` opened."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    transactional_ddl=True,  # SQLite can, but Alembic does not count on it
    render_as_batch=True,
)
context.run_migrations()
