# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes tiny signed source packages that really build: no debhelper, no compiler, one .deb, one DEP-8 test."""

import hashlib
import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pysequoia
from pysequoia import SignatureMode, Tsk

from coordinator.dsc import cleartext
from coordinator.model import File

#: All that is packed is as old as this, so that the same source is always the same bytes.
EPOCH = 1767225600
DATE = "Thu, 01 Jan 2026 00:00:00 +0000"
GREETING = "hello, world\n"


class Person:
    """Somebody with an OpenPGP key, made on the spot."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.user_id = f"{name} <{name}@example.org>"
        self._key = Tsk.generate(self.user_id)
        self.cert = self._key.extract_certificate()
        self.fingerprint = self.cert.fingerprint

    def clearsign(self, text: str | bytes) -> bytes:
        """The text in a cleartext signature, as `gpg --clearsign` makes it."""
        data = text.encode() if isinstance(text, str) else text
        return pysequoia.sign(self._key.signer(), data.rstrip(b"\n"), mode=SignatureMode.CLEAR)

    def write_cert(self, folder: Path) -> Path:
        """The certificate, armored, as a keyring file."""
        path = folder / f"{self.name}.asc"
        path.write_text(str(self.cert))
        return path

    def revoked(self) -> bytes:
        """The certificate after its owner revoked it."""
        return bytes(self.cert) + bytes(self.cert.revoke(self._key.certifier()))

    def expiring(self, validity_seconds: int) -> "Person":
        """Another key of the same person that expires."""
        other = Person(self.name)
        other._key = Tsk.generate(self.user_id, validity_seconds=validity_seconds)
        other.cert = other._key.extract_certificate()
        other.fingerprint = other.cert.fingerprint
        return other


def make_source(
    folder: Path,
    name: str,
    version: str,
    key: Person,
    *,
    native: bool = False,
    architecture: str = "any",
    greeting: str = GREETING,
    tested: bool = True,
    suite: str = "bookworm-security",
    changes: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write a source package and answer its files, the .dsc first. `changes` replaces or adds files of the packaging.

    Two versions with the same upstream part share their .orig.tar, byte for byte. The test asks for "hello".
    """
    folder.mkdir(parents=True, exist_ok=True)
    packaging = {**_packaging(name, version, key, native, architecture, greeting, tested, suite), **(changes or {})}
    in_names = version.split(":", 1)[-1]
    if native:
        tars = {f"{name}_{in_names}.tar.xz": _tar(f"{name}-{in_names}/debian", packaging)}
    else:
        upstream = in_names.rpartition("-")[0]
        tars = {
            f"{name}_{upstream}.orig.tar.xz": _tar(f"{name}-{upstream}", {"README": f"{name} greets.\n"}),
            f"{name}_{in_names}.debian.tar.xz": _tar("debian", packaging),
        }
    paths = [_write(folder / file, data) for file, data in tars.items()]
    text = _dsc(name, version, key, native, architecture, tested) + checksums(paths)
    return [_write(folder / f"{name}_{in_names}.dsc", key.clearsign(text)), *paths]


def make_changes(
    paths: list[Path],
    key: Person,
    *,
    distribution: str = "bookworm-security",
    urgency: str = "high",
    arch: str = "source",
) -> Path:
    """Write the .changes of a source upload next to its files."""
    fields = dict(line.split(": ", 1) for line in cleartext(paths[0].read_bytes()).decode().split("\n")[:6])
    text = (
        f"Format: 1.8\nDate: {DATE}\nSource: {fields['Source']}\nArchitecture: {arch}\nVersion: {fields['Version']}\n"
        f"Distribution: {distribution}\nUrgency: {urgency}\nMaintainer: {key.user_id}\nChanged-By: {key.user_id}\n"
        f"Description:\n sample - greets\nChanges:\n sample ({fields['Version']})\n .\n   * Greet safely.\n"
    )
    path = paths[0].with_name(f"{paths[0].stem}_source.changes")
    return _write(path, key.clearsign(text + checksums(paths, more=" misc optional")))


