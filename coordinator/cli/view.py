# SPDX-License-Identifier: GPL-3.0-or-later
"""How facts look on a terminal. Everything that comes from a package, a worker or a server goes through `cell`."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from coordinator.buildd import Word, word
from coordinator.cli.plain import cell
from coordinator.model import (
    File,
    HistoryEntry,
    Job,
    Suite,
    Update,
    UpdateState,
    Verdict,
    Waiting,
)
from workers.wire.order import JobKind

_GOOD, _BAD, _BUSY, _DIM = "green", "red", "yellow", "dim"
_WORDS = {
    Word.BUILT: _GOOD,
    Word.TESTED: _GOOD,
    Word.UPLOADED: _GOOD,
    Word.INSTALLED: _GOOD,
    Word.BUILDING: _BUSY,
    Word.TESTING: _BUSY,
    Word.FAILED: _BAD,
    Word.BUILD_ATTEMPTED: _BAD,
    Word.TEST_ATTEMPTED: _BAD,
    Word.BD_UNINSTALLABLE: _BAD,
}
_STATES = {
    UpdateState.PUBLISHED: _GOOD,
    UpdateState.AWAITING_APPROVAL: _BUSY,
    UpdateState.REJECTED: _BAD,
    UpdateState.FAILED: _BAD,
    UpdateState.WITHDRAWN: _DIM,
}
_VERDICTS = {Verdict.PASS: _GOOD, Verdict.FAIL: _BAD, Verdict.BROKEN: _BAD, Verdict.FLAKY: _BUSY}


def duration(span: timedelta) -> str:
    """`0:03`, `12:40`, `1:02:03`; never negative, whatever two clocks say."""
    seconds = max(0, int(span.total_seconds()))
    minutes, hours = seconds // 60, seconds // 3600
    return f"{hours}:{minutes % 60:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}"


def moment(at: datetime) -> str:
    """A time, in UTC."""
    return f"{at:%Y-%m-%d %H:%M:%S}"


def elapsed(job: Job, now: datetime) -> str:
    """How long the current or last attempt took; empty before the first."""
    return "" if job.started_at is None else duration((job.ended_at or now) - job.started_at)


def state(update: Update) -> Text:
    """An update's state in its colour."""
    return cell(update.state, _STATES.get(update.state, ""))


def updates(found: Sequence[Update]) -> Table:
    """The list of updates."""
    table = headed("N", "source", "version", "suite", "state", "changed (UTC)", "reason")
    for update in found:
        source = update.source
        table.add_row(
            cell(update.id),
            cell(source.name),
            cell(source.version),
            cell(update.suite),
            state(update),
            cell(moment(update.changed_at)),
            cell(update.reason),
        )
    return table


def one(update: Update, history: Sequence[HistoryEntry], waiting: Sequence[Waiting], now: datetime) -> Group:
    """All there is to know of an update."""
    parts: list[RenderableType] = [facts(update)]
    parts += _section("Jobs", jobs(update, now) if update.jobs else None)
    parts += _section("Tests", tests(update))
    parts += _section("Approvals", approvals(update))
    parts += _section("Waits for", waits(waiting))
    parts += _section("Source (sha256)", files(update.source.files))
    parts += _section("Built (sha256)", files(update.built_files()))
    parts += _section("Signed (sha256)", files(update.signed))
    parts += _section("History (UTC)", entries(history))
    return Group(*parts)


def facts(update: Update) -> Table:
    """The update's own facts, one a line."""
    source = update.source
    rows = (
        ("update", cell(update.id)),
        ("source", cell(f"{source.name} {source.version}")),
        ("suite", cell(f"{update.suite} (recipe {update.recipe})")),
        ("state", state(update)),
        ("urgency", cell(update.urgency)),
        ("submitter", cell(update.submitter)),
        ("origin", cell(f"{source.origin}, signed by {source.signed_by}" if source.signed_by else source.origin)),
        ("approvals", cell(f"{len(update.valid_approvals())} of {update.approvals_needed}")),
        ("reason", cell(update.reason)),
        ("fault", cell(update.blame or "")),
    )
    table = Table.grid(padding=(0, 2))
    for name, value in rows:
        if value.plain:
            table.add_row(cell(name, _DIM), value)
    return table


