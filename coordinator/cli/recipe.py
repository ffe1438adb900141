# SPDX-License-Identifier: GPL-3.0-or-later
"""`patchfarm recipes`: the suites that the farm makes updates for."""

import typer

from coordinator.cli import view
from coordinator.cli.session import Json, session
from coordinator.model import Suite


def recipes(context: typer.Context, json: Json = False) -> None:
    """List the suites that there is a recipe for, and their architectures."""
    here = session(context)
    suites = here.farm.suites()
    if json:
        here.json(list[Suite], suites)
    else:
        here.out.print(view.suites(suites))