def resign(dsc: Path, key: Person, edit: Callable[[str], str]) -> Path:
    """Change what a .dsc or .changes says and sign it again."""
    before = cleartext(dsc.read_bytes()).decode()
    after = edit(before)
    assert after != before
    return _write(dsc, key.clearsign(after))


def as_files(paths: list[Path]) -> list[File]:
    """The files as a submission names them."""
    return [File(path.name, _hash("sha256", path), path.stat().st_size) for path in paths]


def checksums(paths: list[Path], more: str = "") -> str:
    """The three sections that name files; `more` stands between size and name in Files."""
    sections = {"Checksums-Sha1": "sha1", "Checksums-Sha256": "sha256", "Files": "md5"}
    return "".join(
        f"{section}:\n"
        + "".join(
            f" {_hash(kind, path)} {path.stat().st_size}{more if kind == 'md5' else ''} {path.name}\n" for path in paths
        )
        for section, kind in sections.items()
    )


def _packaging(
    name: str, version: str, key: Person, native: bool, architecture: str, greeting: str, tested: bool, suite: str
) -> dict[str, str]:
    half, other = ("indep", "arch") if architecture == "all" else ("arch", "indep")
    files = {
        "source/format": f"3.0 ({'native' if native else 'quilt'})\n",
        "changelog": f"{name} ({version}) {suite}; urgency=high\n\n  * Greet safely.\n\n -- {key.user_id}  {DATE}\n",
        "control": (
            f"Source: {name}\nSection: misc\nPriority: optional\nMaintainer: {key.user_id}\n"
            f"Standards-Version: 4.6.2\nRules-Requires-Root: no\n\n"
            f"Package: {name}\nArchitecture: {architecture}\nDescription: greets\n A sample package.\n"
        ),
        "greeting": greeting,
        "rules": (
            "#!/usr/bin/make -f\n"
            "build build-arch build-indep:\n"
            "clean:\n\trm -rf debian/tmp debian/files debian/substvars\n"
            f"binary: binary-arch binary-indep\nbinary-{other}:\n"
            f"binary-{half}:\n"
            f"\tinstall -D -m 644 debian/greeting debian/tmp/usr/share/{name}/greeting\n"
            "\tinstall -d debian/tmp/DEBIAN\n"
            "\tdpkg-gencontrol\n"
            "\tdpkg-deb --root-owner-group --build debian/tmp ..\n"
            ".PHONY: build build-arch build-indep clean binary binary-arch binary-indep\n"
        ),
    }
    tests = {
        "tests/control": "Tests: greets\nDepends: @\n",
        "tests/greets": f"#!/bin/sh\nset -e\ngrep hello /usr/share/{name}/greeting\n",
    }
    return {**files, **(tests if tested else {})}


def _dsc(name: str, version: str, key: Person, native: bool, architecture: str, tested: bool) -> str:
    return (
        f"Format: 3.0 ({'native' if native else 'quilt'})\nSource: {name}\nBinary: {name}\n"
        f"Architecture: {architecture}\nVersion: {version}\nMaintainer: {key.user_id}\nStandards-Version: 4.6.2\n"
        + ("Testsuite: autopkgtest\n" if tested else "")
        + f"Package-List:\n {name} deb misc optional arch={architecture}\n"
    )


def _tar(root: str, files: Mapping[str, str]) -> bytes:
    folders = {str(parent) for name in files for parent in (Path(root) / name).parents} - {"."}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz", format=tarfile.GNU_FORMAT) as tar:
        for folder in sorted(folders):
            info = tarfile.TarInfo(folder)
            info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, EPOCH
            tar.addfile(info)
        for name, text in sorted(files.items()):
            info = tarfile.TarInfo(f"{root}/{name}")
            info.size, info.mtime = len(text.encode()), EPOCH
            info.mode = 0o755 if text.startswith("#!") else 0o644
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _hash(kind: str, path: Path) -> str:
    return hashlib.new(kind, path.read_bytes(), usedforsecurity=False).hexdigest()
