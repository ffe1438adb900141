# SPDX-License-Identifier: GPL-3.0-or-later
"""How often in a row a job missed the same dependencies. Frozen."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Those that there are never waited for any."""
    op.add_column("jobs", sa.Column("dep_waits", sa.Integer, nullable=False, server_default="0"))
