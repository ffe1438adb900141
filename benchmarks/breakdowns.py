# SPDX-License-Identifier: GPL-3.0-or-later
"""What can happen to a machine beside its processes: its container engine is killed, and its disks are full.

Only on a machine of the benchmark's own (`apart`). A disk is full for as long as is held here, whatever is removed from
it meanwhile, and then has room again.
"""

import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOSPC
from pathlib import Path

from benchmarks import apart, kit
from benchmarks.kit import MIB, Farm
from coordinator.embedded import machine
from coordinator.errors import DiskFull, PatchfarmError

#: Seconds that a disk is full: the farm's own faults are tried again at once, then after 30 seconds, then after 120.
FULL = 20.0
#: Seconds between two looks at whether somebody has removed something, and between two questions.
_AGAIN, _PAUSE = 0.02, 0.5
#: Who must not be surprised by a full disk: a worker may, as it says that of its attempt.
_ANSWER = ("web", "engine", "signer")
#: What is written to see that a disk is full, and what of freed room is taken at once.
_PAGE, _PIECES = 4096, (16 * MIB, MIB, 4096)


def engine_of_containers_killed(farm: Farm, _update: int) -> str:
    """Dockerd: its containers end with it, where it does not keep them alive. What a newcomer types brings it back."""
    os.kill(int(Path("/var/run/docker.pid").read_text()), 9)
    began = time.monotonic()
    command = [str(kit.ROOT / "patchfarm"), "up"]
    done = subprocess.run(command, env=dict(farm.environment), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"patchfarm up ended with {done.returncode}: {done.stderr}")
    return f"up again after {time.monotonic() - began:.1f} s"


def disk_of_worker_full(farm: Farm, update: int) -> str:
    """Where the worker keeps what it has in hand."""
    return full(farm, update, farm.home.worker)


def disk_of_engine_full(farm: Farm, update: int) -> str:
    """Where the container engine keeps images, and containers what they write."""
    return full(farm, update, apart.ENGINE_DISK)


def disk_of_farm_full(farm: Farm, update: int) -> str:
    """Where database, files, attempts' logs, the broker's file and the services' logs are."""
    return full(farm, update, farm.home.root)


def full(farm: Farm, update: int, disk: Path) -> str:
    """Let a disk be full for some time. Meanwhile whoever asks is answered, and so is whoever wants a change."""
    codes: Counter[int] = Counter()
    with full_disk(disk) as filler:
        jobs = ", ".join(f"{job.kind} was {job.state}" for job in farm.client.update(update).jobs)
        until = time.monotonic() + FULL
        while time.monotonic() < until:
            codes[_asked(farm, update)] += 1
            time.sleep(_PAUSE)
    wrong = [f"exit code {code}" for code in codes if code not in (0, DiskFull.exit_code)]
    wrong += [f"a traceback in {name}.log" for name in _ANSWER if "Traceback" in _log(farm, name)]
    if wrong:
        raise RuntimeError(f"while {disk} was full: {', '.join(wrong)}")
    said = f"the farm said so {codes[DiskFull.exit_code]} times of {codes.total()}"
    return f"{filler.refused} writes found no room on {disk.name}, {jobs}; {said}"


def _asked(farm: Farm, update: int) -> int:
    """The exit code of a question or of a wish. At the first stage, the wish is what lets the work begin."""
    try:
        farm.client.update(update)
    except PatchfarmError as error:
        return error.exit_code
    wish = farm.command("worker", "resume", machine.worker_name())
    return subprocess.run(wish, cwd=kit.ROOT, env=dict(farm.environment), capture_output=True).returncode


def _log(farm: Farm, service: str) -> str:
    return (farm.home.log / f"{service}.log").read_text(errors="replace")


@contextmanager
def full_disk(disk: Path) -> Iterator["Filler"]:
    """A disk without room from the first moment to the last, whatever is removed from it meanwhile."""
    filler, over = Filler(disk), threading.Event()

    def keep() -> None:
        while not over.wait(_AGAIN):
            filler.fill()

    # At once, for a stage may be short.
    size = apart.shrink(disk)
    filler.fill()
    thread = threading.Thread(target=keep)
    thread.start()
    try:
        yield filler
    finally:
        over.set()
        thread.join()
        filler.free()
        apart.resize(disk, size)


class Filler:
    """A file that takes all the room there is; `refused` is how often a write found none, and the disk had none."""

    def __init__(self, disk: Path) -> None:
        self._path = disk / "filler"
        self._size = 0
        self.refused = 0

    def fill(self) -> None:
        """Take all that is left."""
        with self._path.open("ab") as file:
            for piece in _PIECES:
                with suppress(OSError):
                    while True:
                        os.posix_fallocate(file.fileno(), self._size, piece)
                        self._size += piece
            while not self._is_refused(file.fileno()):
                self._size += _PAGE

    def _is_refused(self, file: int) -> bool:
        try:
            os.pwrite(file, bytes(_PAGE), self._size)
        except OSError as error:
            if error.errno != ENOSPC:
                raise
            self.refused += os.fstatvfs(file).f_bavail == 0
            return True
        return False

    def free(self) -> None:
        """Give it all back."""
        self._path.unlink(missing_ok=True)
