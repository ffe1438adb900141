# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs mmdebstrap: from an environment's indices to a tarball of a system. Nothing but the tarball is left behind."""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
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
    command = deb.bootstrap_command(environment, arch, folder / "root.tar")
    # Where root of another user namespace may look, which mmdebstrap's hook is unless the worker is root itself.
    with tempfile.TemporaryDirectory(prefix="patchfarm-") as hooks:
        _lay_out(Path(hooks), {name: deb.source_line(index) for name, index in optional.items()})
        lines, exit_code = _run(command, deb.required_sources(environment), Path(hooks), say, check)
    if exit_code != 0:
        raise broken(f"no base image for {environment.suite} {arch}: {deb.why_bootstrap_failed(lines)}")
    return deb.left_out(lines, optional, arch)


def _lay_out(folder: Path, optional: Mapping[str, str]) -> None:
    """What the hook needs: the scripts, and in a folder of their own the sources that may be left out."""
    for script in SCRIPTS.glob("*.sh"):
        shutil.copy(script, folder)
    sources = folder / "optional"
    sources.mkdir()
    for name, line in optional.items():
        (sources / name).write_text(line)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _run(
    command: list[str], stdin: str, hooks: Path, say: Callable[[bytes], None], check: Callable[[], None]
) -> tuple[list[str], int]:
    """Run it, saying what it says; answers its last lines and its exit code."""
    environment = {**os.environ, "PATCHFARM_SCRIPTS": str(hooks), "PATCHFARM_OPTIONAL": str(hooks / "optional")}
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
