# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m workers.leave`: removes all that the worker which PATCHFARM_* describe has in its container engine.

For a worker that has ended and will not come again: nothing is left that could go on with its containers. Base images
and layers stay, for workers of one engine share them.
"""

import platform
import sys

from workers.config import BadConfig, WorkerConfig, from_environment
from workers.images import DockerImages
from workers.proxy import DockerProxy, own_arch
from workers.sandbox import SandboxError
from workers.sandbox.docker import DockerSandbox, connect, engine_errors, owner


def leave(config: WorkerConfig) -> None:
    """Containers, the images between their steps, the proxy, its networks and what it kept. Raises SandboxError."""
    client, mine = connect(), owner(config.farm, config.worker)
    DockerSandbox(client, config.farm, config.worker).sweep(keep=())
    images = DockerImages(client, config.home, mine, config.keyrings)
    DockerProxy(client, images, config.home, own_arch(platform.machine(), config.tiers), mine).retire()
    with engine_errors():
        labels = [f"{key}={value}" for key, value in mine.items()]
        for volume in client.volumes.list(filters={"label": labels}):
            volume.remove()


def start() -> int:
    """The exit code: 2 for a setting that is wrong, 31 where no container engine answers."""
    try:
        leave(from_environment())
    except (BadConfig, SandboxError) as error:
        print(f"patchfarm worker: {error}", file=sys.stderr)
        return 2 if isinstance(error, BadConfig) else 31
    return 0


if __name__ == "__main__":
    sys.exit(start())
