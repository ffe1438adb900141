# SPDX-License-Identifier: GPL-3.0-or-later
"""Publish: what goes to the target archive, and in which order.

Enters publishing with the signed files; refuses what people did not approve; leaves published once the target's
signed index shows the version.
"""

from coordinator.errors import NotAllowed
from coordinator.model import File, Update
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
