# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine as a process: `python -m coordinator.engine`. One is enough; two do no harm.

Where its database is away it ends, and whoever looks after it starts it again.
"""

import logging
import signal
import threading

from coordinator import app, config

#: Seconds after which it looks at the outbox, poked or not.
_LOOK = 1


def main() -> None:
    """Until it is told to end."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    engine, wake = app.engine(config.load())
    while not ending.is_set():
        engine.tick()
        wake.wait(_LOOK)


if __name__ == "__main__":
    main()
