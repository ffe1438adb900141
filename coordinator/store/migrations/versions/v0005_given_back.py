# SPDX-License-Identifier: GPL-3.0-or-later
"""How often a job was given back, how often it missed anything, and which files an attempt has brought. Frozen."""

from functools import partial

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_key = partial(sa.Column, primary_key=True, nullable=False)


def upgrade() -> None:
    """What attempts that are under way have brought so far they bring once more."""
    for name in ("misses", "given_back"):
        op.add_column("jobs", sa.Column(name, sa.Integer, nullable=False, server_default="0"))
    op.create_table(
        "arrivals",
        sa.Column("update_id", sa.Integer, sa.ForeignKey("updates.id"), primary_key=True),
        _key("kind", sa.Text),
        _key("arch", sa.Text),
        _key("attempt", sa.Integer, autoincrement=False),
        _key("sha256", sa.Text),
        sa.Column("size", sa.BigInteger, nullable=False),
    )
