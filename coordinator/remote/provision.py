# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a worker of a host, from the first look to its first sign of life. Done again it brings it up to date.

Whatever is missing is found before anything on the host is changed.
"""

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from coordinator.duty import Duty
from coordinator.errors import BadRequest, HostUnready
from coordinator.model import Clearance, sha256_of
from coordinator.remote import checks, install, service, tunnel
from coordinator.remote.address import Address
from coordinator.remote.book import Host, Keeper
from coordinator.remote.checks import Facts
from coordinator.remote.service import Service
from coordinator.remote.ssh import Remote
from coordinator.remote.tunnel import Way
from workers.wire.arch import Arch

#: What a worker or a trust domain may be called; the worker itself takes no other name.
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
#: Folders whose names mean nothing to a shell, to OpenSSH or to systemd.
_FOLDER = re.compile(r"/[A-Za-z0-9_./-]{1,200}")
#: How long the first sign of life may take, in seconds: Celery needs a few.
_PATIENCE = 90


class Farm(Protocol):
    """What is asked of the farm: coordinator.client.Client."""

    def workers(self) -> list[Duty]:
        """Every worker ever seen."""

    def admit(
        self, name: str, trust_domain: str | None, clearance: Clearance | None, token_sha256: str | None = None
    ) -> None:
        """Let a worker sign on; what is None stays as it is."""


class Tunnels(Protocol):
    """What holds the tunnels of the farm."""

    def check(self, host: Host) -> None:
        """Whether one can be opened with nobody there to be asked. Raises HostUnready."""

    def open(self, host: Host) -> None:
        """Begin to hold one, or hold it anew."""

    def said(self, host: Host) -> str:
        """What it said last, on a line."""


@dataclass(frozen=True)
class Wish:
    """What somebody wants a host to be. What is empty, 0 or None stays as it is, and has a default the first time.

    `folder` is where on the host all of it is, `identity` the private key to log in with.
    """

    name: str
    address: Address
    farm: str
    way: Way
    arches: tuple[Arch, ...]
    slots: int
    trust_domain: str | None
    clearance: Clearance | None
    identity: str
    folder: str
    new_token: bool

    def check(self) -> None:
        """Raises BadRequest."""
        for what, name in (("worker", self.name), ("trust domain", self.trust_domain or self.name)):
            if not _NAME.fullmatch(name):
                raise BadRequest(
                    f"{name[:80]!r} cannot be the name of a {what}",
                    "Use lower-case letters, digits, `.`, `_` and `-`, with --name or --trust-domain.",
                )
        if self.folder and not _FOLDER.fullmatch(self.folder):
            raise BadRequest(
                f"{self.folder[:80]!r} cannot be the folder of a worker", "Use an absolute path without spaces."
            )


@dataclass(frozen=True)
class Means:
    """What a provisioning works with.

    `keyrings` are those of the archives that workers are to trust, by name; `remember` keeps what the host is to be,
    before it is; `note` is told what is going on; `sleep` waits for so many seconds.
    """

    remote: Remote
    farm: Farm
    tunnels: Tunnels
    keyrings: Mapping[str, bytes]
    remember: Callable[[Host], None]
    note: Callable[[str], None]
    sleep: Callable[[float], None]


def provision(wish: Wish, known: Host | None, means: Means) -> Host:
    """Bring the host to what is wished, and wait for its first sign of life. Raises HostUnready, BadRequest.

    `known` is what is remembered of a worker of that name.
    """
    wish.check()
    seen = _seen(means.farm, wish.name)
    _check_name(wish, known, seen)
    wish = _settled(wish, known, seen)
    facts = _survey(wish, means)
    host = _host(wish, facts)
    made = Service(host)
    means.remember(host)
    if wish.way.tunnel:
        means.tunnels.check(host)
    new = install.release()
    install.install(means.remote, made, new, means.note)
    _admit(wish, made, means, keep=facts.token and seen is not None)
    install.trust(means.remote, made, means.keyrings)
    install.configure(means.remote, made, new, _settings(wish, host))
    if wish.way.tunnel:
        means.note("opens a tunnel, by which the worker reaches this farm")
        means.tunnels.open(host)
    means.note(f"starts it ({_kept(made)})")
    install.start(means.remote, made)
    _await(wish, host, made, means)
    install.tidy(means.remote, made, new)
    return host


def _check_name(wish: Wish, known: Host | None, seen: Duty | None) -> None:
    """A name belongs to one host."""
    other = known is not None and known.address.known_as != wish.address.known_as
    if other or (known is None and seen is not None):
        where = f"on {known.address}" if known else "and was not added from here"
        raise BadRequest(
            f"there is a worker {wish.name} already, {where}",
            f"Give this one another --name, or `patchfarm worker remove {wish.name}` first.",
        )


def _settled(wish: Wish, known: Host | None, seen: Duty | None) -> Wish:
    """With what the worker has already in the place of what was not said: to bring it up to date changes nothing else.

    Its trust domain and clearance are the farm's to remember.
    """
    if known is not None:
        if wish.folder not in ("", known.folder):
            raise BadRequest(
                f"{wish.name} is in {known.folder} on {known.address}", f"`patchfarm worker remove {wish.name}` first."
            )
        wish = replace(wish, folder=known.folder, identity=wish.identity or known.identity)
    if seen is not None:
        wish = replace(wish, arches=wish.arches or tuple(seen.worker.tiers), slots=wish.slots or seen.worker.slots)
    return replace(wish, slots=wish.slots or 1)


def _survey(wish: Wish, means: Means) -> Facts:
    means.note("looks at the host")
    home = "/opt" if wish.address.user == "root" else ".local/share"
    url, broker = wish.way.reach()
    asked = checks.Asked(wish.folder or f"{home}/patchfarm-worker/{wish.name}", url, broker)
    facts, skew = checks.look(means.remote, asked)
    found = checks.judge(facts, skew, asked, wish.arches)
    for check in found:
        means.note(f"  {'no' if check.advice else 'ok'}  {check.name}: {check.said}")
    checks.require(found)
    return facts


def _folder(wish: Wish, facts: Facts) -> str:
    """The host's own answer goes into commands of this machine too, so it is believed only as far as it is harmless."""
    folder = facts.folder
    home = facts.home == "/" or _FOLDER.fullmatch(facts.home)
    if not home or not _FOLDER.fullmatch(folder) or (wish.way.tunnel and len(folder) > tunnel.LONGEST):
        raise HostUnready(f"{folder[:120]!r} cannot be the folder of a worker there", "Name a short one with --folder.")
    return folder


