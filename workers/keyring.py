# SPDX-License-Identifier: GPL-3.0-or-later
"""The archives' keyrings that a worker trusts. An order names one and never brings one.

What an archive's packages run while a base image is made, they run outside of any container: so it is for whoever runs
the machine to say which archives may, and never for the coordinator alone.
"""

import re
from pathlib import Path
from typing import Final

from workers.errors import broken

#: Where distributions' own packages have theirs, as `debian-archive-keyring.gpg` or `ubuntu-archive-keyring.gpg`.
SHARED: Final = Path("/usr/share/keyrings")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")


def keyring_in(folder: Path, name: str, shared: Path = SHARED) -> Path:
    """The file with the certificates: of the worker's own folder, or of the machine's. Raises AttemptEnded."""
    if not _NAME.fullmatch(name):
        raise broken(f"the order names a keyring that cannot be one: {name[:80]!r}")
    possible = [*(folder / f"{name}{ending}" for ending in (".asc", ".pgp", ".gpg")), shared / f"{name}-keyring.gpg"]
    found = next((path for path in possible if path.is_file()), None)
    if found is None:
        raise broken(f"the worker has no keyring {name!r}; put it into {folder} as {name}.pgp")
    return found


def ending_of(keyring: Path) -> str:
    """What apt wants the file's name to end with, whatever it is called here."""
    with keyring.open("rb") as stream:
        return ".asc" if stream.read(5) == b"-----" else ".gpg"
