# SPDX-License-Identifier: GPL-3.0-or-later
"""How workers look on a terminal: in tables that 80 columns hold, so that no word is cut that one reads or types."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from coordinator.cli import view
from coordinator.cli.plain import cell
from coordinator.duty import Duty, Presence
from coordinator.model import Worker
from workers.wire.arch import Tier

_STATES = {Presence.UP: "green", Presence.DRAINING: "yellow", Presence.SILENT: "bold red"}


def roster(duties: Sequence[Duty], now: datetime) -> Group:
    """Every worker, and below them where they are and what they are at."""
    parts: list[RenderableType] = [workers(duties), Text(""), hosts(duties, now)]
    if any(duty.attempts for duty in duties):
        parts += [Text(""), attempts(duties, now)]
    return Group(*parts)


def workers(duties: Iterable[Duty]) -> Table:
    """What each is and whether it takes work."""
    table = view.headed("worker", "architectures", "slots", "cores\nmemory", "trust domain\n  clearance", "state")
    for duty in duties:
        worker = duty.worker
        table.add_row(
            cell(worker.name),
            _lines(*_tiers(worker)),
            cell(f"{len(duty.attempts)}/{worker.slots}"),
            _lines(cell(worker.cores), cell(_size(worker.memory_bytes))),
            _lines(cell(worker.trust_domain), cell(f"  {worker.clearance}", "dim")),
            cell(_state(duty), _STATES[duty.presence]),
        )
    return table


def hosts(duties: Iterable[Duty], now: datetime) -> Table:
    """Where each is, by a name that may be long, and when it gave its last sign of life."""
    table = view.headed("worker", "last heard of", "host")
    for duty in duties:
        worker = duty.worker
        table.add_row(cell(worker.name), cell(f"{view.duration(now - worker.last_seen_at)} ago"), cell(worker.host))
    return table


def attempts(duties: Iterable[Duty], now: datetime) -> Table:
    """What each is at, and for how long."""
    table = view.headed("worker", "attempt", "since (UTC)", "for")
    for duty in duties:
        for held in duty.attempts:
            since, span = view.moment(held.since), view.duration(now - held.since)
            table.add_row(cell(held.worker), cell(f"{held.job} #{held.attempt}"), cell(since), cell(span))
    return table


def _state(duty: Duty) -> str:
    """A silent one may be draining too, and then it was asked to."""
    if duty.presence is Presence.SILENT and duty.worker.draining:
        return f"{Presence.SILENT}, {Presence.DRAINING}"
    return duty.presence


def _tiers(worker: Worker) -> Iterable[Text]:
    """A line for each tier that it has."""
    for tier in Tier:
        own = " ".join(arch for arch, its in worker.tiers.items() if its is tier)
        if own:
            yield cell(f"{own} ({tier})")


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB"


def _lines(*lines: Text) -> Text:
    return Text("\n").join(lines)
