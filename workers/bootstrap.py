# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs mmdebstrap: from an environment's indices to a tarball of a system. Nothing but the tarball is left behind."""

import hashlib
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
from workers.keyring import ending_of
from workers.wire.arch import Arch
from workers.wire.order import Environment

#: The fixed scripts that go into a base image.
SCRIPTS = Path(str(resources.files("workers.sandbox")))


def bootstrap(
    environment: Environment,
    arch: Arch,
    folder: Path,
    keyring: Path,
    say: Callable[[bytes], None],
    check: Callable[[], None],
) -> tuple[str, ...]:
    """Make `root.tar` in the folder, trusting nothing but the keyring. Raises AttemptEnded.

    Answers the optional indices that were left out.
    """
    optional = deb.optional_sources(environment)
    command = deb.bootstrap_command(environment, arch, folder / "root.tar")
    # Where root of another user namespace may look, which mmdebstrap and its hook are unless the worker is root itself,
    # and `_apt`. It cleans up after itself; what it could not remove, nobody else can.
    with tempfile.TemporaryDirectory(prefix=_prefix(folder.parent), ignore_cleanup_errors=True) as hooks:
        trusted = Path(hooks) / f"archive-keyring{ending_of(keyring)}"
        shutil.copyfile(keyring, trusted)
        _lay_out(Path(hooks), {name: deb.source_line(index, trusted) for name, index in optional.items()})
        lines, exit_code = _run(command, deb.required_sources(environment, trusted), Path(hooks), say, check)
    if exit_code != 0:
        raise broken(f"no base image for {environment.suite} {arch}: {deb.why_bootstrap_failed(lines)}")
    return deb.left_out(lines, optional, arch)


def clear(home: Path) -> None:
    """Remove what killed processes of the worker with this home left of images; nobody may be making one."""
    left = (*home.glob("image-*"), *Path(tempfile.gettempdir()).glob(f"{_prefix(home)}*"))
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)


def _prefix(home: Path) -> str:
    return f"patchfarm-{hashlib.sha256(bytes(home)).hexdigest()[:12]}-"


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
    missing = [program for program in ("setpriv", "unshare", command[0]) if shutil.which(program) is None]
    if missing:
        raise broken(f"{' and '.join(missing)} not installed on the worker")
    ours = {"PATCHFARM_SCRIPTS": str(hooks), "PATCHFARM_OPTIONAL": str(hooks / "optional"), "TMPDIR": str(hooks)}
    process = subprocess.Popen(
        [*_bound_to_this_process(), *command],
        env={**os.environ, **ours},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
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


def _bound_to_this_process() -> list[str]:
    """What runs a command so that it ends with this process, however that ends.

    As root mmdebstrap mounts the machine's own /dev/shm where it unpacks, and leaves it mounted when its output has
    nowhere to go: whoever then removed its folder would empty that. So nobody else sees its mounts, and they are gone
    with the namespace's last process. Who may not mount has none, and mmdebstrap's user namespace has its own.
    """
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() == 0 and subprocess.run([*namespaces, "true"], capture_output=True).returncode == 0:
        return ["setpriv", "--pdeathsig", "KILL", *namespaces]
    return ["setpriv", "--pdeathsig", "TERM"]


def _wait(process: "subprocess.Popen[bytes]", check: Callable[[], None]) -> None:
    while process.poll() is None:
        check()
        time.sleep(0.2)


def _carry(process: "subprocess.Popen[bytes]", lines: deque[str], say: Callable[[bytes], None]) -> None:
    assert process.stderr is not None  # noqa: S101  # it is a pipe
    for line in process.stderr:
        lines.append(line.decode(errors="replace"))
        say(line)
