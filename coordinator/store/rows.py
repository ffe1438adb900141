# SPDX-License-Identifier: GPL-3.0-or-later
"""The model to rows and back. Pure: what differs is found here, what is written is the store's business."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any, get_args

from sqlalchemy import RowMapping as Row

from coordinator.errors import PatchfarmError
from coordinator.events import Instruction
from coordinator.model import Approval, File, HistoryEntry, Job, Source, Update, Worker
from workers.wire import codec

Values = dict[str, object]

#: Kept in tables of their own, or given by the store.
_ELSEWHERE = {"id", "revision", "source", "jobs", "approvals", "signed"}
_INSTRUCTIONS: dict[str, type[Instruction]] = {kind.__name__: kind for kind in get_args(Instruction)}


def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


_UPDATE = tuple(name for name in _names(Update) if name not in _ELSEWHERE)
_SOURCE = tuple(name for name in _names(Source) if name != "files")
_JOB, _FILE, _APPROVAL = _names(Job), _names(File), _names(Approval)
_HISTORY, _WORKER = _names(HistoryEntry), _names(Worker)


def of_update(update: Update) -> Values:
    """The row in `updates`, but for id and revision."""
    own: Values = {name: getattr(update, name) for name in _UPDATE}
    return own | {f"source_{name}": getattr(update.source, name) for name in _SOURCE}


def of_files(role: str, files: Iterable[File]) -> list[Values]:
    """Rows of `files`, in order."""
    return [{"role": role, "position": place} | vars(file) for place, file in enumerate(files)]


def of_approvals(approvals: Iterable[Approval]) -> list[Values]:
    """Rows of `approvals`, in order."""
    return [{"position": place} | vars(approval) for place, approval in enumerate(approvals)]


def of_jobs(jobs: Iterable[Job]) -> dict[tuple[str, str], Values]:
    """Rows of `jobs` by kind and architecture; `position` keeps the order of the plan."""
    return {(job.kind, job.arch): {"position": place} | vars(job) for place, job in enumerate(jobs)}


def changes(old: Values, new: Values) -> Values:
    """Only the columns that differ, so that a lease renewed meanwhile is not written over."""
    return {name: value for name, value in new.items() if old[name] != value}


def to_update(row: Row, files: Iterable[Row], jobs: Iterable[Row], approvals: Iterable[Row]) -> Update:
    """An update from its row and those of its parts, which are its own and in order."""
    kept = list(files)
    source = {name: row[f"source_{name}"] for name in _SOURCE}
    return Update(
        id=row["id"],
        revision=row["revision"],
        source=Source(files=_files(kept, "source"), **source),
        jobs=tuple(Job(**_only(job, _JOB)) for job in jobs),
        approvals=tuple(Approval(**_only(approval, _APPROVAL)) for approval in approvals),
        signed=_files(kept, "signed"),
        **_only(row, _UPDATE),
    )


def to_history(row: Row) -> HistoryEntry:
    """One entry."""
    return HistoryEntry(**_only(row, _HISTORY))


def to_worker(row: Row) -> Worker:
    """One worker."""
    return Worker(**_only(row, _WORKER))


def of_instruction(instruction: Instruction) -> Values:
    """Its columns in the outbox."""
    return {"name": type(instruction).__name__, "instruction": codec.encode(instruction)}


def to_instruction(row: Row) -> Instruction:
    """The instruction of an outbox row."""
    kind = _INSTRUCTIONS.get(row["name"])
    if kind is None:
        raise PatchfarmError(f"the outbox holds `{row['name']}`, which this version does not know")
    return codec.decode(kind, row["instruction"])


def _files(rows: Iterable[Row], role: str) -> tuple[File, ...]:
    return tuple(File(**_only(row, _FILE)) for row in rows if row["role"] == role)


def _only(row: Row, names: Iterable[str]) -> dict[str, Any]:
    return {name: row[name] for name in names}
