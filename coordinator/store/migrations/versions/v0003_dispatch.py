# SPDX-License-Identifier: GPL-3.0-or-later
"""What dispatch has to know of a job: which workers failed it, and by which claim one has it. Frozen."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Of the jobs that there are nobody knows it any more."""
    op.add_column("jobs", sa.Column("failed_on", sa.Text, nullable=False, server_default="[]"))
    op.add_column("jobs", sa.Column("claim", sa.Text, nullable=False, server_default=""))
