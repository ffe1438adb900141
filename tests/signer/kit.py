# SPDX-License-Identifier: GPL-3.0-or-later
"""An update of two architectures as builds leave it: files of the forms that dpkg makes, and people to approve it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coordinator.dsc import cleartext
from coordinator.model import Approval, File, Job, JobState, Origin, Source, Update, UpdateState, sha256_of
from coordinator.openpgp import SequoiaVerifier
from coordinator.signer import approvers
from coordinator.signer.approvers import Approver, Statement
from tests.sources import DATE, Person, as_files, checksums, make_source
from tests.web.kit import FakeFarm, job, report, update
from workers.wire.arch import Arch
from workers.wire.report import Artifact

SAM, ALICE, BOB, MALLORY = (Person(name) for name in ("sam", "alice", "bob", "mallory"))
VERSION = "1:1.0-1"
VERIFIER = SequoiaVerifier()

Edit = Callable[[str], str]


@dataclass(frozen=True)
class Made:
    """An update in signing, and the bytes of all its files by sha256."""

    update: Update
    blobs: Mapping[str, bytes]

    def approved_by(self, *people: Person) -> "Made":
        return replace(self, update=replace(self.update, approvals=tuple(approval(self.update, who) for who in people)))

    def text(self, ending: str) -> bytes:
        """The first file that is called so."""
        return next(self.blobs[file.sha256] for file in everything(self.update) if file.name.endswith(ending))

    def lay_out(self, folder: Path) -> list[bytes]:
        """Put what is shipped into the folder; answers the builds' .changes."""
        for file in everything(self.update):
            if not file.name.endswith(".changes"):
                (folder / file.name).write_bytes(self.blobs[file.sha256])
        built = [file for file in self.update.built_files() if file.name.endswith(".changes")]
        return [self.blobs[file.sha256] for file in built]

    def built_by_dpkg(self, folder: Path) -> "Made":
        """The same source, with what a real build left in the folder."""
        jobs = []
        for arch in (Arch.AMD64, Arch.I386):
            found = sorted(folder.glob(f"hello_1.0-1_{arch}.*"))
            sources = folder / arch / "hello_1.0-1_source.changes"
            sources.write_bytes((folder / f"hello_1.0-1_source_{arch}.changes").read_bytes())
            jobs.append(_job(arch, [*found, sources]))
        paths = [path for path in folder.rglob("hello_*") if path.is_file()]
        blobs = {sha256_of(path.read_bytes()): path.read_bytes() for path in paths}
        return replace(self, update=replace(self.update, jobs=tuple(jobs)), blobs=blobs)

    def give(self, farm: FakeFarm) -> None:
        """Let the farm have it."""
        farm.store.known = self.update
        for data in self.blobs.values():
            farm.blobs.add(data)


def make(
    folder: Path,
    edits: Mapping[str, Edit] | None = None,
    *,
    author: Person = SAM,
    suite: str = "bookworm-security",
    bare: bool = False,
) -> Made:
    """The update. `edits` change a .changes or .buildinfo by its name's ending; a `bare` .dsc has no signature."""
    paths = make_source(folder, "hello", VERSION, author)
    if bare:
        paths[0].write_bytes(cleartext(paths[0].read_bytes()))
    arches = (Arch.AMD64, Arch.I386)
    builds = {arch: _build(folder / arch, arch, paths, edits or {}, suite) for arch in arches}
    source = Source("hello", VERSION, ("any",), False, True, True, Origin.UPLOAD, author.fingerprint, files(paths))
    jobs = [_job(arch, built) for arch, built in builds.items()]
    blobs = [path.read_bytes() for path in (*paths, *(path for built in builds.values() for path in built))]
    return Made(
        update(UpdateState.SIGNING, jobs, source=source, submitter=SAM.name), {sha256_of(data): data for data in blobs}
    )


def approval(made: Update, who: Person, text: str = "", **claimed: Any) -> Approval:
    """What a person signed, and what the farm says of it."""
    signed = text or made.digest_set()
    said = Approval(who.name, who.fingerprint, sha256_of(signed), who.clearsign(signed).decode(), made.changed_at)
    return replace(said, **claimed)


def everything(made: Update) -> list[File]:
    return [*made.source.files, *made.built_files()]


def people(folder: Path, *known: Person) -> tuple[Approver, ...]:
    """The signer's folder of certificates."""
    folder.mkdir(parents=True, exist_ok=True)
    for person in known:
        person.write_cert(folder)
    return approvers.load(folder).people


def said(made: Update, known: Sequence[Approver]) -> tuple[Statement, ...]:
    """Who signed what of an update's approvals."""
    return approvers.statements([each.signature.encode() for each in made.approvals], known, VERIFIER)


def files(paths: list[Path]) -> tuple[File, ...]:
    return tuple(as_files(paths))


def _job(arch: Arch, built: list[Path]) -> Job:
    artifacts = tuple(Artifact(file.name, file.sha256, file.size) for file in as_files(built))
    return replace(job(state=JobState.SUCCEEDED, report=report(artifacts=artifacts)), arch=arch)


def _build(folder: Path, arch: Arch, source: list[Path], edits: Mapping[str, Edit], suite: str) -> list[Path]:
    folder.mkdir()
    deb = _write(folder / f"hello_1.0-1_{arch}.deb", f"the package for {arch}", edits)
    info = f"Format: 1.0\nSource: hello\nBinary: hello\nArchitecture: {arch}\nVersion: {VERSION}\n"
    listed = checksums([deb]).replace("Files:", "Checksums-Md5:")
    tail = (
        'Build-Origin: Debian\nInstalled-Build-Depends:\n dpkg (= 1.21.22),\n make (= 4.3)\nEnvironment:\n LC_ALL="C"\n'
    )
    info_path = _write(folder / f"hello_1.0-1_{arch}.buildinfo", info + listed + tail, edits)
    binary = _changes(str(arch), suite, checksums([info_path, deb], " misc optional"))
    # dpkg-genchanges names in a _source.changes whatever .buildinfo there is, so that each build makes another.
    sources = _changes("source", suite, checksums([*source, info_path], " misc optional"))
    return [
        deb,
        info_path,
        _write(folder / f"hello_1.0-1_{arch}.changes", binary, edits),
        _write(folder / "hello_1.0-1_source.changes", sources, edits),
    ]


def _changes(arch: str, suite: str, listed: str) -> str:
    binary = arch != "source"
    return (
        f"Format: 1.8\nDate: {DATE}\nSource: hello\n"
        + ("Binary: hello\n" if binary else "")
        + f"Architecture: {arch}\nVersion: {VERSION}\nDistribution: {suite}\nUrgency: high\n"
        + f"Maintainer: {SAM.user_id}\nChanged-By: {SAM.user_id}\n"
        + ("Description:\n hello      - greets\n" if binary else "")
        + f"Closes: 123\nChanges:\n hello ({VERSION}) {suite}; urgency=high\n .\n   * Greet safely.\n"
        + listed
    )


def _write(path: Path, text: str, edits: Mapping[str, Edit]) -> Path:
    for ending, edit in edits.items():
        if path.name.endswith(ending):
            text = edit(text)
    path.write_text(text)
    return path
