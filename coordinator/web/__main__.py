# SPDX-License-Identifier: GPL-3.0-or-later
"""The web service as a process: `python -m coordinator.web`, listening where the settings say."""

import uvicorn

from coordinator import config
from coordinator.app import build
from coordinator.web import create_app

#: How long a connection may be idle, in seconds: longer than workers' heartbeats and signs of life are apart, so that
#: none is sent into one that is being closed.
_KEEP = 75


def endpoint(listen: str) -> tuple[str, int]:
    """Host and port of `host:port`; an IPv6 address stands in brackets."""
    host, _, port = listen.rpartition(":")
    return host.strip("[]") or "127.0.0.1", int(port)


def main() -> None:
    """Serve until a signal says otherwise."""
    settings = config.load()
    host, port = endpoint(settings.listen)
    app = create_app(build(settings), settings.paths.target / "repository")
    # A log's reader may be waiting; after some seconds it is cut off, and comes back.
    uvicorn.run(
        app,
        host=host,
        port=port,
        server_header=False,
        access_log=False,
        timeout_graceful_shutdown=3,
        timeout_keep_alive=_KEEP,
    )


if __name__ == "__main__":
    main()
