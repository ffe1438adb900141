# SPDX-License-Identifier: GPL-3.0-or-later
"""The signer as a process: `python -m coordinator.signer`, and with `--prepare` only what it needs to begin.

Its settings are three variables: PATCHFARM_URL, PATCHFARM_TOKEN_FILE, PATCHFARM_SIGNER_HOME.
"""

import argparse
import logging
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from coordinator import gpg
from coordinator.client import Client, connect
from coordinator.errors import BadRequest, PatchfarmError
from coordinator.signer import policy
from coordinator.signer.policy import SignerHome
from coordinator.signer.service import Signer

_LOG = logging.getLogger(__name__)

#: Seconds between two looks, and the most where the farm does not answer. Each look is a request: most of what an
#: idle farm does.
_PAUSE = 2.0
_LONGEST_PAUSE = 15.0


def main(arguments: list[str]) -> int:
    """The exit code is the error's own, 2 for a setting that is wrong."""
    parser = argparse.ArgumentParser(prog="python -m coordinator.signer")
    parser.add_argument("--prepare", action="store_true", help="make key and policy, print the certificates, and end")
    asked = parser.parse_args(arguments)
    try:
        home = SignerHome(Path(_setting("PATCHFARM_SIGNER_HOME")).absolute())
        rules = policy.prepare(home)
        if asked.prepare:
            sys.stdout.write(policy.certificates(home, rules))
            return 0
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        # It would tell of every look.
        logging.getLogger("httpx2").setLevel(logging.WARNING)
        _serve(Signer(_farm(), home, rules), home)
    except PatchfarmError as error:
        sys.stderr.write(f"patchfarm signer: {error.message}\n{error.advice}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"patchfarm signer: {error}\n")
        return 1
    return 0


def _serve(signer: Signer, home: SignerHome) -> None:
    """Look and look again until TERM comes, which may come at any moment: every step can be done once more."""
    signal.signal(signal.SIGTERM, _end)
    pause = _PAUSE
    try:
        while True:
            try:
                signer.look()
                pause = _PAUSE
            except PatchfarmError as error:
                _LOG.warning("action=look-failed reason=%s", error.message)
                pause = min(pause * 2, _LONGEST_PAUSE)
            time.sleep(pause)
    finally:
        gpg.stop(home.gnupg)


def _end(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def _farm() -> Client:
    path = Path(_setting("PATCHFARM_TOKEN_FILE"))
    token = path.read_text(errors="replace").strip()
    if not token or not token.isascii() or not token.isprintable():
        raise BadRequest(f"what is in {path} is no token", "Put the signer's token there, and nothing else.")
    return connect(_setting("PATCHFARM_URL"), token)


def _setting(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise BadRequest(f"{name} is not set", "The signer needs PATCHFARM_URL, _TOKEN_FILE and _SIGNER_HOME.")
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
