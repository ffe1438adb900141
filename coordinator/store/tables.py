# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables. A column bears the name of the model's field, so that rows and dataclasses need no dictionary between.

A change here needs a migration; a test compares the two. Times are UTC, sizes are bytes.
"""

from functools import partial

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
)

from coordinator.errors import Blame
from coordinator.model import Clearance, JobState, Origin, Role, TestResult, UpdateState, Urgency
from coordinator.store.columns import Choice, Json, Moment, Words
from workers.wire.arch import Arch, Tier
from workers.wire.order import JobKind
from workers.wire.report import Report

metadata = MetaData()
_column = partial(Column, nullable=False)


def _owner() -> Column[int]:
    return Column("update_id", ForeignKey("updates.id"), primary_key=True)


updates = Table(
    "updates",
    metadata,
    Column("id", Integer, primary_key=True),
    _column("revision", Integer),
    _column("state", Choice(UpdateState)),
    _column("source_name", Words),
    _column("source_version", Words),
    _column("source_architectures", Json(tuple[str, ...])),
    _column("source_builds_all", Boolean),
    _column("source_builds_any", Boolean),
    _column("source_has_tests", Boolean),
    _column("source_origin", Choice(Origin)),
    _column("source_signed_by", Words),
    _column("suite", Words),
    _column("recipe", Words),
    _column("recipe_sha256", Words),
    _column("urgency", Choice(Urgency)),
    _column("submitter", Words),
    _column("approvals_needed", Integer),
    _column("created_at", Moment),
    _column("changed_at", Moment),
    Column("uploaded_at", Moment),
    _column("reason", Words),
    Column("blame", Choice(Blame)),
    Index("updates_by_state", "state"),
    sqlite_autoincrement=True,
)

#: `role` is `source` for what came in and `signed` for what the signer returned.
files = Table(
    "files",
    metadata,
    _owner(),
    Column("role", Words, primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    _column("name", Words),
    _column("sha256", Words),
    _column("size", BigInteger),
)

jobs = Table(
    "jobs",
    metadata,
    _owner(),
    Column("kind", Choice(JobKind), primary_key=True),
    Column("arch", Choice(Arch), primary_key=True),
    _column("position", Integer),
    _column("state", Choice(JobState)),
    _column("attempt", Integer),
    _column("farm_faults", Integer),
    _column("worker", Words),
    Column("tier", Choice(Tier)),
    Column("lease_expires_at", Moment),
    Column("queued_at", Moment),
    Column("started_at", Moment),
    Column("ended_at", Moment),
    _column("reason", Words),
    _column("cancel", Boolean),
    Column("report", Json(Report)),
    _column("tests", Json(tuple[TestResult, ...])),
    _column("failed_on", Json(tuple[str, ...])),
    _column("dep_waits", Integer),
    _column("misses", Integer),
    _column("given_back", Integer),
    _column("claim", Words),
    Index("jobs_by_state", "state"),
)

#: The files that an attempt has brought: it can report no others.
arrivals = Table(
    "arrivals",
    metadata,
    _owner(),
    Column("kind", Choice(JobKind), primary_key=True),
    Column("arch", Choice(Arch), primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("sha256", Words, primary_key=True),
    _column("size", BigInteger),
)

approvals = Table(
    "approvals",
    metadata,
    _owner(),
    Column("position", Integer, primary_key=True, autoincrement=False),
    _column("person", Words),
    _column("fingerprint", Words),
    _column("digest", Words),
    _column("signature", Words),
    _column("at", Moment),
    UniqueConstraint("update_id", "person", name="approvals_one_per_person"),
)

#: `sequence` is the revision of the update that the entry led to.
history = Table(
    "history",
    metadata,
    _owner(),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    _column("at", Moment),
    _column("state", Choice(UpdateState)),
    _column("event", Words),
    _column("detail", Words),
    _column("digest", Words),
)

outbox = Table(
    "outbox",
    metadata,
    Column("number", Integer, primary_key=True),
    _column("update_id", ForeignKey("updates.id")),
    _column("name", Words),
    _column("instruction", Words),
    _column("due_at", Moment),
    _column("tries", Integer),
    _column("last_error", Words),
    _column("done", Boolean),
    Index("outbox_by_time", "done", "due_at"),
    sqlite_autoincrement=True,
)

workers = Table(
    "workers",
    metadata,
    Column("name", Words, primary_key=True),
    _column("tiers", Json(dict[Arch, Tier])),
    _column("slots", Integer),
    _column("last_seen_at", Moment),
    _column("host", Words),
    _column("cores", Integer),
    _column("memory_bytes", BigInteger),
)

#: What the operator decided about a worker, apart from what the worker says of itself.
admissions = Table(
    "admissions",
    metadata,
    Column("name", Words, primary_key=True),
    _column("trust_domain", Words),
    _column("clearance", Choice(Clearance)),
    _column("draining", Boolean),
)

#: A token itself is never kept, only its sha256.
tokens = Table(
    "tokens",
    metadata,
    Column("name", Words, primary_key=True),
    Column("role", Choice(Role), primary_key=True),
    _column("sha256", Words),
    UniqueConstraint("sha256", name="tokens_one_bearer"),
)
