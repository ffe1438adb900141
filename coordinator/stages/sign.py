# SPDX-License-Identifier: GPL-3.0-or-later
"""Sign: whether what the signer returned is what was approved, with signatures and nothing else added.

Enters signing; needs the signer's files; leaves for publishing. A package or a tarball is never changed by signing.
"""

from collections.abc import Sequence

from coordinator.dsc import without_epoch
from coordinator.errors import SignerRefused
from coordinator.model import File, Update
from coordinator.work import SIGNED_INSIDE


def check_signed(update: Update, files: Sequence[File]) -> tuple[File, ...]:
    """The files to publish, the one .changes first. Raises SignerRefused where they are not those of the update."""
    approved = {file.name: file for file in (*update.source.files, *update.built_files())}
    changes = f"{update.source.name}_{without_epoch(update.source.version)}_multi.changes"
    names = [file.name for file in files]
    wanted = {name for name in approved if not name.endswith(".changes")}
    if not names or names[0] != changes or set(names[1:]) != wanted or len(names) != len(wanted) + 1:
        differ = sorted({*names} ^ {changes, *wanted}) or names
        raise SignerRefused(f"the signer returned other files than the update has: {', '.join(differ)}")
    for file in files[1:]:
        if not file.name.endswith(SIGNED_INSIDE) and file != approved[file.name]:
            raise SignerRefused(f"the signer returned {file.name} with other bytes than were approved")
    return tuple(files)
