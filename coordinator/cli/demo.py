# SPDX-License-Identifier: GPL-3.0-or-later
"""`patchfarm demo`: takes a real security update all the way, on the farm of this machine, and says what came of it.

Its two approvers are made up, and it says so. Everything else is what it would be with real ones.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from coordinator import config, embedded, gpg
from coordinator.cli import approver, compare, view, watch
from coordinator.cli.plain import cell
from coordinator.cli.session import Session, session
from coordinator.cli.spans import shares
from coordinator.config import Home, Settings
from coordinator.embedded import machine
from coordinator.errors import BadRequest, NotAllowed, PackageFailed
from coordinator.model import ENDED, Update, UpdateState
from coordinator.openpgp import fingerprint, load_certs, user_id
from workers.wire.arch import Arch
from workers.wire.order import JobKind

SOURCE, SUITE = "libmodbus", "bookworm-security"
PEOPLE = ("demo-alice", "demo-bob")

Arches = Annotated[list[Arch] | None, typer.Option("--arch", help="Also this architecture; may be repeated.")]
SourceName = Annotated[str, typer.Option("--source", metavar="SOURCE", help="Another source of the archive's.")]


@dataclass(frozen=True)
class Person:
    """One of the two made-up approvers."""

    name: str
    fingerprint: str


def demo(context: typer.Context, arch: Arches = None, source: SourceName = SOURCE) -> None:
    """Take a real security update all the way into an archive that apt can use."""
    here = session(context)
    home = config.load().paths
    _refuse_real_farm(home)
    begun = time.monotonic()
    here.note("Starting the farm …")
    settings = _farm(_wanted(arch or []))
    here.note(f"The farm {settings.farm} in {home.root} is up: {settings.url} ({time.monotonic() - begun:.1f} s)")
    people = _people(here, settings)
    _make_room(here, settings, source)
    asked = time.monotonic()
    update = here.farm.submit_from_archive(SUITE, source)
    intake = time.monotonic() - asked
    here.note(
        f"Update {update.id} is {source} {update.source.version} from the archive, verified; `patchfarm list` has it."
    )
    try:
        published = _published(here, update, _approving(here, settings, people))
    finally:
        gpg.stop(_keys(settings))
    _tell(here, settings, published, intake)


def _refuse_real_farm(home: Home) -> None:
    """The demo withdraws, removes and approves as it needs to, which a farm with people of its own must not suffer."""
    others = [person.name for person in approver.people(home.people) if person.name not in PEOPLE]
    if others:
        raise NotAllowed(
            f"the farm in {home.root} has approvers of its own ({', '.join(others)}), and is not for demos",
            "Give the demo a farm of its own: PATCHFARM_HOME=$HOME/patchfarm-demo patchfarm demo.",
        )


def _published(here: Session, update: Update, meanwhile: Callable[[Update], None]) -> Update:
    """Watch it all the way; a package whose own tests fail gets one more chance, as a person would give it."""
    try:
        return watch.follow(here, update.id, UpdateState.PUBLISHED, meanwhile=meanwhile)
    except PackageFailed as failed:
        here.note(f"{failed.message}: tests that measure time fail on a busy machine. Trying once more.")
        here.farm.retry(update.id)
    return watch.follow(here, update.id, UpdateState.PUBLISHED, meanwhile=meanwhile)


def _wanted(more: list[Arch]) -> tuple[Arch, ...]:
    """What runs natively here, and what was asked for. Raises BadRequest for what cannot run."""
    for arch in more:
        if arch not in machine.tiers():
            raise BadRequest(f"this machine cannot run {arch}", "`patchfarm doctor` says what is missing for it.")
    return tuple(dict.fromkeys((*machine.native(), *more)))


def _farm(arches: tuple[Arch, ...]) -> Settings:
    """The farm, up, with a worker that offers these; one that offers fewer is started anew."""
    home = config.load().paths
    if embedded.running(home) and not set(arches) <= set(embedded.offered(home)):
        embedded.down(home)
    return embedded.up(home, arches)


def _keys(settings: Settings) -> Path:
    """The GnuPG home of the two made-up people."""
    return settings.paths.root / "demo" / "gnupg"


def _people(here: Session, settings: Settings) -> list[Person]:
    keys = _keys(settings)
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    known = {person.name: person.fingerprint for person in approver.people(settings.paths.people)}
    people = []
    for name in PEOPLE:
        if name not in known:
            certificate = settings.paths.root / "demo" / f"{name}.asc"
            certificate.write_bytes(gpg.export(keys, gpg.make_key(keys, f"{name} (made up for the demo)")))
            known[name] = approver.let_approve(here, settings.paths, name, certificate)
        people.append(Person(name, known[name]))
    here.note(f"Two approvers were made up for the demo, {' and '.join(PEOPLE)}; their keys have no passphrase.")
    return people


def _make_room(here: Session, settings: Settings, source: str) -> None:
    """What an earlier demo left on its way or in the farm's own archive would make this one's version not newer."""
    for old in here.farm.updates([state for state in UpdateState if state not in ENDED], 1000):
        if (old.source.name, old.suite) == (source, SUITE):
            here.farm.withdraw(old.id, "a new demo begins")
            here.note(f"Update {old.id} of an earlier demo was withdrawn.")
    if embedded.forget(settings, SUITE, source):
        here.note(f"{source} of an earlier demo was taken out of the farm's own archive.")


def _approving(here: Session, settings: Settings, people: list[Person]) -> Callable[[Update], None]:
    """Lets the made-up people approve as soon as they are waited for."""
    keys = _keys(settings)

    def act(update: Update) -> None:
        if update.state == UpdateState.AWAITING_APPROVAL:
            for person in people:
                text = here.farm.digests(update.id)
                here.farm.approve(update.id, here.sign(text, person.fingerprint, keys))

    return act


def _tell(here: Session, settings: Settings, update: Update, intake: float) -> None:
    say = here.out.print
    arch = Arch.AMD64 if update.job(JobKind.BUILD, Arch.AMD64) else update.jobs[0].arch
    took, times = view.duration(_whole(update, intake)), _times(here, update, arch, intake)
    found = compare.compared(here, update, settings)
    for title, content in (
        ("Packages, compared with Debian's own", compare.listing(found)),
        ("Tests", view.tests(update) or cell("the package has none")),
        ("Approved by", view.approvals(update) or cell("nobody")),
        (f"From submission to publication it took {took}; where it went, in seconds ({arch})", times),
    ):
        say("", cell(title, "bold"), content, sep="\n", soft_wrap=isinstance(content, Text))
    say("", cell("Signed with", "bold"), cell(_release_key(settings)), sep="\n", soft_wrap=True)
    say("", cell(f"Published in {settings.url}/repository; to install from it:", "bold"), sep="\n", soft_wrap=True)
    for line in install_commands(settings, update):
        say(cell(f"    {line}"), soft_wrap=True)
    here.note("")
    number = update.id
    here.note(f"The farm stays up: `patchfarm show {number}`, `patchfarm fetch {number} -o DIR`, `patchfarm down`.")
    here.note(f"Before it is used for real, `patchfarm approver remove {PEOPLE[0]}`, and {PEOPLE[1]} too.")


def _times(here: Session, update: Update, arch: Arch, intake: float) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("stage", "apt, build, tests", "the farm"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    rows = shares(update, here.farm.history(update.id), arch, intake)
    for row in rows:
        table.add_row(cell(row.stage), cell(f"{row.commands:.1f}"), cell(f"{row.farm:.1f}"))
    table.add_row(cell("all"), cell(f"{sum(r.commands for r in rows):.1f}"), cell(f"{sum(r.farm for r in rows):.1f}"))
    return table


def _whole(update: Update, intake: float) -> timedelta:
    return update.changed_at - update.created_at + timedelta(seconds=intake)


def _release_key(settings: Settings) -> str:
    certificates = load_certs(settings.paths.target / "release.asc")
    return "; ".join(f"{fingerprint(certificate)} ({user_id(certificate)})" for certificate in certificates)


def install_commands(settings: Settings, update: Update) -> list[str]:
    """What to type on this machine to install what was published."""
    keyring = settings.paths.target / "archive.asc"
    names = sorted({file.name.split("_")[0] for file in update.built_files() if file.name.endswith(".deb")})
    packages = [name for name in names if not name.endswith("-dbgsym")]
    option = f"[signed-by={keyring}]"
    line = f"deb {option} {settings.targets['archive'].url} {update.suite} main"
    return [
        f"echo '{line}' | sudo tee /etc/apt/sources.list.d/patchfarm.list",
        "sudo apt-get update",
        f"sudo apt-get install {' '.join(packages)}",
    ]
