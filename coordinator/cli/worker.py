# SPDX-License-Identifier: GPL-3.0-or-later
"""`patchfarm worker`: who works for the farm."""

from datetime import UTC, datetime

import typer

from coordinator.cli import view
from coordinator.cli.session import Json, session
from coordinator.model import Worker

app = typer.Typer(help="Who works for the farm.", no_args_is_help=True)


@app.callback()
def _root() -> None:
    """Who works for the farm."""


@app.command("list")
def every(context: typer.Context, json: Json = False) -> None:
    """List the workers, what they run and when they were last heard of."""
    here = session(context)
    known = here.farm.workers()
    if json:
        here.json(list[Worker], known)
    elif known:
        here.out.print(view.workers(known, datetime.now(UTC)))
    else:
        here.note("No worker has signed on yet.")