def jobs(update: Update, now: datetime) -> Table:
    """Every job, in the words of buildd."""
    table = headed("job", "architecture", "state", "tier", "worker", "attempt", "time", "reason")
    for job in update.jobs:
        table.add_row(
            cell(job.kind),
            cell(job.arch),
            job_word(update, job),
            cell(job.tier or ""),
            cell(job.worker),
            cell(job.attempt),
            cell(elapsed(job, now)),
            cell(_and_left_out(job)),
        )
    return table


def job_word(update: Update, job: Job) -> Text:
    """A job's state in its colour."""
    said = word(update, job)
    return cell(said, _WORDS.get(said, ""))


def tests(update: Update) -> Table | None:
    """Every test's verdict on every architecture; nothing where there is none."""
    table = headed("architecture", "test", "verdict", "detail")
    for job in update.of_kind(JobKind.TEST):
        for test in job.tests:
            verdict = cell(test.verdict, _VERDICTS.get(test.verdict, ""))
            table.add_row(cell(job.arch), cell(test.name), verdict, cell(test.detail))
    return table if table.row_count else None


def approvals(update: Update) -> Table | None:
    """Who approved; an approval of what the update no longer is does not count, and is marked."""
    valid = update.valid_approvals()
    table = headed("person", "key", "at (UTC)", "")
    for approval in update.approvals:
        void = "" if approval in valid else "void: the files have changed"
        table.add_row(cell(approval.person), cell(approval.fingerprint), cell(moment(approval.at)), cell(void, _BAD))
    return table if table.row_count else None


def files(listed: Iterable[File]) -> Text | None:
    """As sha256sum prints them, and their sizes, uncut."""
    lines = [cell(f"{file.sha256}  {file.name}  ({file.size} bytes)") for file in listed]
    return Text("\n", no_wrap=True, overflow="ignore").join(lines) if lines else None


def waits(waiting: Sequence[Waiting]) -> Table | None:
    """What was tried and did not succeed yet, and when it is tried again."""
    table = headed("step", "tries", "again at (UTC)", "because")
    for each in waiting:
        if each.tries or each.last_error:
            table.add_row(cell(each.instruction), cell(each.tries), cell(moment(each.due_at)), cell(each.last_error))
    return table if table.row_count else None


def entries(history: Sequence[HistoryEntry]) -> Table | None:
    """What happened, oldest first."""
    table = headed("", "at", "state", "event", "detail")
    for entry in history:
        table.add_row(
            cell(entry.sequence), cell(moment(entry.at)), cell(entry.state), cell(entry.event), cell(entry.detail)
        )
    return table if table.row_count else None


def suites(known: Sequence[Suite]) -> Table:
    """What the farm has recipes for."""
    table = headed("suite", "architectures", "all on", "approvals", "urgency", "recipe")
    for suite in known:
        table.add_row(
            cell(suite.name),
            cell(" ".join(suite.architectures)),
            cell(suite.all_on),
            cell(suite.approvals_needed),
            cell(suite.urgency),
            cell(suite.recipe),
        )
    return table


def _and_left_out(job: Job) -> str:
    # What was wrong with each index is in the job's log and in --json.
    left_out = [said.partition(":")[0] for said in job.report.left_out] if job.report else []
    return f"{job.reason} (without {', '.join(left_out)})".strip() if left_out else job.reason


def headed(*columns: str) -> Table:
    """A table with these columns, without lines."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _section(title: str, content: RenderableType | None) -> list[RenderableType]:
    return [] if content is None else [Text(""), Text(title, style="bold"), content]
