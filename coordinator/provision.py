# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes what the services of docker-compose.yml must find when they start: a folder for each secret, and an archive.

`python -m coordinator.provision FOLDER NAME…` makes what is not there yet; with `--grant` instead of names, once the
database runs, it lets the database know the tokens. It prints no secret and never sees the signer's folder.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from coordinator import app, config
from coordinator.config import Settings
from coordinator.embedded import preparation
from coordinator.errors import PatchfarmError
from coordinator.model import Role
from coordinator.target import sshd
from coordinator.target.reprepro import Layout, Repository


@dataclass(frozen=True)
class Shelf:
    """Where everything is until each service gets its own; a service sees of it what it may know, at the same path."""

    root: Path

    @property
    def password(self) -> Path:
        """The database's, as libpq reads it (PostgreSQL's documentation, "The Password File")."""
        return self.root / "database" / "password"

    @property
    def upload_key(self) -> Path:
        """What the engine uploads with; the target's host key is pinned in known_hosts beside it."""
        return self.root / "upload" / "key"

    @property
    def release(self) -> Path:
        """The signer's certificates, put here by its own `--prepare`."""
        return self.root / "release" / "release.asc"

    @property
    def target(self) -> Path:
        """The archive: `python -m coordinator.target`."""
        return self.root / "target"

    @property
    def sshd(self) -> Path:
        """The archive's door: its host key and configuration, apart from the archive's own key."""
        return self.root / "sshd"

    def token(self, name: str) -> Path:
        """The token of the person, the signer or a worker of that name."""
        return self.root / name / "token"

    def tokens(self) -> dict[str, Path]:
        """Those that are there, by the name of who has them."""
        return {path.parent.name: path for path in sorted(self.root.glob("*/token"))}


def make(shelf: Shelf, settings: Settings, names: list[str]) -> None:
    """What is not there yet: a token for each name, the password, the archive with its keys, the home's folders."""
    preparation.folders(settings.paths)
    preparation.archive_keyring(settings.paths)
    for name in names:
        preparation.secret(shelf.token(name))
    preparation.secret(shelf.password, "*:*:*:*:")
    _make_archive(shelf, settings)


def grant(shelf: Shelf, settings: Settings) -> None:
    """Let the database know every token, by its sha256."""
    store = app.store(settings)
    for name, path in shelf.tokens().items():
        preparation.grant(store, name, role_of(name), preparation.secret(path))
    store.close()


def role_of(name: str) -> Role:
    """What a token is good for: `signer` and `worker-…` are what they are called, everybody else is a person."""
    if name.startswith("worker-"):
        return Role.WORKER
    return Role.SIGNER if name == "signer" else Role.PERSON


def _make_archive(shelf: Shelf, settings: Settings) -> None:
    own = settings.targets[preparation.OWN]
    layout = Layout(shelf.target)
    Repository(layout).prepare(preparation.suites(settings), shelf.release.read_bytes())
    sshd.prepare(shelf.sshd, shelf.upload_key, shelf.upload_key.with_name("known_hosts"), own.port, own.host)
    # Whoever reads the archive's index needs its certificate, and must not see the folder that its key is in.
    preparation.write(settings.paths.target / layout.certificate.name, layout.certificate.read_bytes())


def main(arguments: list[str]) -> int:
    """The exit code is the error's own."""
    parser = argparse.ArgumentParser(prog="python -m coordinator.provision")
    parser.add_argument("--grant", action="store_true", help="let the database know the tokens that are there")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="who gets a token: operator, signer, worker-…")
    asked = parser.parse_args(arguments)
    try:
        if asked.grant:
            grant(Shelf(asked.folder), config.load())
        else:
            make(Shelf(asked.folder), config.load(), asked.names)
    except PatchfarmError as error:
        sys.stderr.write(f"patchfarm provision: {error.message}\n{error.advice}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
