# SPDX-License-Identifier: GPL-3.0-or-later
"""What the two databases promise beyond the Store: one schema, any number of processes, no shared connection."""

import multiprocessing
import os
import resource
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from coordinator.errors import BadRequest, DiskFull, PatchfarmError
from coordinator.events import Confirm, Plan
from coordinator.model import Clearance, Worker
from coordinator.store import chain, database, tables
from coordinator.store.sql import SqlStore, open_store
from tests.adapters.cluster import Cluster
from tests.adapters.store_kit import MINUTE, NOW, full, job, leased, update
from workers.wire.arch import Arch, Tier

PROCESSES = multiprocessing.get_context("spawn")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.system)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/farm 100%.sqlite3"
    else:
        running: Cluster = request.getfixturevalue("postgres")
        with running.database() as made:
            yield made


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    made = database.connect(url)
    database.migrate(made)
    yield made
    made.dispose()


@pytest.fixture
def store(engine: sa.Engine) -> SqlStore:
    return SqlStore(engine)


def run(engine: sa.Engine, statement: str) -> None:
    with database.for_writing(engine).begin() as connection:
        connection.execute(sa.text(statement))


def open_together(url: str, gate: Any, opened: Any) -> None:
    """In a process of its own."""
    gate.wait()
    store = open_store(url)
    store.add(full(), "SourceAccepted", "", [Plan()])
    store.close()
    opened.release()


def test_the_migrations_make_the_tables_that_the_code_knows(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_a_store_opened_again_holds_what_it_held(url: str) -> None:
    first = open_store(url)
    added = first.add(full(), "SourceAccepted", "", ())
    first.close()
    again = open_store(url)
    assert again.updates() == [added]
    again.close()


def test_a_worker_that_an_earlier_version_knew_is_still_known(url: str) -> None:
    engine = database.connect(url)
    database.migrate(engine, to="0001")
    known = "INSERT INTO workers VALUES ('w1', '{\"amd64\": \"native\"}', 2, '2026-01-01 12:00:00+00:00')"
    run(engine, known.replace("+00:00", "") if engine.dialect.name == "sqlite" else known)
    database.migrate(engine)
    moment, tiers = datetime(2026, 1, 1, 12, tzinfo=UTC), {Arch.AMD64: Tier.NATIVE}
    expected = Worker("w1", tiers, 2, moment, "", 1, 0, "w1", Clearance.EMBARGOED, False)
    assert SqlStore(engine).workers() == [expected]
    engine.dispose()


def test_workers_of_an_earlier_version_keep_their_clearance_and_what_was_decided(url: str) -> None:
    engine = database.connect(url)
    database.migrate(engine, to="0005")
    for name, role in (("granted", "worker"), ("decided", "worker"), ("person", "person")):
        run(engine, f"INSERT INTO tokens VALUES ('{name}', '{role}', '{name}')")  # noqa: S608
    run(engine, "INSERT INTO admissions VALUES ('decided', 'rack-1', 'public', true)")
    database.migrate(engine)
    with engine.begin() as connection:
        found = connection.execute(sa.select(tables.admissions).order_by("name")).all()
    assert [tuple(row) for row in found] == [
        ("decided", "rack-1", Clearance.PUBLIC, True),
        ("granted", "granted", Clearance.EMBARGOED, False),
    ]
    engine.dispose()


def test_processes_that_start_together_share_one_schema(url: str) -> None:
    gate, opened = PROCESSES.Barrier(4), PROCESSES.Semaphore(0)
    started = [PROCESSES.Process(target=open_together, args=(url, gate, opened)) for _ in range(4)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    store = open_store(url)
    assert [process.exitcode for process in started] == [0] * 4
    assert sorted(found.id for found in store.updates()) == [1, 2, 3, 4]
    store.close()


def test_the_database_of_a_newer_version_is_left_alone(url: str, engine: sa.Engine) -> None:
    run(engine, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(PatchfarmError, match="newer version of patchfarm: 9999"):
        open_store(url)


def test_no_other_database_is_taken() -> None:
    with pytest.raises(BadRequest, match="mysql"):
        database.connect("mysql://farm@localhost/farm")


def test_a_history_row_changed_in_the_database_is_found(engine: sa.Engine, store: SqlStore) -> None:
    saved = store.add(update(), "SourceAccepted", "", ())
    for _ in range(3):
        saved = store.save(saved, saved, "Something", "as it was", ())
    run(engine, "UPDATE history SET detail = 'as it should have been' WHERE sequence = 3")
    assert chain.first_break(1, store.history(1), saved.revision) == 3
    run(engine, "DELETE FROM history WHERE sequence > 2")
    assert chain.first_break(1, store.history(1), saved.revision) == 3


def test_a_save_that_fails_at_its_end_changes_nothing(engine: sa.Engine, store: SqlStore) -> None:
    added = store.add(update(leased()), "SourceAccepted", "", ())
    run(engine, "DROP TABLE outbox")
    with pytest.raises(sa.exc.DBAPIError):
        store.save(added, replace(full(), id=1, revision=1), "Something", "", [Plan()])
    assert store.load(1) == added
    assert len(store.history(1)) == 1


def test_a_list_of_updates_takes_as_many_queries_as_one(engine: sa.Engine, store: SqlStore) -> None:
    for _ in range(7):
        store.add(full(), "SourceAccepted", "", ())
    asked: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda _c, _d, statement, *_: asked.append(statement))
    assert len(store.updates()) == 7
    assert sum(statement.startswith("SELECT") for statement in asked) == 4


def test_text_that_no_database_can_hold_is_kept_readable(store: SqlStore) -> None:
    hostile = "a\0b\ud800c"
    report = full().jobs[0].report
    assert report is not None
    store.add(update(job(reason=hostile, report=replace(report, reason=hostile))), hostile, hostile, ())
    kept = store.load(1).jobs[0]
    assert kept.reason == "a\N{REPLACEMENT CHARACTER}b?c"
    assert kept.report is not None
    assert kept.report.reason == "a\0b?c"


def test_a_time_without_a_zone_is_refused(store: SqlStore) -> None:
    with pytest.raises(sa.exc.StatementError, match="has no time zone"):
        store.add(update(job(queued_at=NOW.replace(tzinfo=None))), "SourceAccepted", "", ())
    assert store.updates() == []


def test_why_an_instruction_waits_stands_in_the_outbox(engine: sa.Engine, store: SqlStore) -> None:
    store.add(update(), "SourceAccepted", "", [Plan()])
    store.postpone(store.due(NOW)[0], NOW, "no worker")
    with engine.begin() as connection:
        row = connection.execute(sa.select(tables.outbox)).one()
    assert (row.name, row.instruction, row.last_error, row.tries, row.done) == ("Plan", "{}", "no worker", 1, False)


POISON = "UPDATE outbox SET {} WHERE number = 1"


@pytest.mark.parametrize(
    "poison",
    [
        POISON.format("name = 'Explode'"),
        POISON.format("instruction = '{\"x\": 1}'"),
        POISON.format("instruction = '?'"),
    ],
)
def test_an_instruction_that_cannot_be_read_says_so_once_and_keeps_no_other_waiting(
    engine: sa.Engine, store: SqlStore, caplog: pytest.LogCaptureFixture, poison: str
) -> None:
    store.add(update(), "SourceAccepted", "", [Plan()])
    store.add(update(), "SourceAccepted", "", [Plan()])
    run(engine, poison)
    for _ in range(3):
        assert [due.update for due in store.due(NOW)] == [2]
    assert "cannot be carried out by this version" in store.waiting(1)[0].last_error
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    run(engine, "UPDATE outbox SET name = 'Plan', instruction = '{}'")
    assert [due.update for due in store.due(NOW)] == [1, 2]


def test_what_was_carried_out_long_ago_is_in_the_outbox_no_more(engine: sa.Engine, store: SqlStore) -> None:
    for _ in range(2):
        store.add(update(), "SourceAccepted", "", [Plan(), Confirm()])
    for due in store.due(NOW)[:3]:
        store.done(due)
    store.tidy(NOW)
    with engine.begin() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.outbox)).scalar() == 4
    store.tidy(NOW + MINUTE)
    with engine.begin() as connection:
        assert connection.execute(sa.select(tables.outbox.c.number)).scalars().all() == [4]


