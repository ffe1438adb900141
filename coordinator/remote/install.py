# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts a worker on a host, and takes it away again. What runs there is not disturbed until the new one is complete.

Everything is in one folder that only the login's account may open: a folder for each release (the code, its packages),
the settings, the token, the worker's own home. Packages are those of the lock, by digest, from where the host's own pip
gets them.
"""

import io
import posixpath
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from coordinator.embedded.preparation import CODE
from coordinator.errors import HostUnready
from coordinator.model import sha256_of
from coordinator.remote import service
from coordinator.remote.book import Keeper
from coordinator.remote.service import Service
from coordinator.remote.ssh import Done, Remote

_LOCK = "workers/requirements.lock"
#: Seconds that pip may say nothing: it may have to compile where there are no wheels.
_PIP_SECONDS = 900


@dataclass(frozen=True)
class Release:
    """The worker's code as one tar, and the folder it will be in, named by what it is."""

    name: str
    tar: bytes


def release(code: Path = CODE) -> Release:
    """This farm's own. The same files make the same bytes."""
    paths = sorted(path for path in (code / "workers").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    with io.BytesIO() as made:
        with tarfile.open(fileobj=made, mode="w") as tar:
            for path in paths:
                _add(tar, path.relative_to(code).as_posix(), path.read_bytes())
        content = made.getvalue()
    return Release(f"release-{sha256_of(content)[:16]}", content)


def install(remote: Remote, made: Service, new: Release, note: Callable[[str], None]) -> None:
    """Make the release's folder, unless it is there and complete. Raises HostUnready."""
    folder = f"{made.host.folder}/{new.name}"
    # Twice, because mkdir gives the mode to the last folder alone.
    _must(remote, ["mkdir", "-p", "--", made.host.folder, f"{made.host.folder}/home"])
    _must(remote, ["chmod", "700", "--", made.host.folder, f"{made.host.folder}/home"])
    if remote.run(["test", "-f", f"{folder}/complete"]).code == 0:
        note("this release is there already")
        return
    note("copies the worker")
    _must(remote, ["rm", "-rf", "--", folder])
    _must(remote, ["mkdir", "--", folder])
    _must(remote, ["tar", "-x", "-C", folder], new.tar)
    note("installs its packages, by the lock")
    _must(remote, ["python3", "-m", "venv", f"{folder}/venv"], seconds=_PIP_SECONDS)
    pip = [f"{folder}/venv/bin/python", "-m", "pip", "install", "--quiet", "--require-hashes", "--no-input"]
    done = remote.run([*pip, "-r", f"{folder}/{_LOCK}"], seconds=_PIP_SECONDS)
    if done.code != 0:
        raise HostUnready(
            f"the worker's packages could not be installed: {done.last_line}",
            "Configure pip on the host (pip.conf) so that it finds packages, then add the worker again.",
        )
    remote.put(f"{folder}/complete", b"", 0o600)


def trust(remote: Remote, made: Service, keyrings: Mapping[str, bytes]) -> None:
    """Write the keyrings of the archives that it may build from, where it looks for them by their names."""
    folder = f"{made.host.folder}/home/keyrings"
    _must(remote, ["mkdir", "-p", "--", folder])
    for name, certificates in keyrings.items():
        remote.put(f"{folder}/{name}.pgp", certificates, 0o644)


def configure(remote: Remote, made: Service, new: Release, settings: Mapping[str, str]) -> None:
    """Write the settings, what runs the release, and what keeps it running."""
    remote.put(f"{made.host.folder}/settings", service.settings(settings), 0o600)
    remote.put(f"{made.host.folder}/run", service.run(made.host.folder, new.name), 0o700)
    if made.host.keeper is Keeper.NONE:
        remote.put(f"{made.host.folder}/service", service.script(), 0o700)
        return
    _must(remote, ["mkdir", "-p", "--", posixpath.dirname(made.place)])
    remote.put(made.place, service.unit(made), 0o644)


def start(remote: Remote, made: Service) -> None:
    """Start the worker, or start it anew. Raises HostUnready."""
    # Not asked for again: where there is no polkit an account may not, though an administrator did it for it.
    if made.host.keeper is Keeper.USER and remote.run(["test", "-e", made.lingering]).code != 0:
        _must(remote, ["loginctl", "enable-linger"])
    for command in made.start():
        _must(remote, command, seconds=120)


def tidy(remote: Remote, made: Service, new: Release) -> None:
    """Remove the releases that nothing runs any more."""
    find = ["find", made.host.folder, "-maxdepth", "1", "-name", "release-*", "-not", "-name", new.name]
    remote.run([*find, "-exec", "rm", "-rf", "--", "{}", "+"], seconds=120)


def told(remote: Remote, made: Service) -> str:
    """What the worker said last, on a line."""
    lines = remote.run(made.told()).out.strip().splitlines()
    return " / ".join(line.strip() for line in lines[-3:]) or "nothing"


def remove(remote: Remote, made: Service) -> None:
    """Stop it and remove all of it; what is gone already is no trouble. Raises HostUnready."""
    there = f"{made.host.folder}/service" if made.host.keeper is Keeper.NONE else made.place
    if remote.run(["test", "-f", there]).code == 0:
        if made.host.keeper is not Keeper.NONE:
            remote.put(there, service.unit(made, last=True), 0o644)
        for command in made.end():
            _must(remote, command, seconds=120)
        _must(remote, [f"{made.host.folder}/run", "workers.leave"], seconds=300)
    _must(remote, ["rm", "-rf", "--", made.host.folder], seconds=300)


def _must(remote: Remote, argv: Sequence[str], given: bytes = b"", seconds: int = 60) -> Done:
    done = remote.run(argv, given, seconds)
    if done.code != 0:
        raise HostUnready(
            f"`{argv[0]}` failed there: {done.last_line}", "Correct that there, then add the worker again."
        )
    return done


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = 0o644
    tar.addfile(member, io.BytesIO(content))
