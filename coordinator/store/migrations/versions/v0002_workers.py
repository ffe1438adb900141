# SPDX-License-Identifier: GPL-3.0-or-later
"""What workers say of their machines, and what the operator decided about them. Frozen."""

from functools import partial

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_text = partial(sa.Column, type_=sa.Text, nullable=False)


def upgrade() -> None:
    """A worker that is known already is of one core, until its next sign of life says more."""
    for column in (
        _text("host", server_default=""),
        sa.Column("cores", sa.Integer, nullable=False, server_default="1"),
        sa.Column("memory_bytes", sa.BigInteger, nullable=False, server_default="0"),
    ):
        op.add_column("workers", column)
    op.create_table(
        "admissions",
        _text("name", primary_key=True),
        _text("trust_domain"),
        _text("clearance"),
        sa.Column("draining", sa.Boolean, nullable=False),
    )
