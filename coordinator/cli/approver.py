# SPDX-License-Identifier: GPL-3.0-or-later
"""`patchfarm approver` and `patchfarm submitter`: whose signatures an embedded farm counts.

They write into the farm's own folder, on its own machine. A certificate's secret part, if it has one, is never copied.
"""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from pysequoia import Cert

from coordinator import config
from coordinator.cli import view
from coordinator.cli.plain import cell
from coordinator.cli.session import Json, Session, session
from coordinator.config import Home
from coordinator.errors import BadRequest
from coordinator.openpgp import fingerprint, load_certs, user_id

approvers = typer.Typer(help="Who may approve.", no_args_is_help=True)
submitters = typer.Typer(help="Who may submit.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A short name, in lower case.")]
CertFile = Annotated[Path, typer.Argument(metavar="CERT", help="The certificate, as `gpg --export --armor` gives it.")]
Replace = Annotated[bool, typer.Option("--replace", help="Take this certificate instead of the one there is.")]


_NAME = r"[a-z0-9][a-z0-9_-]{0,63}"


@dataclass(frozen=True)
class Role:
    """What a person may do, and the folders that say who."""

    name: str
    folders: tuple[Path, ...]


@dataclass(frozen=True)
class Listed:
    """Somebody whose certificate the farm has."""

    name: str
    fingerprint: str
    user_id: str


@approvers.command("add")
def add_approver(context: typer.Context, name: Name, certificate: CertFile, replace: Replace = False) -> None:
    """Let a person approve updates."""
    let_approve(session(context), config.load().paths, name, certificate, replace)


@approvers.command("list")
def list_approvers(context: typer.Context, json: Json = False) -> None:
    """List who may approve."""
    _list(session(context), config.load().paths.people, json)


@approvers.command("remove")
def remove_approver(context: typer.Context, name: Name) -> None:
    """Take a person's approvals no more; those already given count no more either."""
    _remove(_approver(config.load().paths), name)
    session(context).note(f"{name} may not approve any more.")


@submitters.command("add")
def add_submitter(context: typer.Context, name: Name, certificate: CertFile, replace: Replace = False) -> None:
    """Let a person submit sources that they signed."""
    home = config.load().paths
    _add(session(context), home, _submitter(home), name, certificate, replace)


@submitters.command("list")
def list_submitters(context: typer.Context, json: Json = False) -> None:
    """List who may submit."""
    (folder,) = _submitter(config.load().paths).folders
    _list(session(context), folder, json)


@submitters.command("remove")
def remove_submitter(context: typer.Context, name: Name) -> None:
    """Take no more sources that a person signed; updates that are there already go on."""
    _remove(_submitter(config.load().paths), name)
    session(context).note(f"{name} may not submit any more.")


def let_approve(here: Session, home: Home, name: str, certificate: Path, replace: bool = False) -> str:
    """Add an approver for coordinator and signer alike; answers the fingerprint."""
    return _add(here, home, _approver(home), name, certificate, replace)


def _approver(home: Home) -> Role:
    """The coordinator's folder, and the one that the signer believes."""
    return Role("approver", (home.people, home.signer / "approvers"))


def _submitter(home: Home) -> Role:
    return Role("submitter", (home.keyrings / "submitters",))


def _add(here: Session, home: Home, role: Role, name: str, certificate: Path, replace: bool) -> str:
    cert = _one_certificate(certificate)
    if not re.fullmatch(_NAME, name):
        raise BadRequest(f"{name[:80]!r} is no name for a person here", "Use lower-case letters, digits, - and _.")
    for other in (_approver(home), _submitter(home)):
        _refuse_clash(other, name, fingerprint(cert), own=other == role, replace=replace)
    for folder in role.folders:
        _write(folder / f"{name}.asc", str(cert))
    here.note(f"{name} is {user_id(cert)}, {fingerprint(cert)}")
    return fingerprint(cert)


def _one_certificate(path: Path) -> Cert:
    certs = load_certs(path)
    if len(certs) != 1:
        raise BadRequest(f"{path} has {len(certs)} certificates; one person has one", "Export the one that is meant.")
    return certs[0]


def _remove(role: Role, name: str) -> None:
    places = [folder / f"{name}.asc" for folder in role.folders if re.fullmatch(_NAME, name)]
    if not any(place.exists() for place in places):
        raise BadRequest(f"there is no {role.name} {name[:80]!r}", f"`patchfarm {role.name} list` shows who there is.")
    try:
        for place in places:
            place.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(error.filename, error) from error


def _refuse_clash(role: Role, name: str, key: str, *, own: bool, replace: bool) -> None:
    """One person has one name and one key in every role: else one approves twice, or what they submitted."""
    replacing = "Give --replace if that is right."
    elsewhere = f"If it is right, `patchfarm {role.name} remove {name}` first, and add it there too."
    for other in (person for folder in role.folders for person in people(folder)):
        if other.fingerprint == key and other.name != name:
            raise BadRequest(f"that is the key of the {role.name} {other.name} already", "One person has one name.")
        if other.name == name and other.fingerprint != key and not (own and replace):
            said = f"the {role.name} {name} has another key already, {other.fingerprint}"
            raise BadRequest(said, replacing if own else elsewhere)


def people(folder: Path) -> list[Listed]:
    """Everybody with a certificate in the folder, by name."""
    paths = sorted(folder.glob("*.asc")) if folder.is_dir() else []
    return [Listed(path.stem, fingerprint(cert), user_id(cert)) for path in paths for cert in load_certs(path)]


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made outside the folder, where whoever reads all its files could meet half of one.
        with tempfile.NamedTemporaryFile("w", dir=path.parent.parent, delete=False) as file:
            file.write(text)
        Path(file.name).chmod(0o644)
        Path(file.name).replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path | str, error: OSError) -> BadRequest:
    return BadRequest(f"{path}: {error.strerror}", "Use the account that runs the farm, on its machine.")


def _list(here: Session, folder: Path, json: bool) -> None:
    known = people(folder)
    if json:
        here.json(list[Listed], known)
        return
    table = view.headed("name", "key", "user id")
    for person in known:
        table.add_row(cell(person.name), cell(person.fingerprint), cell(person.user_id))
    here.out.print(table)
