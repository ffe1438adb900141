# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker that nobody decided about may see what is public alone; those of before keep all that they could. Frozen."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Decide for each worker that has a token or signed on, and that nobody decided about, as it counted until now."""
    workers, tokens = (sa.table(name, sa.column("name"), sa.column("role")) for name in ("workers", "tokens"))
    columns = ("name", "trust_domain", "clearance", "draining")
    admissions = sa.table("admissions", *map(sa.column, columns))
    known = sa.union(sa.select(workers.c.name), sa.select(tokens.c.name).where(tokens.c.role == "worker")).subquery()
    undecided = sa.select(known.c.name, known.c.name, sa.literal("embargoed"), sa.false()).where(
        known.c.name.not_in(sa.select(admissions.c.name))
    )
    op.execute(admissions.insert().from_select(columns, undecided))
