# SPDX-License-Identifier: GPL-3.0-or-later
"""`/updates`: what people ask of an update. Who they are comes from their token, never from the request."""

from typing import Annotated, Self

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator

from coordinator.model import File, HistoryEntry, Update, UpdateState, Urgency, Waiting
from coordinator.web.auth import Farm, Person
from coordinator.web.body import Raw
from coordinator.web.keys import UpdateId

router = APIRouter(prefix="/updates", tags=["updates"])

#: A word of a source package or a version, which the stages look at more closely.
Word = Annotated[str, Field(min_length=1, max_length=200)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Submission(_Body):
    """A source to take: files that are in the blobs already, or one by name from the suite's archive."""

    suite: Word
    files: Annotated[tuple[File, ...], Field(max_length=200)] = ()
    urgency: Urgency | None = None
    archive: Word | None = None
    version: Word | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if bool(self.files) == (self.archive is not None):
            raise ValueError("a submission has either `files` or `archive`")
        if self.archive is None and self.version is not None:
            raise ValueError("`version` goes with `archive`; files say their own")
        if self.archive is not None and self.urgency is not None:
            raise ValueError("`urgency` goes with `files`; a source from the archive has its suite's")
        return self


class Reason(_Body):
    """Why, in a person's words."""

    why: Annotated[str, Field(max_length=2000)] = ""


@router.post("", status_code=201)
def submit(wish: Submission, farm: Farm, who: Person) -> Update:
    """Take a source package; everything about it is checked first."""
    if wish.archive is not None:
        return farm.submit_from_archive(who.name, wish.suite, wish.archive, wish.version)
    return farm.submit(who.name, wish.suite, wish.files, wish.urgency)


@router.get("")
def newest(
    farm: Farm,
    _who: Person,
    state: Annotated[list[UpdateState] | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[Update]:
    """The newest first; those in one of the states, where any is named."""
    return farm.store.updates(state or (), limit)


@router.get("/{update}")
def one(update: UpdateId, farm: Farm, _who: Person) -> Update:
    """All there is to know of it."""
    return farm.store.load(update)


@router.get("/{update}/history")
def history(update: UpdateId, farm: Farm, _who: Person) -> list[HistoryEntry]:
    """What happened to it, oldest first."""
    farm.store.load(update)
    return farm.store.history(update)


@router.get("/{update}/waiting")
def waiting(update: UpdateId, farm: Farm, _who: Person) -> list[Waiting]:
    """What the engine has still to do for it, how often it tried, and why that did not work."""
    farm.store.load(update)
    return farm.store.waiting(update)


@router.get("/{update}/digests", response_class=PlainTextResponse)
def digests(update: UpdateId, farm: Farm, _who: Person) -> str:
    """The exact text that an approver signs."""
    return farm.store.load(update).digest_set()


@router.post("/{update}/approvals", status_code=201)
def approve(_who: Person, update: UpdateId, clearsigned: Raw, farm: Farm) -> Update:
    """The digest set, clearsigned. Who approves is whoever signed it, not whoever sends it."""
    return farm.approve(update, clearsigned)


@router.post("/{update}/retry")
def retry(update: UpdateId, farm: Farm, who: Person) -> Update:
    """Do again what did not succeed, and only that."""
    return farm.retry(update, who.name)


@router.post("/{update}/cancel")
def cancel(update: UpdateId, farm: Farm, who: Person) -> Update:
    """Stop the work; it may be retried."""
    return farm.cancel(update, who.name)


@router.post("/{update}/withdraw")
def withdraw(update: UpdateId, farm: Farm, who: Person, reason: Reason | None = None) -> Update:
    """Take it back, for good."""
    return farm.withdraw(update, who.name, reason.why if reason else "")
