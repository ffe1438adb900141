# SPDX-License-Identifier: GPL-3.0-or-later
"""`patchfarm log`: what an attempt printed, while it runs too. To a terminal it goes without what a terminal obeys."""

import codecs
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from coordinator.cli.patience import patiently
from coordinator.cli.plain import printable
from coordinator.cli.session import Number, Session, session
from coordinator.errors import UnknownName
from coordinator.model import Update
from workers.wire.arch import Arch
from workers.wire.order import JobKey, JobKind

#: How long the farm may hold back its answer until there is more, in seconds.
_WAIT = 20

Write = Callable[[bytes], None]


def log(
    context: typer.Context,
    number: Number,
    arch: Annotated[Arch, typer.Argument(help="The architecture.")],
    test: Annotated[bool, typer.Option("--test", help="The test's log, not the build's.")] = False,
    attempt: Annotated[int | None, typer.Option(min=1, help="An earlier attempt, not the last.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the attempt ends.")] = False,
) -> None:
    """Print what a build or test printed."""
    here = session(context)
    key = JobKey(number, JobKind.TEST if test else JobKind.BUILD, arch)
    chosen = attempt or last_attempt(here.farm.update(number), key)
    write = to_terminal if sys.stdout.isatty() else to_file
    copy(here, key, chosen, follow, write())


def last_attempt(update: Update, key: JobKey) -> int:
    """The number of the job's last attempt; raises UnknownName where there is none."""
    job = update.job(key.kind, key.arch)
    if job is None:
        there = ", ".join(job.arch for job in update.of_kind(key.kind)) or "none yet"
        raise UnknownName(
            f"update {update.id} has no {key.kind} on {key.arch}; there is: {there}",
            f"`patchfarm show {update.id}` lists its jobs.",
        )
    if job.attempt == 0:
        raise UnknownName(
            f"the {key.kind} on {key.arch} has not begun", f"`patchfarm watch {update.id}` shows when it does."
        )
    return job.attempt


def copy(here: Session, key: JobKey, attempt: int, follow: bool, write: Write) -> None:
    """Write the log from its beginning to its present end; with `follow`, to where the attempt ends."""
    offset = 0
    while True:
        part = patiently(here, here.farm.log, key, attempt, offset, _WAIT if follow else 0)
        write(part.data)
        offset += len(part.data)
        if not part.data and (part.ended or not follow):
            return


def to_file() -> Write:
    """Writes the bytes as they are."""

    def write(data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    return write


def to_terminal() -> Write:
    """Writes text without anything that a terminal would obey, line by line, so that no sequence comes in two parts."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""

    def write(data: bytes) -> None:
        nonlocal rest
        lines, found, rest = (rest + decoder.decode(data, final=not data)).rpartition("\n")
        sys.stdout.write(printable(lines + found))
        if not data or len(rest) > _LONG:
            sys.stdout.write(printable(rest))
            rest = ""
        sys.stdout.flush()

    return write


#: A line that is longer than this is not waited for.
_LONG = 1 << 16
