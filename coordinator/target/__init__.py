# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive that updates are published to: how any target's index is read, and the one an embedded farm has itself.

`python -m coordinator.target FOLDER` is that archive as a process. A target knows no database and no signing key of
the farm's; its own key signs its indices, and it takes uploads by the release key alone.
"""

from coordinator.target.index import ArchiveTarget

__all__ = ["ArchiveTarget"]
