# SPDX-License-Identifier: GPL-3.0-or-later
"""`patchfarm fetch`: brings an update's signed files here, checked, and never over something else."""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from coordinator.cli.session import Json, Number, Session, session
from coordinator.dsc import is_file_name
from coordinator.errors import BadRequest, IllegalMove, PatchfarmError
from coordinator.model import File

Folder = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where to put them.")]


def fetch(context: typer.Context, number: Number, folder: Folder = Path(), json: Json = False) -> None:
    """Fetch the signed files of an update."""
    here = session(context)
    update = here.farm.update(number)
    if not update.signed:
        raise IllegalMove(f"update {number} is {update.state}: nothing of it is signed yet")
    for file in update.signed:
        if not is_file_name(file.name):
            raise PatchfarmError(f"the farm names a file {file.name[:80]!r}, which is not a plain file name")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in update.signed:
            place = bring(here, file, folder)
            if not json:
                here.out.print(str(place), soft_wrap=True)
    except OSError as error:
        raise BadRequest(
            f"{error.filename or folder}: {error.strerror}", "Name another folder with --output."
        ) from error
    if json:
        here.json(list[File], list(update.signed))


def bring(here: Session, file: File, folder: Path) -> Path:
    """One file, and where it is then; what is there already stays, and must be the same."""
    place = folder / file.name
    if not place.exists():
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".patchfarm-") as part:
            here.farm.fetch(file, part)
            part.flush()
            Path(part.name).chmod(0o644)
            # A link, as it cannot replace what came into being meanwhile.
            _link(Path(part.name), place)
    if not place.is_file() or _sha256(place) != file.sha256:
        raise BadRequest(f"{place} is there already, and is something else", "Name another folder with --output.")
    return place


def _link(part: Path, place: Path) -> None:
    try:
        os.link(part, place)
    except FileExistsError:
        return


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
