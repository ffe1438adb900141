# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands about updates that ask once and print the answer: list, show, history, retry, cancel, withdraw."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from coordinator.cli import view
from coordinator.cli.session import Json, Number, session
from coordinator.errors import PatchfarmError
from coordinator.model import HistoryEntry, Update, UpdateState
from coordinator.store.chain import first_break

State = Annotated[list[UpdateState] | None, typer.Option("--state", help="Only those in this state; may be repeated.")]


def newest(
    context: typer.Context,
    state: State = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 30,
    json: Json = False,
) -> None:
    """List the updates, the newest first."""
    here = session(context)
    found = here.farm.updates(state or (), limit)
    if json:
        here.json(list[Update], found)
    elif found:
        here.out.print(view.updates(found))
    else:
        here.note("There are no such updates.")


def show(context: typer.Context, number: Number, json: Json = False) -> None:
    """Show all there is to know of an update."""
    here = session(context)
    update = here.farm.update(number)
    if json:
        here.json(Update, update)
    else:
        history, waiting = here.farm.history(number), here.farm.waiting(number)
        here.out.print(view.one(update, history, waiting, datetime.now(UTC)), soft_wrap=False)


def history(context: typer.Context, number: Number, json: Json = False) -> None:
    """Show what happened to an update, and check that its chain of digests is whole; exit code 1 if it is not.

    The chain has no key: it shows accidents, and changes by whoever did not compute it anew.
    """
    here = session(context)
    update = here.farm.update(number)
    entries = here.farm.history(number)
    if json:
        here.json(list[HistoryEntry], entries)
    else:
        here.out.print(view.entries(entries) or "")
    broken = first_break(number, entries, update.revision)
    if broken is not None:
        raise PatchfarmError(
            f"the history of update {number} is not what it was: its chain breaks at entry {broken}",
            "Do not trust this farm's database until you know who changed it; compare with a backup.",
        )
    here.note(f"The chain of {len(entries)} entries is whole; its last digest is {entries[-1].digest}.")


def retry(context: typer.Context, number: Number, json: Json = False) -> None:
    """Do again what did not succeed, and only that."""
    _tell(context, session(context).farm.retry(number), json)


def cancel(context: typer.Context, number: Number, json: Json = False) -> None:
    """Stop the work on an update; it can be retried."""
    _tell(context, session(context).farm.cancel(number), json)


def withdraw(
    context: typer.Context,
    number: Number,
    why: Annotated[str, typer.Option(help="The reason, for the history.")] = "",
    json: Json = False,
) -> None:
    """Take an update back, for good."""
    _tell(context, session(context).farm.withdraw(number, why), json)


def _tell(context: typer.Context, update: Update, json: bool) -> None:
    here = session(context)
    if json:
        here.json(Update, update)
    else:
        here.out.print(view.updates([update]))
