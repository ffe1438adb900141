# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine as a process: `python -m coordinator.engine`. One is enough; two do no harm.

Where its database is away it ends, and whoever looks after it starts it again.
"""

import logging
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

from coordinator import app, config

#: How many uploads and looks at targets go on at the same time.
_TARGETS = 4
#: Seconds after which it looks at the outbox, poked or not.
_LOOK = 1


def main() -> None:
    """Until it is told to end."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    with ThreadPoolExecutor(_TARGETS) as targets:
        engine, wake = app.engine(config.load(), targets)
        while not ending.is_set():
            engine.tick()
            wake.wait(_LOOK)


if __name__ == "__main__":
    main()
