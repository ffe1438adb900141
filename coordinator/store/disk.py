# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells a full disk from every other trouble with files."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coordinator.errors import DiskFull

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def room_in(folder: Path) -> Iterator[None]:
    """Raises DiskFull where the system says that the disk, or the farm's share of it, is full."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull(f"no space is left in {folder}") from error
        raise
