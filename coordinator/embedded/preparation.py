# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes in a farm's folder whatever is not there yet; what is there stays as it is.

Only its own account may look inside. Tokens are made here and written to files; the database has their sha256 alone.
"""

import errno
import getpass
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from coordinator import app
from coordinator.config import Home, Settings, TargetSettings
from coordinator.embedded import machine
from coordinator.errors import DiskFull, PatchfarmError
from coordinator.model import Clearance, Role, sha256_of
from coordinator.ports import Store
from coordinator.recipe import Recipes
from coordinator.target import sshd
from coordinator.target.reprepro import Layout, Repository

#: Debian's own certificates, of the package debian-archive-keyring.
ARCHIVE_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
#: The folder that the packages `coordinator` and `workers` are in.
CODE = Path(__file__).parents[2]
#: The name of the farm's own archive, which the shipped recipes publish to, and the key it is uploaded to with.
OWN = "archive"
_IDENTITY = "secrets/upload"
#: The longest path of a folder that sockets may be in: a unix socket's own may have 107 bytes (unix(7)), and
#: supervisord adds its process id to the name while it begins.
_LONGEST = 80


@dataclass(frozen=True)
class Token:
    """A token that an embedded farm gives out, and to whom."""

    file: str
    name: str
    role: Role


def tokens() -> tuple[Token, ...]:
    """One for each who speaks to the web service; the person is whoever started the farm."""
    return (
        Token("me.token", getpass.getuser(), Role.PERSON),
        Token("worker.token", machine.worker_name(), Role.WORKER),
        Token("signer.token", "signer", Role.SIGNER),
    )


def prepare(home: Home) -> Settings:
    """Make a home ready to be started; quick where it is ready already. Raises PatchfarmError, DiskFull."""
    folders(home)
    if not home.settings.exists():
        write(home.settings, first_settings())
    archive_keyring(home)
    settings = Settings(home=home.root)  # type: ignore[call-arg]  # the other sources fill it
    if own_target(settings) is not None:
        target(home, settings)
    return settings


def folders(home: Home) -> None:
    """The farm's folders, open to its account alone. Raises PatchfarmError where they cannot be made."""
    inside = (home.log, home.run, home.secrets, home.people, home.signer, home.target, home.worker, home.redis)
    try:
        home.root.mkdir(parents=True, exist_ok=True)
        home.root.chmod(0o700)
        for folder in (*inside, home.blobs, home.attempts, home.keyrings, home.keyrings / "submitters"):
            folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _unwritable(home.root, error) from error


def first_settings() -> str:
    """What has to be chosen once: a name that marks this farm's containers, ports that are free, its own archive."""
    web, sshd = machine.free_ports(2)
    return (
        "# What was chosen when this farm first started; coordinator/defaults.toml explains every setting.\n"
        f'farm = "f{secrets.token_hex(3)}"\n'
        f'listen = "127.0.0.1:{web}"\n'
        f'url = "http://127.0.0.1:{web}"\n'
        "\n"
        "# The archive that this farm has itself.\n"
        f"[targets.{OWN}]\n"
        'host = "127.0.0.1"\n'
        f"port = {sshd}\n"
        f'user = "{getpass.getuser()}"\n'
        'incoming = "incoming"\n'
        f'identity = "{_IDENTITY}"\n'
        'known_hosts = "target/known_hosts"\n'
        f'url = "http://127.0.0.1:{web}/repository"\n'
        'keyring = "target/archive.asc"\n'
    )


def own_target(settings: Settings) -> TargetSettings | None:
    """The archive that the farm has itself; nothing where farm.toml names another."""
    found = settings.targets.get(OWN)
    return found if found is not None and str(found.identity) == _IDENTITY else None


def target(home: Home, settings: Settings) -> None:
    """The farm's own archive, which takes uploads by the farm's own release key; quick where nothing has changed."""
    Repository(Layout(home.target)).prepare(suites(settings), _release_certificate(home))
    sshd.prepare(home.target, home.root / _IDENTITY, home.target / "known_hosts", settings.targets[OWN].port)


