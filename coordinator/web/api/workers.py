# SPDX-License-Identifier: GPL-3.0-or-later
"""`/workers`: who works for the farm. A worker signs on and claims under its own name alone; people decide the rest."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from coordinator.duty import Duty
from coordinator.errors import BadRequest
from coordinator.model import Clearance, Role
from coordinator.web.auth import Farm, Person, Worker, check_name
from coordinator.web.body import wire
from workers.wire.codec import encode
from workers.wire.report import Offer

router = APIRouter(prefix="/workers", tags=["workers"])

#: What a worker may be called; the worker itself takes no other.
_NAME = r"^[a-z0-9][a-z0-9_.-]{0,62}$"
#: Far more than any machine has.
_MOST_SLOTS, _MOST_CORES, _MOST_BYTES = 1 << 10, 1 << 16, 1 << 60


class Admission(BaseModel):
    """What a person decides about a worker; what is not said stays as it is. The token itself is never sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trust_domain: Annotated[str, Field(pattern=_NAME)] | None = None
    clearance: Clearance | None = None
    token_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None


@router.get("")
def every(farm: Farm, _who: Person) -> list[Duty]:
    """Every worker ever seen, by name, and what it has."""
    return farm.duties()


@router.put("/{name}", status_code=204)
def sign_on(name: str, who: Worker, offer: Annotated[Offer, Depends(wire(Offer))], farm: Farm) -> None:
    """A worker says what it can run; also its sign of life while it has nothing to do."""
    check_name(who, name)
    check_name(who, offer.worker)
    said = (offer.slots, _MOST_SLOTS), (offer.cores, _MOST_CORES), (offer.memory_bytes, _MOST_BYTES)
    if not all(1 <= number <= most for number, most in said):
        raise BadRequest("a worker with so many slots, cores or bytes of memory is none")
    farm.sign_on(offer)


@router.post("/{name}/claim")
def claim(name: str, who: Worker, farm: Farm, claim: Annotated[str, Query(pattern=r"^[0-9a-f]{16,64}$")]) -> Response:
    """What the worker should begin now: the answer is an Order, or 409 where there is nothing for it.

    `claim` is the worker's own name for the request: asked again by the same, the answer is the same attempt.
    """
    check_name(who, name)
    return Response(encode(farm.claim(name, claim)), media_type="application/json")


@router.put("/{name}/admission", status_code=204)
def admit(name: Annotated[str, Field(pattern=_NAME)], decided: Admission, farm: Farm, _who: Person) -> None:
    """Let a worker of that name sign on, or change what was decided about it."""
    # Before the token: nothing is done by what nobody decided.
    farm.store.admit(name, decided.trust_domain, decided.clearance)
    if decided.token_sha256 is not None:
        farm.store.grant(name, Role.WORKER, decided.token_sha256)


@router.post("/{name}/drain", status_code=204)
def drain(name: str, farm: Farm, _who: Person) -> None:
    """Give it nothing new; it finishes what it has."""
    farm.store.drain(name, True)


@router.post("/{name}/resume", status_code=204)
def resume(name: str, farm: Farm, _who: Person) -> None:
    """Give it work again."""
    farm.store.drain(name, False)


@router.delete("/{name}", status_code=204)
def dismiss(name: str, farm: Farm, _who: Person, force: bool = False) -> None:
    """Forget it, and its token with it; `force` gives what it has to others."""
    farm.dismiss(name, force)
