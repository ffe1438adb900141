# SPDX-License-Identifier: GPL-3.0-or-later
"""`patchfarm doctor`: what this machine lacks, and what to type. It changes nothing."""

import typer

from coordinator.cli import view
from coordinator.cli.plain import cell
from coordinator.cli.session import Json, Session, session
from coordinator.doctor import Row, State, healthy, rows

_STYLE = {State.FOUND: "green", State.MISSING: "bold red", State.OPTIONAL: "yellow"}


def doctor(context: typer.Context, json_output: Json = False) -> None:
    """Say what a farm on this machine needs, and what to do about what is missing; exit code 1 if it cannot run."""
    here = session(context)
    found = rows()
    if json_output:
        here.json(list[Row], found)
    else:
        _show(here, found)
    if not healthy(found):
        raise typer.Exit(1)


def _show(here: Session, found: list[Row]) -> None:
    table = view.headed("requirement", "state", "seen", "what to do")
    for row in found:
        table.add_row(cell(row.name), cell(row.state, _STYLE[row.state]), cell(row.seen), cell(row.advice))
    here.out.print(table)