def suites(settings: Settings) -> list[str]:
    """The suites whose recipes publish to the farm's own archive."""
    recipes = Recipes(settings.recipes)
    return [suite for suite in recipes.suites() if recipes.of_suite(suite)[0].publish.target == OWN]


def _release_certificate(home: Home) -> bytes:
    """The signer's public certificate. The signer is asked, as a process of its own: its folder is not opened here."""
    kept = home.target / "release.asc"
    if not kept.exists():
        command = [sys.executable, "-m", "coordinator.signer", "--prepare"]
        environment = {**os.environ, "PATCHFARM_SIGNER_HOME": str(home.signer), "PYTHONPATH": str(CODE)}
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise PatchfarmError(f"the signer could not make its key: {' '.join(said)}")
        write(kept, done.stdout)
    return kept.read_bytes()


def token(home: Home, name: str) -> str:
    """The token in a file under `secrets/`."""
    return secret(home.secrets / name)


def secret(path: Path, before: str = "") -> str:
    """What is in a file: 256 random bits after what has to stand before them, made when it is first asked for."""
    if not path.exists():
        write(path, f"{before}{secrets.token_urlsafe(32)}\n")
    return path.read_text().strip()


def grant_tokens(home: Home, settings: Settings) -> None:
    """Make every token that is not there yet, and let the farm's database know them all."""
    store = app.store(settings)
    for each in tokens():
        grant(store, each.name, each.role, token(home, each.file))
    store.close()


def grant(store: Store, name: str, role: Role, token: str) -> None:
    """Let the database know a token of the farm's own machine.

    A worker whose token is new may see all, as whoever has that machine can; what people decide later stays.
    """
    sha256 = sha256_of(token)
    if role is Role.WORKER and store.bearer(sha256) is None:
        store.admit(name, None, Clearance.EMBARGOED)
    store.grant(name, role, sha256)


def archive_keyring(home: Home) -> None:
    """A copy of Debian's keyring, renewed when the package's is newer: sources from the archive are checked with it."""
    own = home.keyrings / "debian-archive.pgp"
    if not ARCHIVE_KEYRING.exists():
        raise PatchfarmError(f"{ARCHIVE_KEYRING} is not there", "Type: sudo apt-get install debian-archive-keyring")
    if not own.exists() or own.stat().st_mtime < ARCHIVE_KEYRING.stat().st_mtime:
        write(own, ARCHIVE_KEYRING.read_bytes())


def sockets(home: Home) -> Path:
    """The folder for unix sockets: `run/`, or where its path is too long for them, a private one named in it."""
    if len(os.fsencode(home.run)) <= _LONGEST:
        return home.run
    named = home.run / "sockets"
    if named.exists() and _private(Path(named.read_text().strip())):
        return Path(named.read_text().strip())
    folder = Path(tempfile.mkdtemp(prefix="patchfarm-"))
    write(named, f"{folder}\n")
    return folder


def write(path: Path, content: str | bytes) -> None:
    """A file of mode 600 that is there whole or not at all."""
    try:
        with tempfile.NamedTemporaryFile("wb", dir=path.parent, prefix=".", delete=False) as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error


def remove_sockets(home: Home) -> None:
    """The private folder, if there is one; the farm is down."""
    named = home.run / "sockets"
    if named.exists():
        shutil.rmtree(named.read_text().strip(), ignore_errors=True)
        named.unlink()


def _private(folder: Path) -> bool:
    """Whether it is still the folder that was made: after a restart of the machine anybody could have made it anew."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return False
    return folder.is_dir() and not folder.is_symlink() and found.st_uid == os.getuid() and found.st_mode & 0o077 == 0


def _unwritable(path: Path, error: OSError) -> PatchfarmError:
    if error.errno == errno.ENOSPC:
        return DiskFull(f"no space is left for {path}")
    return PatchfarmError(f"{path} cannot be written: {error.strerror}", "Name a folder of yours with PATCHFARM_HOME.")
