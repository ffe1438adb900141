# SPDX-License-Identifier: GPL-3.0-or-later
"""`/signing`: what the signer asks for and answers. No key is here, and nothing here can sign."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from coordinator.model import File, SigningRequest, Update
from coordinator.web.auth import Farm, Signer
from coordinator.web.keys import UpdateId

router = APIRouter(prefix="/signing", tags=["signing"])
_CLOSED = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_CLOSED)
class SignedFiles:
    """What the signer made; the bytes are in the blobs already."""

    files: tuple[File, ...]


@dataclass(frozen=True, config=_CLOSED)
class Refusal:
    """Why the signer will not sign."""

    reason: Annotated[str, Field(min_length=1, max_length=4000)]


@router.get("")
def waiting(farm: Farm, _who: Signer) -> list[SigningRequest]:
    """The updates that wait for their signature."""
    return farm.signing_requests()


@router.post("/{update}")
def signed(update: UpdateId, made: SignedFiles, farm: Farm, _who: Signer) -> Update:
    """The signed files of an update, the .changes first."""
    return farm.signed(update, made.files)


@router.post("/{update}/refusal")
def refused(update: UpdateId, refusal: Refusal, farm: Farm, _who: Signer) -> Update:
    """The signer looked and will not sign."""
    return farm.refused(update, refusal.reason)
