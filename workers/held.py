# SPDX-License-Identifier: GPL-3.0-or-later
"""What a worker has in hand, on its own disk: enough for another process to go on where one was killed.

One folder for each attempt, locked by the process that sees it through. A lock ends with its process, however that
ends: an attempt whose folder is there and not locked is an orphan. Nothing here is believed over the coordinator's
fencing.
"""

import contextlib
import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from workers.wire.arch import Arch, Tier
from workers.wire.codec import WireError, decode, encode
from workers.wire.order import JobKey, JobKind, Order
from workers.wire.report import UNKNOWN, StepTiming, Usage

#: How often a lock is asked for that may be free in a moment.
_TRIES: Final = 20
_NAME = re.compile(r"(\d+)-([a-z]+)-([a-z0-9]+)-(\d+)")


@dataclass(frozen=True)
class Progress:
    """How far an attempt has come. Times are of time.monotonic(), which all processes since the machine's start share.

    `step` is the number of the one that runs, or runs next, from `image`; its output begins at `since` in the log.
    `base` is the image that it all began from; `layer` the key of what the preparing steps lead to. `until` is 0 before
    there is a time limit.
    """

    order: Order
    tier: Tier
    adopted: int = 0
    base: str = ""
    left_out: tuple[str, ...] = ()
    image: str = ""
    layer: str = ""
    packages_sha256: str = ""
    step: int = 0
    since: int = 0
    began: float = 0.0
    until: float = 0.0
    notes: int = 0
    timings: tuple[StepTiming, ...] = ()
    usage: Usage = UNKNOWN


class Held:
    """The folder of one attempt, for the process that has its lock."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self.folder = folder
        self.progress = progress

    @property
    def log(self) -> Path:
        """The attempt's log."""
        return self.folder / "log"

    def save(self, **changes: object) -> None:
        """Change the progress, so that it survives this process."""
        self.progress = replace(self.progress, **changes)  # type: ignore[arg-type]  # its fields, by name
        _write(self.folder, self.progress)


def folder_of(home: Path) -> Path:
    """Where the folders of attempts are."""
    return home / "attempts"


def is_attempt(folder: Path) -> bool:
    """Whether a folder has the name of one."""
    try:
        key_of(folder)
    except ValueError:
        return False
    return True


def key_of(folder: Path) -> tuple[JobKey, int]:
    """Which attempt a folder is of; raises ValueError."""
    match = _NAME.fullmatch(folder.name)
    if match is None:
        raise ValueError(f"{folder} is no folder of an attempt")
    return JobKey(int(match[1]), JobKind(match[2]), Arch(match[3])), int(match[4])


@contextlib.contextmanager
def take(home: Path, order: Order, tier: Tier) -> Iterator[Held]:
    """Have a new attempt in hand. The folder stays unless `let_go_of` removes it."""
    job = order.job
    name = f"{job.update}-{job.kind}-{job.arch}-{order.attempt}"
    folder = folder_of(home) / name
    # Made under another name, so that nobody ever finds it without its lock and its progress.
    unfinished = folder.with_name(f"new-{name}-{os.getpid()}")
    unfinished.mkdir(parents=True)
    with contextlib.ExitStack() as end, (unfinished / "lock").open("w") as lock:
        # Nothing has this name by then, but where there was no room for the rest.
        end.callback(shutil.rmtree, unfinished, ignore_errors=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
        progress = Progress(order, tier)
        _write(unfinished, progress)
        let_go_of(folder)
        unfinished.rename(folder)
        yield Held(folder, progress)


@contextlib.contextmanager
def adopt(folder: Path, pause: Callable[[], None] = lambda: time.sleep(0.05)) -> Iterator[Held | None]:
    """Have an orphan in hand; None where it is none. Raises WireError where its progress cannot be read."""
    try:
        lock = (folder / "lock").open("r+")
    except FileNotFoundError:
        yield None
        return
    with lock:
        # Whoever only looks for orphans has the lock for a moment, too.
        for _ in range(_TRIES):
            if locked := _locked(lock.fileno()):
                break
            pause()
        # It may have been somebody's until now, who was done with it.
        if not locked or not folder.exists():
            yield None
            return
        try:
            progress = decode(Progress, (folder / "progress.json").read_bytes())
        except OSError as error:
            raise WireError(str(error)) from error
        yield Held(folder, progress)


def orphans(home: Path) -> list[Path]:
    """Folders of attempts that no process has in hand now."""
    found = []
    for folder in filter(is_attempt, sorted(folder_of(home).glob("*"))):
        with contextlib.suppress(FileNotFoundError), (folder / "lock").open("r+") as lock:
            if _locked(lock.fileno()):
                found.append(folder)
    return found


def let_go_of(folder: Path) -> None:
    """Forget an attempt: remove all that there is of it."""
    # Under another name first: one who is killed meanwhile leaves no half of an attempt that nobody could adopt.
    gone = folder.with_name(f"gone-{folder.name}")
    shutil.rmtree(gone, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def clear(home: Path) -> None:
    """Remove what killed processes left of folders that were no attempt's yet, or no more."""
    for pattern in ("new-*", "gone-*"):
        for folder in folder_of(home).glob(pattern):
            shutil.rmtree(folder, ignore_errors=True)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(folder: Path, progress: Progress) -> None:
    path = folder / "progress.json"
    part = path.with_suffix(".part")
    # Not synced: it has to survive the process and not the machine, whose containers do not survive it either.
    part.write_text(encode(progress))
    part.replace(path)
