# SPDX-License-Identifier: GPL-3.0-or-later
"""`patchfarm approve`: shows what would ship, then signs exactly that with the person's own key and hands it in."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from coordinator.cli import view
from coordinator.cli.plain import printable
from coordinator.cli.session import Json, Number, Session, session
from coordinator.errors import IllegalMove, PatchfarmError
from coordinator.model import Update


def approve(
    context: typer.Context,
    number: Number,
    key: Annotated[
        str | None, typer.Option(metavar="KEYID", help="The key to sign with; gpg's default unless given.")
    ] = None,
    gnupg_home: Annotated[Path | None, typer.Option(metavar="DIR", help="The folder of gpg's keys.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask on a terminal.")] = False,
    json: Json = False,
) -> None:
    """Approve an update: sign the digests of everything that would ship."""
    here = session(context)
    update, text = _what_would_ship(here, number)
    here.err.print(view.facts(update))
    here.err.print(view.jobs(update, update.changed_at))
    here.err.print(view.tests(update) or "")
    here.err.print(printable(text), soft_wrap=True)
    if not yes and sys.stdin.isatty() and sys.stderr.isatty():
        typer.confirm("Approve exactly this?", abort=True, err=True)
    after = here.farm.approve(number, here.sign(text, key, gnupg_home))
    if json:
        here.json(Update, after)
    else:
        here.out.print(view.updates([after]))


def _what_would_ship(here: Session, number: int) -> tuple[Update, str]:
    """The update and the text to sign, which must be the text that the shown facts make."""
    update = here.farm.update(number)
    if not update.approvable:
        raise IllegalMove(f"update {number} is {update.state}: there is nothing to approve now")
    text = here.farm.digests(number)
    if text != update.digest_set():
        raise PatchfarmError(
            f"the text to sign for update {number} is not what its facts make", "Sign nothing; ask who runs the farm."
        )
    return update, text
