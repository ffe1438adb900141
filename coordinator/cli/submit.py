# SPDX-License-Identifier: GPL-3.0-or-later
"""`patchfarm submit`: brings a source package to the farm. The .dsc is read here only to know which files to send."""

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from coordinator.cli import view, watch
from coordinator.cli.session import Json, Session, session
from coordinator.dsc import cleartext, read_changes, read_dsc
from coordinator.errors import BadRequest, BadSignature, BadSource
from coordinator.model import File, Update, UpdateState, Urgency


def submit(
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="FILE|SOURCE", help="A .dsc or _source.changes; or a package's name.")
    ],
    suite: Annotated[str, typer.Option("--suite", "-s", help="The suite it is for; see `patchfarm recipes`.")],
    from_archive: Annotated[bool, typer.Option("--from-archive", help="Take SOURCE from the suite's archive.")] = False,
    version: Annotated[str | None, typer.Option(help="With --from-archive: this version, not the newest.")] = None,
    urgency: Annotated[Urgency | None, typer.Option(help="How urgent it is; the suite's own unless given.")] = None,
    follow: Annotated[bool, typer.Option("--watch", "-w", help="Go on watching it.")] = False,
    until: watch.Until = UpdateState.PUBLISHED,
    json: Json = False,
) -> None:
    """Submit a patched source package, signed with `debsign`; or one by name from the suite's archive."""
    here = session(context)
    if from_archive:
        if urgency is not None:
            raise BadRequest("--urgency goes with a file; a source from the archive has its suite's")
        update = here.farm.submit_from_archive(suite, source, version)
    else:
        if version is not None:
            raise BadRequest("--version goes with --from-archive; a file says its own")
        update = send(here, Path(source), suite, urgency)
    if json and not follow:
        here.json(Update, update)
    elif not json:
        here.out.print(view.updates([update]))
    if follow:
        end = watch.follow(here, update.id, until, aside=json)
        if json:
            here.json(Update, end)


def send(here: Session, path: Path, suite: str, urgency: Urgency | None) -> Update:
    """Upload the files that are not there yet, then submit them."""
    names = names_in(path)
    files = {path.parent / name: _measure(path.parent / name) for name in names}
    for place, file in files.items():
        here.note(f"sending {file.name} ({file.size} bytes)")
        here.farm.store(file, place)
    return here.farm.submit(suite, list(files.values()), urgency)


def names_in(path: Path) -> list[str]:
    """The file itself and every file it names, and those that its .dsc names; all are plain names."""
    if path.suffix == ".dsc":
        return [path.name, *(file.name for file in read_dsc(_text(path)).files)]
    if path.suffix != ".changes":
        raise BadRequest(
            f"{path.name} is neither a .dsc nor a .changes",
            "Name a source package's .dsc or _source.changes; a package in the archive takes --from-archive.",
        )
    named = [file.name for file in read_changes(_text(path)).files]
    dscs = [name for name in named if name.endswith(".dsc")]
    if len(dscs) != 1:
        raise BadSource(f"{path.name} names {len(dscs)} .dsc files; a source upload has one")
    return list(dict.fromkeys([path.name, *names_in(path.parent / dscs[0]), *named]))


def _text(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadRequest(f"{path}: {error.strerror}", "Name the .dsc where its other files are too.") from error
    # What is not signed goes to the farm all the same, which says what it thinks of it.
    if b"-----BEGIN PGP SIGNED MESSAGE-----" not in data:
        return data
    try:
        return cleartext(data)
    except BadSource as error:
        raise BadSignature(f"{path.name}: {error.message}") from error


def _measure(path: Path) -> File:
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            return File(path.name, digest, stream.tell())
    except OSError as error:
        raise BadSource(
            f"{path}: {error.strerror}", "Put every file that the .dsc names into the same folder."
        ) from error
