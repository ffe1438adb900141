# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds attempts whose process is gone, and starts another process for each.

A process of its own, not a thread: it is started the same way whatever became of the one before, and ends with its
attempt. Whether the attempt is still this worker's to do, it asks the coordinator first.
"""

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from workers import held
from workers.ending import BY_SIGNAL, End, Ending
from workers.steps import label_of
from workers.worker import Worker

_LOG = logging.getLogger(__name__)

#: Seconds that adopters get to leave what they have.
_PATIENCE: Final = 20.0
#: Seconds after which an attempt whose adopter ended without clearing it away is adopted again.
_AGAIN: Final = 15.0


class Keeper:
    """Looks after the attempts in a worker's home. Used by one thread at a time.

    It contains the labels of those attempts whose containers must stay, as they are when it is asked.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._adopters: dict[Path, tuple[subprocess.Popen[bytes], float]] = {}

    def __contains__(self, label: object) -> bool:
        return label in {label_of(*held.key_of(folder)) for folder in self._folders()}

    def _folders(self) -> list[Path]:
        return [path for path in held.folder_of(self._home).glob("*") if held.is_attempt(path)]

    def none_is_in_hand(self) -> bool:
        """Whether every attempt there is has lost its process."""
        return len(held.orphans(self._home)) == len(self._folders())

    def adopt_orphans(self) -> None:
        """Start an adopter for each attempt that no process has in hand."""
        self._forget_adopters()
        for folder in held.orphans(self._home):
            adopter, since = self._adopters.get(folder, (None, 0.0))
            if adopter is not None and (adopter.poll() is None or time.monotonic() - since < _AGAIN):
                continue
            _LOG.info("%s has lost its process, and gets another", folder.name)
            command = [sys.executable, "-m", "workers", "--adopt", str(folder)]
            self._adopters[folder] = subprocess.Popen(command), time.monotonic()

    def _forget_adopters(self) -> None:
        """Of attempts that are done: an ended process is there until somebody asks for its exit code."""
        ended = [folder for folder, (adopter, _) in self._adopters.items() if adopter.poll() is not None]
        for folder in ended:
            if not folder.exists():
                del self._adopters[folder]

    def end(self, how: End) -> None:
        """Have every adopter end the way the worker does, and wait for them."""
        number = next((number for number, meant in BY_SIGNAL.items() if meant is how), signal.SIGTERM)
        adopters = [adopter for adopter, _ in self._adopters.values() if adopter.poll() is None]
        for adopter in adopters:
            adopter.send_signal(number)
        until = time.monotonic() + _PATIENCE
        for adopter in adopters:
            try:
                adopter.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                _LOG.warning("process %s goes on with its attempt", adopter.pid)


def adopt(folder: Path, assemble: Callable[[Ending], Worker]) -> None:
    """An adopter's own process: see the attempt through, until told to end."""
    ending = Ending()
    for number, how in BY_SIGNAL.items():
        signal.signal(number, lambda *_, how=how: ending.ask(how))
    assemble(ending).adopt(folder)