def _host(wish: Wish, facts: Facts) -> Host:
    return Host(
        worker=wish.name,
        address=wish.address,
        folder=_folder(wish, facts),
        keeper=service.keeper_of(facts),
        home=facts.home,
        uid=facts.uid,
        tunnel=wish.way.tunnel,
        identity=wish.identity,
    )


def _admit(wish: Wish, made: Service, means: Means, keep: bool) -> None:
    """The token is made here, and is on the host before the farm knows it: a worker that runs reads it every time."""
    token_sha256 = None
    if wish.new_token or not keep:
        means.note("gives it a token")
        token = secrets.token_urlsafe(32)
        means.remote.put(f"{made.host.folder}/token", f"{token}\n".encode(), 0o600)
        token_sha256 = sha256_of(token)
    if wish.clearance is None:
        means.note("unless it was said before, it may see public sources alone: --clearance embargoed is all")
    means.farm.admit(wish.name, wish.trust_domain, wish.clearance, token_sha256)


def _settings(wish: Wish, host: Host) -> dict[str, str]:
    return {
        **tunnel.worker_settings(wish.way, host),
        "PATCHFARM_FARM": wish.farm,
        "PATCHFARM_WORKER_NAME": wish.name,
        "PATCHFARM_WORKER_HOME": f"{host.folder}/home",
        "PATCHFARM_TOKEN_FILE": f"{host.folder}/token",
        "PATCHFARM_SLOTS": str(wish.slots),
        "PATCHFARM_ARCHES": ",".join(wish.arches),
    }


def _kept(made: Service) -> str:
    if made.host.keeper is Keeper.NONE:
        return "there is no systemd: nothing starts it again when the host does"
    return f"{made.host.keeper}, {made.unit}"


def _await(wish: Wish, host: Host, made: Service, means: Means) -> None:
    means.note("waits for its first sign of life")
    before = _seen(means.farm, wish.name)  # the last that the one before it gave
    for _ in range(_PATIENCE):
        now = _seen(means.farm, wish.name)
        if now is not None and (before is None or now.worker.last_seen_at > before.worker.last_seen_at):
            return
        means.sleep(1)
    said = f"no sign of life came within {_PATIENCE} s; the worker said: {install.told(means.remote, made)}"
    if wish.way.tunnel:
        said += f"; its tunnel said: {means.tunnels.said(host)}"
    raise HostUnready(
        said, "Correct that, and add the worker again; with --new-token if the farm does not know its token."
    )


def _seen(farm: Farm, name: str) -> Duty | None:
    return next((duty for duty in farm.workers() if duty.worker.name == name), None)
