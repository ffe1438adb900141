# SPDX-License-Identifier: GPL-3.0-or-later
"""What a command works with: the farm's client, made when it is first needed, and where to write."""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter
from rich.console import Console

from coordinator import config
from coordinator.cli.plain import cell
from coordinator.client import Client, connect
from coordinator.config import Settings
from coordinator.errors import FarmDown, NotAllowed
from coordinator.gpg import clearsign

#: How wide tables are where nobody looks at them on a screen.
_WIDTH = 160

Number = Annotated[int, typer.Argument(min=1, metavar="N", help="The update's number.")]
Json = Annotated[bool, typer.Option("--json", help="Print the API's JSON.")]


def _console(stderr: bool) -> Console:
    file = sys.stderr if stderr else sys.stdout
    width = None if file.isatty() else _WIDTH
    return Console(stderr=stderr, width=width, markup=False, highlight=False, emoji=False)


@dataclass(frozen=True)
class Session:
    """One run of the command line; tests make their own."""

    connect: Callable[[], Client]
    sleep: Callable[[float], None] = time.sleep
    sign: Callable[[str, str | None, Path | None], bytes] = clearsign
    out: Console = field(default_factory=lambda: _console(stderr=False))
    err: Console = field(default_factory=lambda: _console(stderr=True))

    @cached_property
    def farm(self) -> Client:
        """The farm; raises FarmDown where none was started and none is named."""
        return self.connect()

    def note(self, message: str) -> None:
        """Tell what is going on, on stderr: on a line, but that a terminal's width breaks it between words."""
        self.err.print(cell(message), soft_wrap=not self.err.is_terminal)

    def json(self, kind: Any, value: object) -> None:
        """A value as the API writes it, in ASCII: a terminal would obey some of the rest. `kind` is its type."""
        text = json.dumps(TypeAdapter(kind).dump_python(value, mode="json"), indent=2)
        self.out.file.write(text.replace("\x7f", "\\u007f") + "\n")


def session(context: typer.Context) -> Session:
    """The session of a command."""
    found: Session = context.obj
    return found


def standard() -> Session:
    """The session of a real command line."""
    return Session(connect=lambda: _connect(config.load()))


def _connect(settings: Settings) -> Client:
    url = settings.url or _local(settings.listen)
    if not url:
        raise FarmDown(f"no farm was started in {settings.home}, and PATCHFARM_URL names none elsewhere")
    return connect(url, _token(settings))


def _local(listen: str) -> str:
    return "" if listen.endswith(":0") else f"http://{listen}"


def _token(settings: Settings) -> str:
    named = os.environ.get("PATCHFARM_TOKEN_FILE")
    path = Path(named) if named else settings.paths.secrets / "me.token"
    try:
        token = path.read_text(errors="replace").strip()
    except FileNotFoundError:
        raise FarmDown(
            f"there is no token in {path}",
            "Start the farm with `patchfarm up`, or name the file with PATCHFARM_TOKEN_FILE.",
        ) from None
    except OSError as error:
        raise NotAllowed(f"{path} cannot be read: {error.strerror}", "Use the account that runs the farm.") from error
    if not token.isascii() or not token.isprintable() or not token:
        raise NotAllowed(f"what is in {path} is no token", "Put the token that you were given there, and nothing else.")
    return token
