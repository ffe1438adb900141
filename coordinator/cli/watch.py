# SPDX-License-Identifier: GPL-3.0-or-later
"""`patchfarm watch`: follows an update until it gets somewhere; a display on a terminal, a line a change elsewhere."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from coordinator.buildd import word
from coordinator.cli import view
from coordinator.cli.patience import patiently
from coordinator.cli.plain import cell
from coordinator.cli.session import Json, Number, Session, session
from coordinator.cli.spans import Span, spans
from coordinator.errors import BadSource, Blame, IllegalMove, PackageFailed, PatchfarmError, SignerRefused, UploadFailed
from coordinator.model import ENDED, Job, JobState, Update, UpdateState, Waiting
from workers.wire.order import JobKind

#: How often the farm is asked, in seconds.
_EVERY = 1.0
_WAY = tuple(UpdateState)

Until = Annotated[UpdateState, typer.Option(help="Stop with exit code 0 once the update has come so far.")]


def watch(context: typer.Context, number: Number, until: Until = UpdateState.PUBLISHED, json: Json = False) -> None:
    """Watch an update until it is published, or has come as far as --until says.

    Exit code 0 when it has; 20 when the package failed, 10 when it was rejected, 16 when it was withdrawn or cancelled;
    34 when the signer refused, 35 when the upload failed, 1 when the farm failed otherwise.
    """
    here = session(context)
    end = follow(here, number, until, aside=json)
    if json:
        here.json(Update, end)


def follow(
    here: Session,
    number: int,
    until: UpdateState,
    aside: bool = False,
    meanwhile: Callable[[Update], None] = lambda _update: None,
) -> Update:
    """Show the update until it is there, on stderr if `aside`; raises what says why it will not get there.

    `meanwhile` is called with every look at it.
    """
    console = here.err if aside else here.out
    states = _states(here, number, until, meanwhile)
    shown = (_live if console.is_terminal else _lines)(here, console, states)
    if not reached(shown.state, until):
        raise why_not(shown, until)
    return shown


def reached(state: UpdateState, until: UpdateState) -> bool:
    """Whether an update in that state has come as far as `until`."""
    if state == until:
        return True
    off_the_way = ENDED - {UpdateState.PUBLISHED}
    return state not in off_the_way and until not in off_the_way and _WAY.index(state) > _WAY.index(until)


def why_not(update: Update, until: UpdateState) -> PatchfarmError:
    """The error that says why an ended update will never be what was waited for."""
    said = f"update {update.id} is {update.state}, and not {until}: {update.reason}".removesuffix(": ")
    if update.state in (UpdateState.WITHDRAWN, UpdateState.PUBLISHED):
        return IllegalMove(said)
    if update.blame == Blame.PACKAGE:
        return PackageFailed(said, _advice(update))
    if update.state == UpdateState.REJECTED and update.blame == Blame.SUBMITTER:
        return BadSource(said)
    if update.blame == Blame.SUBMITTER:
        return IllegalMove(said, f"`patchfarm retry {update.id}` goes on with it.")
    return _farms_fault(update)(
        said, f"`patchfarm show {update.id}` tells more; `patchfarm retry {update.id}` goes on."
    )


def _farms_fault(update: Update) -> type[PatchfarmError]:
    """By how far it had come: what is signed fell out at the upload, what is only built at the signer."""
    if update.signed:
        return UploadFailed
    built = update.jobs and all(job.state == JobState.SUCCEEDED for job in update.jobs)
    return SignerRefused if built else PatchfarmError


def _advice(update: Update) -> str:
    bad = next((job for job in update.jobs if job.report is not None and job.state != JobState.SUCCEEDED), None)
    if bad is None:
        return PackageFailed.advice
    option = " --test" if bad.kind == JobKind.TEST else ""
    return (
        f"`patchfarm log {update.id} {bad.arch}{option}` shows what it printed. Submit a corrected source with a "
        f"higher version; or `patchfarm retry {update.id}`, if it was chance."
    )


def _states(here: Session, number: int, until: UpdateState, meanwhile: Callable[[Update], None]) -> Iterator[Update]:
    """The update again and again, until it has ended or is where it should be."""
    while True:
        update = patiently(here, here.farm.update, number)
        yield update
        if update.state in ENDED or reached(update.state, until):
            return
        meanwhile(update)
        here.sleep(_EVERY)


def _live(here: Session, console: Console, states: Iterator[Update]) -> Update:
    with ExitStack() as stack:
        live: Live | None = None
        for update in states:
            history = patiently(here, here.farm.history, update.id)
            waiting = patiently(here, here.farm.waiting, update.id)
            if live is None:
                live = stack.enter_context(Live(console=console, auto_refresh=False))
            live.update(display(update, spans(history), waiting, datetime.now(UTC)), refresh=True)
    return update


def _lines(_here: Session, console: Console, states: Iterator[Update]) -> Update:
    before: dict[str, str] = {}
    for update in states:
        now = facts(update)
        for name, said in now.items():
            if before.get(name) != said:
                console.print(cell(f"{view.moment(datetime.now(UTC))} {name}: {said}"), soft_wrap=True)
        before = now
    return update


def facts(update: Update) -> dict[str, str]:
    """What can change, by what it is about: every job, then the steps that follow, then the update itself."""
    said = {f"{job.kind} {job.arch}": _job(update, job) for job in update.jobs}
    said.update(steps(update))
    said["update"] = f"{update.state} {update.reason}".strip()
    return said


def _job(update: Update, job: Job) -> str:
    by = f" ({job.worker}, {job.tier})" if job.worker and not job.ended else ""
    return f"{word(update, job)}{by} {job.reason}".strip()


def steps(update: Update) -> dict[str, str]:
    """What follows the jobs, in a few words each; only what has begun."""
    said = {}
    if update.approvals or update.state == UpdateState.AWAITING_APPROVAL:
        said["approve"] = f"{len(update.valid_approvals())} of {update.approvals_needed}"
    if update.signed:
        said["sign"] = f"{len(update.signed)} files"
    elif update.state == UpdateState.SIGNING:
        said["sign"] = "the signer is asked"
    if update.state == UpdateState.PUBLISHED:
        said["publish"] = "the archive shows it"
    elif update.state == UpdateState.PUBLISHING:
        said["publish"] = "uploaded; the archive does not show it yet" if update.uploaded_at else "uploading"
    return said


def display(update: Update, took: Mapping[str, Span], waiting: Sequence[Waiting], now: datetime) -> Group:
    """The update as a terminal shows it while it changes: a line for each architecture and stage, and why it waits."""
    source = update.source
    head = cell(f"update {update.id}  {source.name} {source.version}  {update.suite}  ", "bold")
    rows = Table.grid(padding=(0, 2))
    for job in update.jobs:
        by = cell(f"{job.worker} {job.tier or ''}".strip(), "dim")
        rows.add_row(
            cell(job.kind),
            cell(job.arch),
            view.job_word(update, job),
            cell(view.elapsed(job, now)),
            by,
            cell(job.reason),
        )
    for name, said in steps(update).items():
        time = view.duration(took[name].length(now)) if name in took else ""
        rows.add_row(cell(name), cell(""), cell(said), cell(time))
    return Group(head.append_text(view.state(update)), rows, _last(update, waiting))


def _last(update: Update, waiting: Sequence[Waiting]) -> Text:
    """What a person should know now: the newest trouble, else what is for them to do."""
    trouble = next((each for each in reversed(waiting) if each.last_error), None)
    if trouble is not None:
        return cell(f"{trouble.instruction} waits, after {trouble.tries} tries: {trouble.last_error}", "dim")
    if update.state == UpdateState.AWAITING_APPROVAL:
        return cell(f"next: `patchfarm approve {update.id}`", "dim")
    return cell(update.reason)
