# SPDX-License-Identifier: GPL-3.0-or-later
"""`/workers`: who works for the farm. A worker signs on under its own name alone."""

from typing import Annotated

from fastapi import APIRouter, Depends

from coordinator.errors import BadRequest
from coordinator.model import Worker as KnownWorker
from coordinator.web.auth import Farm, Person, Worker, check_name
from coordinator.web.body import wire
from workers.wire.report import Offer

router = APIRouter(prefix="/workers", tags=["workers"])


@router.get("")
def every(farm: Farm, _who: Person) -> list[KnownWorker]:
    """Every worker ever seen, by name."""
    return farm.store.workers()


@router.put("/{name}", status_code=204)
def sign_on(name: str, who: Worker, offer: Annotated[Offer, Depends(wire(Offer))], farm: Farm) -> None:
    """A worker says what it can run; also its sign of life while it has nothing to do."""
    check_name(who, name)
    check_name(who, offer.worker)
    if not 1 <= offer.slots <= 1024:
        raise BadRequest(f"a worker with {offer.slots} slots is none")
    farm.sign_on(offer)
