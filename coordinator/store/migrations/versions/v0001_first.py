# SPDX-License-Identifier: GPL-3.0-or-later
"""The first schema. Frozen: what a later version needs is another migration."""

from functools import partial

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_text = partial(sa.Column, type_=sa.Text, nullable=False)
_number = partial(sa.Column, type_=sa.Integer, nullable=False)
_flag = partial(sa.Column, type_=sa.Boolean, nullable=False)
_moment = partial(sa.Column, type_=sa.DateTime(timezone=True), nullable=False)


def upgrade() -> None:
    """Every table."""
    _updates()
    _files()
    _jobs()
    _approvals()
    _history()
    _outbox()
    _workers_and_tokens()


def _owner() -> sa.Column[int]:
    return sa.Column("update_id", sa.Integer, sa.ForeignKey("updates.id"), primary_key=True)


def _place(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, primary_key=True, autoincrement=False)


def _updates() -> None:
    op.create_table(
        "updates",
        sa.Column("id", sa.Integer, primary_key=True),
        _number("revision"),
        _text("state"),
        _text("source_name"),
        _text("source_version"),
        _text("source_architectures"),
        _flag("source_builds_all"),
        _flag("source_builds_any"),
        _flag("source_has_tests"),
        _text("source_origin"),
        _text("source_signed_by"),
        _text("suite"),
        _text("recipe"),
        _text("recipe_sha256"),
        _text("urgency"),
        _text("submitter"),
        _number("approvals_needed"),
        _moment("created_at"),
        _moment("changed_at"),
        _moment("uploaded_at", nullable=True),
        _text("reason"),
        _text("blame", nullable=True),
        sqlite_autoincrement=True,
    )
    op.create_index("updates_by_state", "updates", ["state"])


def _files() -> None:
    op.create_table(
        "files",
        _owner(),
        _text("role", primary_key=True),
        _place("position"),
        _text("name"),
        _text("sha256"),
        sa.Column("size", sa.BigInteger, nullable=False),
    )


def _jobs() -> None:
    op.create_table(
        "jobs",
        _owner(),
        _text("kind", primary_key=True),
        _text("arch", primary_key=True),
        _number("position"),
        _text("state"),
        _number("attempt"),
        _number("farm_faults"),
        _text("worker"),
        _text("tier", nullable=True),
        _moment("lease_expires_at", nullable=True),
        _moment("queued_at", nullable=True),
        _moment("started_at", nullable=True),
        _moment("ended_at", nullable=True),
        _text("reason"),
        _flag("cancel"),
        _text("report", nullable=True),
        _text("tests"),
    )
    op.create_index("jobs_by_state", "jobs", ["state"])


def _approvals() -> None:
    op.create_table(
        "approvals",
        _owner(),
        _place("position"),
        _text("person"),
        _text("fingerprint"),
        _text("digest"),
        _text("signature"),
        _moment("at"),
        sa.UniqueConstraint("update_id", "person", name="approvals_one_per_person"),
    )


def _history() -> None:
    op.create_table(
        "history",
        _owner(),
        _place("sequence"),
        _moment("at"),
        _text("state"),
        _text("event"),
        _text("detail"),
        _text("digest"),
    )


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("update_id", sa.Integer, sa.ForeignKey("updates.id"), nullable=False),
        _text("name"),
        _text("instruction"),
        _moment("due_at"),
        _number("tries"),
        _text("last_error"),
        _flag("done"),
        sqlite_autoincrement=True,
    )
    op.create_index("outbox_by_time", "outbox", ["done", "due_at"])


def _workers_and_tokens() -> None:
    op.create_table(
        "workers",
        _text("name", primary_key=True),
        _text("tiers"),
        _number("slots"),
        _moment("last_seen_at"),
    )
    op.create_table(
        "tokens",
        _text("name", primary_key=True),
        _text("role", primary_key=True),
        _text("sha256"),
        sa.UniqueConstraint("sha256", name="tokens_one_bearer"),
    )
