# SPDX-License-Identifier: GPL-3.0-or-later
"""`patchfarm up`, `down` and `status`: the embedded farm of this machine, and whether its processes run."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from coordinator import config, embedded
from coordinator.cli import view
from coordinator.cli.plain import cell
from coordinator.cli.session import Json, Session, session
from coordinator.embedded import ServiceRow, ServiceState

Foreground = Annotated[bool, typer.Option("--foreground", help="Stay, and stop the farm when interrupted.")]


def up(context: typer.Context, foreground: Foreground = False) -> None:
    """Start the farm of this machine, and wait until it can work; it stays until `patchfarm down`."""
    here = session(context)
    home = config.load().paths
    settings = embedded.up(home)
    here.note(f"The farm {settings.farm} in {home.root} is up:")
    here.out.print(settings.url)
    if foreground:
        embedded.stay(home)


def down(context: typer.Context) -> None:
    """Stop the farm of this machine; what it has not finished it goes on with when it is up again."""
    home = config.load().paths
    stopped = embedded.down(home)
    session(context).note(f"The farm in {home.root} is down." if stopped else f"No farm was up in {home.root}.")


def status(context: typer.Context, json: Json = False) -> None:
    """Show the processes of the farm of this machine; exit code 1 if one does not run or none is up."""
    here = session(context)
    home = config.load().paths
    rows = embedded.status(home)
    if json:
        here.json(list[ServiceRow], rows)
    elif rows:
        _show(here, rows)
    else:
        here.note(f"No farm is up in {home.root}.")
    if not rows or any(row.state != ServiceState.RUNNING for row in rows):
        raise typer.Exit(1)


def _show(here: Session, rows: list[ServiceRow]) -> None:
    table = view.headed("service", "state", "process", "up for", "log")
    now = datetime.now(UTC)
    for row in rows:
        since = str(now - row.since).split(".", 1)[0] if row.since else ""
        style = "green" if row.state == ServiceState.RUNNING else "bold red"
        table.add_row(cell(row.name), cell(row.state, style), cell(row.pid or ""), cell(since), cell(row.log))
    here.out.print(table)
