# SPDX-License-Identifier: GPL-3.0-or-later
"""Who works for the farm and who bears which token, inside a transaction that the caller opened.

What a worker says of itself and what the operator decided about it are kept apart: neither can write over the other.
"""

from datetime import datetime

import sqlalchemy as sa

from coordinator.duty import Held
from coordinator.errors import NotAllowed, UnknownName
from coordinator.model import Clearance, JobState, Role, Worker
from coordinator.store import rows
from coordinator.store.put import put
from coordinator.store.tables import admissions, jobs, tokens, workers
from workers.wire.report import Offer


def seen(connection: sa.Connection, offer: Offer, at: datetime) -> None:
    """A worker gave a sign of life. Raises NotAllowed for one that has no token: it was dismissed a moment ago."""
    its = sa.select(tokens.c.sha256).where(tokens.c.name == offer.worker, tokens.c.role == Role.WORKER)
    # Whoever dismisses it now waits until it is seen, and forgets that too.
    if connection.execute(its.with_for_update(read=True)).first() is None:
        raise NotAllowed(f"the worker {offer.worker} was dismissed", "`patchfarm worker add` admits it again.")
    put(connection, workers, rows.of_offer(offer, at))


def admit(connection: sa.Connection, name: str, trust_domain: str | None, clearance: Clearance | None) -> None:
    """The operator's word on it; what is None stays, and whether it drains."""
    decided: rows.Values = {"trust_domain": trust_domain, "clearance": clearance, "draining": None}
    said = {column: value for column, value in decided.items() if value is not None}
    kept = [column for column in decided if column not in said]
    put(connection, admissions, {"name": name} | _undecided(name) | said, kept)


def drain(connection: sa.Connection, name: str, draining: bool) -> None:
    """Raises UnknownName for one neither seen nor admitted."""
    _check_known(connection, name)
    decided: rows.Values = {"draining": draining}
    put(connection, admissions, {"name": name} | _undecided(name) | decided, ("trust_domain", "clearance"))


def dismiss(connection: sa.Connection, name: str) -> None:
    """Forget it and its token. Raises UnknownName."""
    _check_known(connection, name)
    # The token first: see `seen`.
    connection.execute(sa.delete(tokens).where(tokens.c.name == name, tokens.c.role == Role.WORKER))
    for table in (workers, admissions):
        connection.execute(sa.delete(table).where(table.c.name == name))


def known(connection: sa.Connection) -> list[Worker]:
    """Every worker ever seen, by name."""
    decided = admissions.c
    query = sa.select(workers, decided.trust_domain, decided.clearance, decided.draining).outerjoin(
        admissions, decided.name == workers.c.name
    )
    found = map(rows.to_worker, connection.execute(query).mappings())
    return sorted(found, key=lambda worker: worker.name)  # databases sort by locale


def held(connection: sa.Connection) -> list[Held]:
    """Every attempt that a worker has, the oldest first."""
    job = jobs.c
    query = (
        sa.select(job.worker, job.update_id, job.kind, job.arch, job.attempt, job.started_at)
        .where(job.state == JobState.LEASED)
        .order_by(job.started_at, job.update_id, job.position)
    )
    return [rows.to_held(row) for row in connection.execute(query).mappings()]


def grant(connection: sa.Connection, name: str, role: Role, token_sha256: str) -> None:
    """Replaces that name's token of the role, and this token's name."""
    connection.execute(sa.delete(tokens).where(tokens.c.sha256 == token_sha256))
    put(connection, tokens, {"name": name, "role": role, "sha256": token_sha256})


def bearer(connection: sa.Connection, token_sha256: str) -> tuple[str, Role] | None:
    """Who bears that token."""
    query = sa.select(tokens.c.name, tokens.c.role).where(tokens.c.sha256 == token_sha256)
    found = connection.execute(query).first()
    return None if found is None else (found.name, found.role)


def _undecided(name: str) -> rows.Values:
    """What counts until the operator says something else: least is what can be given by mistake."""
    return {"trust_domain": name, "clearance": Clearance.PUBLIC, "draining": False}


def _check_known(connection: sa.Connection, name: str) -> None:
    queries = [sa.select(table.c.name).where(table.c.name == name) for table in (workers, admissions)]
    if connection.execute(sa.union(*queries)).first() is None:
        raise UnknownName(f"there is no worker {name[:80]!r}", "`patchfarm worker list` shows those that there are.")
