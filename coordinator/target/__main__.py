# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded archive as a process: takes in what arrives in the incoming queue of the folder that is named."""

import logging
import signal
import sys
import threading
from pathlib import Path

from coordinator import gpg
from coordinator.errors import PatchfarmError
from coordinator.target.reprepro import Layout, Repository

_LOG = logging.getLogger("patchfarm.target")
#: Seconds between two looks at the queue.
_LOOK = 0.5
#: Seconds until an upload that could not be taken in is tried again.
_PAUSE = 10.0


def main() -> None:
    """Until it is told to end."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    layout = Layout(Path(sys.argv[1]))
    repository = Repository(layout)
    while not ending.wait(_LOOK):
        if repository.waiting():
            _take_in(repository, ending)
    gpg.stop(layout.gnupg)


def _take_in(repository: Repository, ending: threading.Event) -> None:
    try:
        repository.take_in()
        _LOG.info("action=taken-in")
    except PatchfarmError as error:
        _LOG.warning("action=refused reason=%s", error.message)
        ending.wait(_PAUSE if repository.waiting() else 0)


if __name__ == "__main__":
    main()
