# SPDX-License-Identifier: GPL-3.0-or-later
"""`patchfarm`: the commands there are, and the one place where an error becomes words and an exit code.

No traceback reaches a user: what nobody foresaw is written to a file that the message names.
"""

import sys
import tempfile
import tomllib
import traceback
from collections.abc import Sequence
from typing import Any

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError
from typer.main import get_command

from coordinator.cli import (
    approve,
    approver,
    compare,
    demo,
    doctor,
    farm,
    fetch,
    log,
    recipe,
    submit,
    update,
    watch,
    worker,
)
from coordinator.cli.session import Session, standard
from coordinator.errors import BadRequest, Blame, NotAllowed, PatchfarmError

#: What a shell says of a program that was interrupted.
INTERRUPTED = 130

#: How a setting that is wrong shows: nobody else leaves these to the process's edge.
_SETTINGS = (ValidationError, SettingsError, tomllib.TOMLDecodeError)

_FAULT = {
    Blame.SUBMITTER: "whoever gave the command",
    Blame.PACKAGE: "the package",
    Blame.FARM: "the farm",
}

app = typer.Typer(
    name="patchfarm",
    help="Builds, tests, signs and publishes security updates on every architecture.",
    epilog=(
        "Exit codes: 0 done; 2 wrong usage; 10-13, 15, 16 the request; 20 the package; 1, 14, 17, 30-38 the farm; "
        "130 stopped."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def _root() -> None:
    """Builds, tests, signs and publishes security updates on every architecture."""


app.command()(demo.demo)
app.command()(farm.up)
app.command()(farm.down)
app.command()(farm.status)
app.command()(doctor.doctor)
app.command()(submit.submit)
app.command("list")(update.newest)
app.command()(update.show)
app.command()(watch.watch)
app.command()(log.log)
app.command()(approve.approve)
app.command()(fetch.fetch)
app.command()(compare.compare)
app.command()(update.retry)
app.command()(update.cancel)
app.command()(update.withdraw)
app.command()(update.history)
app.command()(recipe.recipes)
app.add_typer(worker.app, name="worker")
app.add_typer(approver.approvers, name="approver")
app.add_typer(approver.submitters, name="submitter")


def run(arguments: Sequence[str], session: Session) -> int:
    """Run one command line; answers its exit code."""
    try:
        code = get_command(app).main(args=list(arguments), prog_name="patchfarm", standalone_mode=False, obj=session)
    except PatchfarmError as error:
        return _tell(session, error)
    except typer.TyperException as error:
        return _tell(session, _usage(error))
    except _SETTINGS as error:
        return _tell(session, _setting(error))
    except PermissionError as error:
        return _tell(session, NotAllowed(f"{error.filename}: {error.strerror}", "Use the account that runs the farm."))
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  # the process's edge: a user gets words, the traceback goes to a file
        return _tell(session, _unforeseen(error))
    return code if isinstance(code, int) else 0


def _tell(session: Session, error: PatchfarmError) -> int:
    for line in (f"error: {error.message}", f"fault: {_FAULT[error.blame]}", f"next:  {error.advice}"):
        session.note(line)
    return error.exit_code


def _usage(error: typer.TyperException) -> PatchfarmError:
    context: Any = getattr(error, "ctx", None)
    command = context.command_path if context else "patchfarm"
    return BadRequest(error.format_message(), f"`{command} --help` shows what it takes.")


def _setting(error: ValueError) -> PatchfarmError:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        said = f"the setting {'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    elif isinstance(error, SettingsError):
        said = f"a setting in the environment is not what it should be: {error}"
    else:
        said = f"farm.toml is no TOML: {error}"
    return BadRequest(said, "Correct it in farm.toml or in the environment (PATCHFARM_…).")


def _unforeseen(error: Exception) -> PatchfarmError:
    with tempfile.NamedTemporaryFile("w", prefix="patchfarm-", suffix=".txt", delete=False) as file:
        traceback.print_exception(error, file=file)
    return PatchfarmError(
        f"an unexpected {type(error).__name__}: {error}", f"This is a mistake in patchfarm; report it with {file.name}."
    )


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:], standard()))


if __name__ == "__main__":
    main()
