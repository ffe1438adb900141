# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a signed upload of an update's approved files in a folder. Packages and tarballs stay as they are, always.

The order is debsign(1)'s: the .dsc; each .buildinfo, with the .dsc's new digests; the .changes, with all of them.
debsign itself can do it for one .buildinfo alone, and here is one for each architecture.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coordinator import gpg
from coordinator.dsc import MAX_BYTES, cleartext, read_changes, read_dsc
from coordinator.errors import SignerRefused
from coordinator.model import File, Update
from coordinator.openpgp import SequoiaVerifier, lines
from coordinator.signer import changes
from coordinator.signer.changes import Digests
from coordinator.signer.evidence import changes_name, shipped

_SIGNED_INSIDE = (".dsc", ".buildinfo")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Seal:
    """Signs with one key of a GnuPG home, and believes it only after a look with the certificate."""

    key: str
    home: Path
    certificate: Path
    verifier: SequoiaVerifier

    def sign(self, text: str) -> bytes:
        """The text, clearsigned. Raises SignerRefused where the result is not that text signed with that key."""
        made = gpg.clearsign(text, self.key, self.home, gpg.SECONDS)
        if lines(self.open(made)) != lines(text.encode()):
            raise SignerRefused("gpg signed something else than it was given")
        return made

    def open(self, data: bytes) -> bytes:
        """What is signed. Raises BadSignature."""
        return self.verifier.clearsigned(data, [self.certificate]).signed


def make(update: Update, folder: Path, built: Sequence[bytes], seal: Seal) -> tuple[File, ...]:
    """Sign the update's files in the folder, where they lie as approved; answers them as they are, the .changes first.

    `built` are the builds' .changes. Raises SignerRefused, BadSource.
    """
    files = shipped(update)
    for text in built:
        changes.check(text, update, files)
    _sign_dsc(update, folder, seal)
    for file in files:
        if file.name.endswith(".buildinfo"):
            _sign_buildinfo(update, folder / file.name, seal)
    digests = {file.name: digests_of(folder / file.name) for file in files}
    signed = folder / changes_name(update)
    signed.write_bytes(seal.sign(changes.merge(built, update.suite, digests)))
    whole = digests_of(signed)
    made = (File(signed.name, whole.sha256, whole.size), *_as_files(digests))
    verify(update, folder, made, seal)
    return made


def verify(update: Update, folder: Path, made: Sequence[File], seal: Seal) -> None:
    """Refuse an upload that is not what was approved, signed: read anew from the disk, by what the .changes names."""
    approved = {file.name: file for file in shipped(update)}
    control = read_changes(seal.open((folder / made[0].name).read_bytes()))
    if (control.source, control.version) != (update.source.name, update.source.version):
        raise SignerRefused(f"the .changes is of {control.source} {control.version}")
    if control.distribution != update.suite:
        raise SignerRefused(f"the .changes is for {control.distribution}, not for {update.suite}")
    if {file.name for file in control.files} != approved.keys() or set(control.files) != set(made[1:]):
        raise SignerRefused("the .changes does not name exactly the files of the update")
    for file in control.files:
        found = digests_of(folder / file.name)
        if (found.sha256, found.size) != (file.sha256, file.size):
            raise SignerRefused(f"{file.name} is not what the .changes says")
        if file.name.endswith(_SIGNED_INSIDE):
            seal.open((folder / file.name).read_bytes())
        elif file != approved[file.name]:
            raise SignerRefused(f"{file.name} is not what was approved")


def digests_of(path: Path) -> Digests:
    """The digests of a file on the disk."""
    md5, sha1 = (hashlib.new(name, usedforsecurity=False) for name in ("md5", "sha1"))
    sha256, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            size += len(piece)
            for digest in (md5, sha1, sha256):
                digest.update(piece)
    return Digests(md5.hexdigest(), sha1.hexdigest(), sha256.hexdigest(), size)


def _sign_dsc(update: Update, folder: Path, seal: Seal) -> None:
    path = folder / update.source.dsc.name
    data = _read(path)
    # A source from the archive need not be signed: its signed index vouched for it.
    text = cleartext(data) if data.startswith(b"-----BEGIN") else data
    control = read_dsc(text)
    said = (control.name, control.version, control.dsc_name, set(control.files))
    if said != (update.source.name, update.source.version, path.name, set(update.source.files[1:])):
        raise SignerRefused(
            f"{path.name} is not the .dsc of {update.source.name} {update.source.version} and its files"
        )
    path.write_bytes(seal.sign(text.decode()))


def _sign_buildinfo(update: Update, path: Path, seal: Seal) -> None:
    data = _read(path)
    changes.check_buildinfo(data, update, shipped(update))
    dsc = update.source.dsc.name
    path.write_bytes(seal.sign(changes.corrected(data.decode(), dsc, digests_of(path.with_name(dsc)))))


def _read(path: Path) -> bytes:
    if path.stat().st_size > MAX_BYTES:
        raise SignerRefused(f"{path.name} has {path.stat().st_size} bytes; {MAX_BYTES} is the most that is read")
    return path.read_bytes()


def _as_files(digests: dict[str, Digests]) -> list[File]:
    return [File(name, found.sha256, found.size) for name, found in digests.items()]
