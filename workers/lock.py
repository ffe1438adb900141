# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks between the processes of one worker: files, locked with flock(2), so that a lock ends with its process."""

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

#: Seconds between two tries.
_PAUSE = 0.2


@contextlib.contextmanager
def hold(path: Path, check: Callable[[], None]) -> Iterator[None]:
    """Have the lock, as soon as nobody else has it; `check` may raise to stop waiting."""
    with path.open("w") as file:
        while not _taken(file.fileno()):
            check()
            time.sleep(_PAUSE)
        yield


@contextlib.contextmanager
def hold_if_free(path: Path) -> Iterator[bool]:
    """Have the lock, or not where somebody else has it."""
    with path.open("w") as file:
        yield _taken(file.fileno())


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
