# SPDX-License-Identifier: GPL-3.0-or-later
"""The model to rows and back. Pure: what differs is found here, what is written is the store's business."""

from collections.abc import Iterable
from dataclasses import fields
from datetime import datetime
from typing import Any, get_args

from sqlalchemy import RowMapping as Row

from coordinator.duty import Held
from coordinator.errors import PatchfarmError
from coordinator.events import Instruction
from coordinator.expectations import own_seconds
from coordinator.model import Approval, Clearance, File, HistoryEntry, Job, OpenJob, Past, Source, Update, Worker
from workers.wire import codec
from workers.wire.order import JobKey
from workers.wire.report import Offer

Values = dict[str, object]

#: Kept in tables of their own, or given by the store.
_ELSEWHERE = {"id", "revision", "source", "jobs", "approvals", "signed"}
_INSTRUCTIONS: dict[str, type[Instruction]] = {kind.__name__: kind for kind in get_args(Instruction)}


def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


_UPDATE = tuple(name for name in _names(Update) if name not in _ELSEWHERE)
_SOURCE = tuple(name for name in _names(Source) if name != "files")
_JOB, _FILE, _APPROVAL = _names(Job), _names(File), _names(Approval)
_HISTORY = _names(HistoryEntry)
_OFFER = tuple(name for name in _names(Offer) if name not in ("worker", "version"))


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


def of_offer(offer: Offer, at: datetime) -> Values:
    """The row in `workers`."""
    said: Values = {name: getattr(offer, name) for name in _OFFER}
    return {"name": offer.worker, "last_seen_at": at} | said


def to_worker(row: Row) -> Worker:
    """One worker, from its row and the one of its admission, which may be empty."""
    known = {name: row[name] for name in ("name", "last_seen_at", *_OFFER)}
    if row["trust_domain"] is None:
        return Worker(**known, trust_domain=row["name"], clearance=Clearance.PUBLIC, draining=False)
    return Worker(**known, **_only(row, ("trust_domain", "clearance", "draining")))


def to_held(row: Row) -> Held:
    """One attempt that a worker has, from a job's row."""
    key = JobKey(row["update_id"], row["kind"], row["arch"])
    return Held(row["worker"], key, row["attempt"], row["started_at"])


def to_open_job(row: Row) -> OpenJob:
    """A job and its update, from a row that has neither report nor tests."""
    job = Job(**_only(row, (name for name in _JOB if name not in ("report", "tests"))))
    update = _only(row, ("urgency", "recipe", "recipe_sha256"))
    return OpenJob(update=row["update_id"], source=row["source_name"], origin=row["source_origin"], job=job, **update)


def to_past(row: Row) -> Past:
    """How a job that was reported went."""
    seconds = own_seconds(row["report"], row["ended_at"] - row["started_at"])
    used = row["report"].usage
    what = _only(row, ("kind", "arch", "tier"))
    return Past(
        row["source_name"], **what, seconds=seconds, cpu_seconds=used.cpu_seconds, memory_bytes=used.memory_bytes
    )


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
