# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs mmdebstrap: from an environment's indices to a tarball of a system. Nothing but the tarball is left behind."""

import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from workers import deb
from workers.errors import broken
from workers.wire.arch import Arch
from workers.wire.order import Environment

#: The fixed scripts that go into a base image.
SCRIPTS = Path(str(resources.files("workers.sandbox")))


def bootstrap(
    environment: Environment, arch: Arch, folder: Path, say: Callable[[bytes], None], check: Callable[[], None]
) -> tuple[str, ...]:
    """Make `root.tar` in the folder; answers the optional indices that were left out. Raises AttemptEnded."""
    optional = deb.optional_sources(environment)
    sources = folder / "optional"
    sources.mkdir(mode=0o755)
    for name, index in optional.items():
        (sources / name).write_text(deb.source_line(index))
    command = deb.bootstrap_command(environment, arch, folder / "root.tar")
    lines, exit_code = _run(command, deb.required_sources(environment), sources, say, check)
    if exit_code != 0:
        raise broken(f"no base image for {environment.suite} {arch}: {deb.why_bootstrap_failed(lines)}")
    return deb.left_out(lines, optional, arch)


def _run(
    command: list[str], stdin: str, optional: Path, say: Callable[[bytes], None], check: Callable[[], None]
) -> tuple[list[str], int]:
    """Run it, saying what it says; answers its last lines and its exit code."""
    environment = {**os.environ, "PATCHFARM_SCRIPTS": str(SCRIPTS), "PATCHFARM_OPTIONAL": str(optional)}
    try:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise broken("mmdebstrap is not installed on the worker") from error
    lines: deque[str] = deque(maxlen=2000)
    reader = threading.Thread(target=_carry, args=(process, lines, say), daemon=True)
    with process:
        assert process.stdin is not None  # noqa: S101  # it is a pipe
        process.stdin.write(stdin.encode())
        process.stdin.close()
        reader.start()
        try:
            _wait(process, check)
        finally:
            # The whole group: mmdebstrap alone would wait for what it started, then unmounts and removes everything.
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            reader.join()
    return list(lines), process.returncode


def _wait(process: "subprocess.Popen[bytes]", check: Callable[[], None]) -> None:
    while process.poll() is None:
        check()
        time.sleep(0.2)


def _carry(process: "subprocess.Popen[bytes]", lines: deque[str], say: Callable[[bytes], None]) -> None:
    assert process.stderr is not None  # noqa: S101  # it is a pipe
    for line in process.stderr:
        lines.append(line.decode(errors="replace"))
        say(line)
