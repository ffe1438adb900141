# SPDX-License-Identifier: GPL-3.0-or-later
"""`patchfarm compare`: whether what the farm built is what the archive ships, bit for bit, and what differs where not.

It reads the archive itself, from this machine; the farm only hands out what it built.
"""

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import typer
from rich.text import Text

from coordinator import app, config
from coordinator.cli.plain import cell
from coordinator.cli.session import Json, Number, Session, session
from coordinator.compare import compare as compare_packages
from coordinator.config import Settings
from coordinator.errors import IllegalMove
from coordinator.model import File, Update
from coordinator.ports import BinaryEntry
from coordinator.recipe import Recipes
from workers.wire.arch import Arch
from workers.wire.order import Index, JobKind

#: How many differences of one package are shown; `--json` has more.
_SHOWN = 3


@dataclass(frozen=True)
class Compared:
    """A built package beside the archive's of the same name, version and architecture; without `index` it has none.

    `verified`: the archive's digest is vouched for by its signed Release.
    """

    file: File
    index: str
    identical: bool
    verified: bool
    differences: tuple[str, ...]


def compare(context: typer.Context, number: Number, json: Json = False) -> None:
    """Compare what was built with what the archive ships; exit code 0 whatever comes of it."""
    here = session(context)
    update = here.farm.update(number)
    if not update.built_files():
        raise IllegalMove(f"update {number} is {update.state}: nothing of it is built yet")
    found = compared(here, update, config.load())
    if json:
        here.json(list[Compared], found)
    else:
        here.out.print(listing(found), soft_wrap=True)


def compared(here: Session, update: Update, settings: Settings) -> list[Compared]:
    """Every package that the builds made, compared. Raises ArchiveUnreachable."""
    references = _references(update, settings)
    packages = [file for file in update.built_files() if file.name.endswith((".deb", ".udeb"))]
    with tempfile.TemporaryDirectory(prefix="patchfarm-") as folder:
        return [_one(here, file, references.get(file.name), settings, Path(folder)) for file in packages]


def listing(found: list[Compared]) -> Text:
    """Each package as sha256sum prints it, uncut, and below it what came of the comparison."""
    shown = Text()
    for each in found:
        style = "green" if each.identical else "dim" if not each.index else "yellow"
        shown.append_text(cell(f"{each.file.sha256}  {each.file.name}"))
        shown.append("\n    ").append_text(cell(verdict(each), style)).append("\n")
    shown.rstrip()
    return shown


def verdict(each: Compared) -> str:
    """What came of it, in a line."""
    if not each.index:
        return "the archive has none of this version"
    mark = "" if each.verified else ", by an index that lags behind its signed Release"
    if each.identical:
        return f"identical ({each.index}{mark})"
    told = "; ".join(each.differences[:_SHOWN])
    more = f"; and {len(each.differences) - _SHOWN} more" if len(each.differences) > _SHOWN else ""
    return f"differs: {told}{more} ({each.index}{mark})"


def _references(update: Update, settings: Settings) -> dict[str, tuple[Index, BinaryEntry]]:
    """What the archive has of this source and version, by file name.

    A verified one counts before others, and then the first of the recipe's suites.
    """
    rules, _ = Recipes(settings.recipes).of_suite(update.suite)
    reader, mirrors = app.archive(settings), app.Mirrors(settings)
    keyring = settings.paths.keyrings / f"{rules.source.archive_keyring}.pgp"
    arches = {rules.arch.all_on if job.arch == Arch.ALL else job.arch for job in update.of_kind(JobKind.BUILD)}
    listed = [
        (index, entry)
        for index in map(mirrors.index, rules.source.from_archive)
        for arch in sorted(arches)
        for entry in reader.binaries(index, keyring, update.source.name, arch)
    ]
    best: dict[str, tuple[Index, BinaryEntry]] = {}
    for index, entry in sorted(listed, key=lambda each: not each[1].verified):
        best.setdefault(entry.file.name, (index, entry))
    return best


def _one(
    here: Session, file: File, reference: tuple[Index, BinaryEntry] | None, settings: Settings, folder: Path
) -> Compared:
    if reference is None:
        return Compared(file, "", identical=False, verified=False, differences=())
    index, entry = reference
    compared_with = partial(Compared, file, index.suite, verified=entry.verified)
    if (entry.file.sha256, entry.file.size) == (file.sha256, file.size):
        return compared_with(identical=True, differences=())
    built, theirs = folder / file.name, folder / f"archive-{file.name}"
    with built.open("wb") as stream:
        here.farm.fetch(file, stream)
    with theirs.open("wb") as stream:
        app.archive(settings).fetch(index, entry.filename, entry.file, stream)
    came = compare_packages(built, theirs, reference_verified=entry.verified)
    return compared_with(identical=came.identical, differences=came.differences)
