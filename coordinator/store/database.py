# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections to SQLite or PostgreSQL, and the schema brought up to date. Nothing here knows what the tables mean.

Threads may share an engine. A process that was forked gets connections of its own.
"""

import os
import sqlite3
import weakref
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import errors as postgres
from sqlalchemy import Connection, Engine, ExceptionContext, Pool, create_engine, event, text
from sqlalchemy.engine import make_url

from coordinator.errors import BadRequest, DiskFull, PatchfarmError

MIGRATIONS = Path(__file__).with_name("migrations")

#: How long a writer waits for another before it gives up, in seconds.
_PATIENCE = 30
#: Names in PostgreSQL's table of advisory locks; any numbers that nothing else uses.
_MIGRATION_LOCK, ADDITIONS, CLAIMS = 0x7061746368, 0x7061746369, 0x706174636A
#: No room for a page, or for the index of the write-ahead log, which the first reader needs, too.
_SQLITE_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})
#: Pools of a parent process. Closing their connections here would end the parent's.
_inherited: list[Pool] = []


def connect(url: str) -> Engine:
    """An engine for `sqlite:///…` or `postgresql://…`; opens nothing yet."""
    kind = make_url(url).get_backend_name()
    if kind == "sqlite":
        engine = create_engine(url, max_overflow=-1, connect_args={"timeout": _PATIENCE})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    elif kind == "postgresql":
        engine = create_engine(url, max_overflow=15, pool_timeout=_PATIENCE, pool_pre_ping=True)
    else:
        raise BadRequest(f"{kind} is no database this farm knows", "Set `database` to sqlite:///… or postgresql://….")
    event.listen(engine, "handle_error", _translate)
    _keep_out_of_forks(engine)
    return engine


def for_reading(engine: Engine) -> Engine:
    """The same engine, for transactions that read: all their queries see one moment, and no writer waits for them."""
    if engine.dialect.name == "postgresql":
        return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return engine


def for_writing(engine: Engine) -> Engine:
    """The same engine, for transactions that write."""
    return engine.execution_options(writes=True)


def one_at_a_time(connection: Connection, name: int) -> None:
    """Wait until no other transaction that called this by that name is open; under SQLite no two ever write at once."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:name)"), {"name": name})


def migrate(engine: Engine, to: str = "head") -> None:
    """Bring the schema to what this version needs; of several processes that start at once, one does it.

    `to` is another version than the newest where a test needs a database that is older.
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    with for_reading(engine).begin() as connection:
        if _is_current(connection, scripts):
            return
    if engine.dialect.name == "sqlite":
        _write_ahead(engine)
    with for_writing(engine).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:name)"), {"name": _MIGRATION_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, to)


def _is_current(connection: Connection, scripts: ScriptDirectory) -> bool:
    found = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in scripts.walk_revisions()}
    if found is not None and found not in known:
        raise PatchfarmError(
            f"the database has the schema of a newer version of patchfarm: {found}",
            "Run that version, or restore the database as it was before.",
        )
    return found == scripts.get_current_head()


def _write_ahead(engine: Engine) -> None:
    """Let readers and one writer go on at the same time; the file remembers it. Cannot be done in a transaction."""
    raw = engine.raw_connection()
    try:
        raw.cursor().execute("PRAGMA journal_mode = WAL")
    finally:
        raw.close()


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the driver would begin by itself, too late and without IMMEDIATE
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    """A writer takes its lock first: one that read before it wrote could not wait for another, only fail."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _translate(context: ExceptionContext) -> None:
    error: Any = context.original_exception
    full = isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", None) in _SQLITE_FULL
    if full or isinstance(error, postgres.DiskFull):
        raise DiskFull("no space is left on the database's disk") from error


def _keep_out_of_forks(engine: Engine) -> None:
    known = weakref.ref(engine)

    def forget() -> None:
        inherited = known()
        if inherited is not None:
            _inherited.append(inherited.pool)
            inherited.dispose(close=False)

    os.register_at_fork(after_in_child=forget)
