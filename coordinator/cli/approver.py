# SPDX-License-Identifier: GPL-3.0-or-later
"""`patchfarm approver` and `patchfarm submitter`: whose signatures an embedded farm counts.

They write into the farm's own folder, on its own machine. A certificate's secret part, if it has one, is never copied.
"""

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from pysequoia import Cert
from rich.table import Table

from coordinator import config
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
    folders = _approver_folders(config.load().paths)
    places = [folder / f"{name}.asc" for folder in folders if re.fullmatch(_NAME, name)]
    if not any(place.exists() for place in places):
        raise BadRequest(f"there is no approver {name[:80]!r}", "`patchfarm approver list` shows who there is.")
    for place in places:
        place.unlink(missing_ok=True)
    session(context).note(f"{name} may not approve any more.")


@submitters.command("add")
def add_submitter(context: typer.Context, name: Name, certificate: CertFile, replace: Replace = False) -> None:
    """Let a person submit sources that they signed."""
    _add(session(context), (_submitter_folder(config.load().paths),), name, certificate, replace)


@submitters.command("list")
def list_submitters(context: typer.Context, json: Json = False) -> None:
    """List who may submit."""
    _list(session(context), _submitter_folder(config.load().paths), json)


def let_approve(here: Session, home: Home, name: str, certificate: Path, replace: bool = False) -> str:
    """Add an approver for coordinator and signer alike; answers the fingerprint."""
    return _add(here, _approver_folders(home), name, certificate, replace)


def _approver_folders(home: Home) -> tuple[Path, Path]:
    """The coordinator's, and the one that the signer believes."""
    return home.people, home.signer / "approvers"


def _submitter_folder(home: Home) -> Path:
    return home.keyrings / "submitters"


def _add(here: Session, folders: Sequence[Path], name: str, certificate: Path, replace: bool) -> str:
    cert = _one_certificate(certificate)
    if not re.fullmatch(_NAME, name):
        raise BadRequest(f"{name[:80]!r} is no name for a person here", "Use lower-case letters, digits, - and _.")
    for folder in folders:
        _refuse_clash(folder, name, fingerprint(cert), replace)
    for folder in folders:
        _write(folder / f"{name}.asc", str(cert))
    here.note(f"{name} is {user_id(cert)}, {fingerprint(cert)}")
    return fingerprint(cert)


def _one_certificate(path: Path) -> Cert:
    certs = load_certs(path)
    if len(certs) != 1:
        raise BadRequest(f"{path} has {len(certs)} certificates; one person has one", "Export the one that is meant.")
    return certs[0]


def _refuse_clash(folder: Path, name: str, key: str, replace: bool) -> None:
    """One key is one person: under two names it would approve twice."""
    for other in people(folder):
        if other.fingerprint == key and other.name != name:
            raise BadRequest(f"that is the key of {other.name} already", "One person has one name.")
        if other.name == name and other.fingerprint != key and not replace:
            raise BadRequest(f"{name} has another key already, {other.fingerprint}", "Give --replace if that is right.")


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
        raise BadRequest(f"{path}: {error.strerror}", "Use the account that runs the farm, on its machine.") from error


def _list(here: Session, folder: Path, json: bool) -> None:
    known = people(folder)
    if json:
        here.json(list[Listed], known)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("name", "key", "user id"):
        table.add_column(column, overflow="fold")
    for person in known:
        table.add_row(cell(person.name), cell(person.fingerprint), cell(person.user_id))
    here.out.print(table)
