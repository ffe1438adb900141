# SPDX-License-Identifier: GPL-3.0-or-later
"""Who asks: a bearer token (RFC 6750) makes a name and a role. No token is kept, logged or compared in clear."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from coordinator.errors import NotAllowed
from coordinator.model import Role, sha256_of
from coordinator.service import Coordinator


class NoToken(NotAllowed):
    """The request carries no token that the farm knows."""

    status = 401
    advice = (
        "Name the file that your token is in with PATCHFARM_TOKEN_FILE; "
        "`patchfarm up` makes one for whoever starts the farm."
    )


@dataclass(frozen=True)
class Bearer:
    """Who a token belongs to, and what it may be used for."""

    name: str
    role: Role


def coordinator(request: Request) -> Coordinator:
    """The farm that the application was made for."""
    farm: Coordinator = request.app.state.coordinator
    return farm


Farm = Annotated[Coordinator, Depends(coordinator)]


def bearer(request: Request, farm: Farm) -> Bearer:
    """Whoever the token belongs to; raises NoToken."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise NoToken("the request carries no token")
    known = farm.store.bearer(sha256_of(token.strip()))
    if known is None:
        raise NoToken("the farm does not know this token")
    return Bearer(*known)


Anyone = Annotated[Bearer, Depends(bearer)]


def _only(role: Role) -> Callable[[Bearer], Bearer]:
    def check(who: Anyone) -> Bearer:
        if who.role != role:
            raise NotAllowed(f"{who.name} is a {who.role}; only a {role} may do that")
        return who

    return check


Person = Annotated[Bearer, Depends(_only(Role.PERSON))]
Worker = Annotated[Bearer, Depends(_only(Role.WORKER))]
Signer = Annotated[Bearer, Depends(_only(Role.SIGNER))]


def check_name(who: Bearer, name: str) -> None:
    """A worker speaks for itself alone; raises NotAllowed."""
    if who.name != name:
        raise NotAllowed(
            f"this token is {who.name}'s, the request speaks for {name[:80]!r}", "Give the worker its own token."
        )
