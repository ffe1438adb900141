# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m workers`: starts the worker that PATCHFARM_* in the environment describes. It takes no arguments."""

import sys

from workers.agent import main
from workers.config import BadConfig, from_environment
from workers.sandbox import SandboxError


def start() -> int:
    """The exit code: 2 for a setting that is wrong, 31 where no container engine answers."""
    try:
        main(from_environment())
    except BadConfig as error:
        print(f"patchfarm worker: {error}", file=sys.stderr)
        return 2
    except SandboxError as error:
        print(f"patchfarm worker: {error}", file=sys.stderr)
        return 31
    return 0


if __name__ == "__main__":
    sys.exit(start())