def test_a_forked_process_uses_connections_of_its_own(store: SqlStore) -> None:
    store.add(update(), "SourceAccepted", "", ())
    child = os.fork()
    if child == 0:
        try:
            store.add(update(), "SourceAccepted", "", ())
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert [found.id for found in store.updates()] == [2, 1]


def test_sqlite_lets_readers_go_on_and_checks_foreign_keys(tmp_path: Path) -> None:
    engine = database.connect(f"sqlite:///{tmp_path}/farm.sqlite3")
    database.migrate(engine)
    with engine.begin() as reader, database.for_writing(engine).begin() as writer:
        assert reader.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert reader.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000
        assert reader.exec_driver_sql("SELECT count(*) FROM updates").scalar() == 0
        with pytest.raises(sa.exc.IntegrityError, match="FOREIGN KEY"):
            writer.exec_driver_sql("INSERT INTO files VALUES (7, 'source', 0, 'name', 'sha256', 1)")
    engine.dispose()


def test_who_opens_it_on_a_full_disk_is_told_so_even_if_only_to_read(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/farm.sqlite3"
    open_store(url).close()
    store = SqlStore(database.connect(url))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The index begins as a file of three bytes; what a full disk has no room for is its first page.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(DiskFull):
            store.updates()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.updates() == []
    store.close()


def test_a_full_disk_under_sqlite_is_told_apart_and_what_was_kept_stays(tmp_path: Path) -> None:
    engine = database.connect(f"sqlite:///{tmp_path}/farm.sqlite3")
    database.migrate(engine)
    store = SqlStore(engine)
    added = store.add(update(), "SourceAccepted", "", ())
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 1"))
    with pytest.raises(DiskFull):
        store.save(added, replace(added, reason="long" * 100_000), "Something", "", ())
    assert store.updates() == [added]
    store.close()
