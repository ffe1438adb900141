# SPDX-License-Identifier: GPL-3.0-or-later
"""Publish: what goes to the target archive, and in which order.

Enters publishing with the signed files; refuses what people did not approve; leaves published once the target's
signed index shows the .dsc that was signed, and not merely its version.
"""

from collections.abc import Sequence

from coordinator.errors import NotAllowed
from coordinator.model import File, Update
from coordinator.ports import SourceEntry
from coordinator.work import SIGNED_INSIDE


def in_order(update: Update) -> tuple[File, ...]:
    """The signed files as they are sent: the .changes last, for its arrival starts the target's work.

    Raises NotAllowed where a package or a tarball among them is not what enough people have approved.
    """
    approved = {*update.source.files, *update.built_files()}
    strange = [file.name for file in update.signed if file not in approved and not file.name.endswith(SIGNED_INSIDE)]
    if strange:
        raise NotAllowed(f"{', '.join(strange)} is not what was approved for update {update.id}")
    valid = len(update.valid_approvals())
    if valid < update.approvals_needed:
        raise NotAllowed(f"update {update.id} has {valid} of {update.approvals_needed} approvals")
    return tuple(sorted(update.signed, key=lambda file: (file.name.endswith(".changes"), file.name)))


def has_arrived(update: Update, shown: Sequence[SourceEntry]) -> bool:
    """Whether the very .dsc that was signed is among what the target shows of the source."""
    signed = {file.sha256 for file in update.signed if file.name == update.source.dsc.name}
    return any(file.sha256 in signed for entry in shown for file in entry.files)


def displaced(update: Update, shown: Sequence[SourceEntry]) -> str:
    """Why the target will never show what was signed; empty where it still may."""
    source, version = update.source.name, update.source.version
    if has_arrived(update, shown) or all(entry.version != version for entry in shown):
        return ""
    return f"the target has {source} {version} with another .dsc than the one that was signed"
