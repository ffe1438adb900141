# SPDX-License-Identifier: GPL-3.0-or-later
"""`patchfarm worker`: who works for the farm, and what the operator decides about each."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from coordinator import config
from coordinator.cli import roster
from coordinator.cli.host import Visit, known_host
from coordinator.cli.session import Json, Session, session
from coordinator.duty import Duty
from coordinator.errors import UnknownName
from coordinator.model import Clearance
from coordinator.openpgp import load_certs
from coordinator.recipe import Recipes, keyring_in
from coordinator.remote import install, tunnel
from coordinator.remote.address import address, name_of
from coordinator.remote.book import Book
from coordinator.remote.provision import Means, Wish, provision
from coordinator.remote.service import Service
from coordinator.remote.tunnels import SupervisedTunnels
from workers.wire.arch import Arch

app = typer.Typer(help="Who works for the farm.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The worker's name.")]
Where = Annotated[str, typer.Argument(metavar="USER@HOST[:PORT]", help="Where to log in by SSH.")]
Called = Annotated[str, typer.Option("--name", help="What it is called; the host's name without its domain.")]
Arches = Annotated[list[Arch] | None, typer.Option("--arch", help="What it runs; else all that is native there.")]
Slots = Annotated[int | None, typer.Option("--slots", min=1, max=1024, help="How many attempts it has at once; 1.")]
Domain = Annotated[str | None, typer.Option("--trust-domain", help="What it can be taken over with; its own name.")]
Cleared = Annotated[Clearance | None, typer.Option("--clearance", help="What it may see; public, unless said.")]
Identity = Annotated[Path | None, typer.Option("--identity", help="The private key to log in with.")]
HostKey = Annotated[str, typer.Option("--host-key", metavar="SHA256:…", help="The host's key, instead of asking.")]
Url = Annotated[str, typer.Option("--url", help="Where the worker reaches the farm, if not by a tunnel.")]
Broker = Annotated[str, typer.Option("--broker", help="Where it reaches the broker; without the password.")]
Port = Annotated[int | None, typer.Option("--port", min=1, max=65535, help="SSH's port, unless the address has it.")]
Folder = Annotated[str, typer.Option("--folder", help="Where on the host all of it is.")]
NewToken = Annotated[bool, typer.Option("--new-token", help="Give it another token.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until it has nothing any more.")]
Force = Annotated[bool, typer.Option("--force", help="Give what it has to others.")]
Elsewhere = Annotated[str, typer.Option("--host", metavar="USER@HOST[:PORT]", help="Where it is reached now.")]


@app.callback()
def _root() -> None:
    """Who works for the farm."""


@app.command("list")
def every(context: typer.Context, json: Json = False) -> None:
    """List the workers: what each runs, whether it takes work, and what it is at."""
    here = session(context)
    known = here.farm.workers()
    if json:
        here.json(list[Duty], known)
    elif known:
        here.out.print(roster.roster(known, datetime.now(UTC)))
    else:
        here.note("No worker has signed on yet.")


@app.command()
def drain(context: typer.Context, name: Name, wait: Wait = False) -> None:
    """Give a worker nothing new; it finishes what it has."""
    here = session(context)
    here.farm.drain(name)
    here.note(f"{name} gets nothing new.")
    if wait:
        _wait(here, name)


@app.command()
def resume(context: typer.Context, name: Name) -> None:
    """Give a worker work again."""
    here = session(context)
    here.farm.resume(name)
    here.note(f"{name} gets work again.")


@app.command()
def remove(
    context: typer.Context, name: Name, force: Force = False, host: Elsewhere = "", identity: Identity = None
) -> None:
    """Take a worker away: its token is void, and what `worker add` made on its host is removed."""
    here = session(context)
    home = config.load().paths
    book = Book(home.hosts)
    known = known_host(book.find(name), host, identity)
    _dismiss(here, name, force, known is not None)
    here.note(f"{name} is not the farm's any more, and its token is void.")
    if known is None:
        here.note("It was not added from here: stop it where it runs.")
        return
    key = Path(known.identity) if known.identity else None
    try:
        with Visit(here, book).to(known.address, key, "") as remote:
            install.remove(remote, Service(known))
    finally:
        # Not before: the worker tells the farm that it ends, and waits long for one that does not answer.
        SupervisedTunnels(home).close(known)
    book.forget(name)
    here.note(f"Its service and {known.folder} on {known.address} are gone.")


@app.command()
def add(
    context: typer.Context,
    where: Where,
    called: Called = "",
    arches: Arches = None,
    slots: Slots = None,
    trust_domain: Domain = None,
    clearance: Cleared = None,
    identity: Identity = None,
    host_key: HostKey = "",
    url: Url = "",
    broker: Broker = "",
    port: Port = None,
    folder: Folder = "",
    new_token: NewToken = False,
) -> None:
    """Make a worker of a host over SSH, or bring it up to date, and wait for its first sign of life.

    Nothing on the host is changed before everything that it needs was found there. What an option does not say stays
    as it is where the worker was added before.
    """
    here, settings = session(context), config.load()
    book = Book(settings.paths.hosts)
    at = address(where)
    at = replace(at, port=port) if port else at
    name = called or name_of(at)
    known = book.find(name)
    wish = Wish(
        name=name,
        address=at,
        farm=settings.farm,
        way=tunnel.way(settings, url, broker),
        arches=tuple(arches or ()),
        slots=slots or 0,
        trust_domain=trust_domain,
        clearance=clearance,
        identity=str(identity.absolute()) if identity else known.identity if known else "",
        folder=folder,
        new_token=new_token,
    )
    wish.check()
    keyrings = _archives(settings)
    with Visit(here, book).to(at, Path(wish.identity) if wish.identity else None, host_key) as remote:
        tunnels = SupervisedTunnels(settings.paths)
        provision(wish, known, Means(remote, here.farm, tunnels, keyrings, book.keep, here.note, here.sleep))
    here.out.print(roster.roster([duty for duty in here.farm.workers() if duty.worker.name == name], datetime.now(UTC)))


def _archives(settings: config.Settings) -> dict[str, bytes]:
    """The keyrings of all archives that a recipe names, by name."""
    known = Recipes(settings.recipes)
    names = {known.of_suite(suite)[0].source.archive_keyring for suite in known.suites()}
    return {name: b"".join(map(bytes, load_certs(keyring_in(settings.paths.keyrings, name)))) for name in sorted(names)}


def _dismiss(here: Session, name: str, force: bool, remembered: bool) -> None:
    """Nothing new first, so that what it has is all it will have; then it is forgotten, unless it still has some."""
    try:
        here.farm.drain(name)
        here.farm.dismiss(name, force)
    except UnknownName:
        # It was dismissed before, and its host could not be reached then.
        if not remembered:
            raise


def _wait(here: Session, name: str) -> None:
    """Until it has nothing any more. Raises UnknownName for one that is gone."""
    told = -1
    while True:
        duty = next((duty for duty in here.farm.workers() if duty.worker.name == name), None)
        if duty is None:
            raise UnknownName(
                f"there is no worker {name[:80]!r}", "`patchfarm worker list` shows those that there are."
            )
        if not duty.attempts:
            here.note(f"{name} has nothing any more.")
            return
        if len(duty.attempts) != told:
            told = len(duty.attempts)
            here.note(f"{name} still has {', '.join(str(held.job) for held in duty.attempts)}.")
        here.sleep(2)
