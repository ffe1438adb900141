# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m workers`: starts the worker that PATCHFARM_* in the environment describes.

With `--adopt FOLDER` it is one process of that worker, which sees through the attempt that the folder holds.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from workers import agent, keeper
from workers.config import BadConfig, from_environment
from workers.sandbox import SandboxError


def start(arguments: Sequence[str]) -> int:
    """The exit code: 2 for a setting that is wrong, 31 where no container engine answers."""
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    parser.add_argument("--adopt", type=Path, metavar="FOLDER")
    adopted: Path | None = parser.parse_args(arguments).adopt
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        config = from_environment()
        if adopted is None:
            agent.main(config)
        else:
            keeper.adopt(adopted, lambda ending: agent.assemble(config, ending)[0])
    except BadConfig as error:
        print(f"patchfarm worker: {error}", file=sys.stderr)
        return 2
    except SandboxError as error:
        print(f"patchfarm worker: {error}", file=sys.stderr)
        return 31
    return 0


if __name__ == "__main__":
    sys.exit(start(sys.argv[1:]))
