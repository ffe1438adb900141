# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processes there are and what each of them costs, by what the kernel says of them (proc(5))."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_CHILD = "'s child"


@dataclass(frozen=True)
class Process:
    """A process of a farm by what it is there."""

    name: str
    pid: int


def pss(pid: int) -> int:
    """Bytes of memory that a process has, where those it shares are divided among those who share (proc(5)).

    0 for one that has ended.
    """
    lines = _read(Path(f"/proc/{pid}/smaps_rollup")).splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def peak_rss(pid: int) -> int:
    """The most bytes of memory that a process ever had at once; `forget_peak` begins anew."""
    lines = _read(Path(f"/proc/{pid}/status")).splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


def forget_peak(pid: int) -> None:
    """Let the peak be what the process has now (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def cpu_seconds(pid: int) -> float:
    """Of a process and of its children that have ended, user and system together; 0 for one that has ended."""
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    # Fields 14 to 17 of proc(5); the first one here is the third.
    return sum(map(int, fields[11:15])) / _TICKS


def running(program: str) -> list[int]:
    """The processes that run a program of that name."""
    return [pid for pid in _parents() if _read(Path(f"/proc/{pid}/comm")).strip() == program]


def below(first: Process, names: Mapping[int, str]) -> list[Process]:
    """A process and all that it has started, by their names or by whose child they are."""
    parents = _parents()
    found = [first]
    for process in found:
        children = (child for child, parent in parents.items() if parent == process.pid)
        found += [
            Process(names.get(child, f"{process.name.removesuffix(_CHILD)}{_CHILD}"), child) for child in children
        ]
    return found


def mentions(pid: int, word: str) -> bool:
    """Whether an argument of the process begins with that."""
    return any(argument.startswith(word) for argument in _read(Path(f"/proc/{pid}/cmdline")).split("\0"))


def _parents() -> dict[int, int]:
    """Process id → its parent's, of every process there is."""
    stats = {int(path.name): _read(path / "stat") for path in Path("/proc").iterdir() if path.name.isdecimal()}
    return {pid: int(stat.rpartition(")")[2].split()[1]) for pid, stat in stats.items() if stat}


def _read(path: Path) -> str:
    """What a process's file says; nothing where the process is gone."""
    try:
        return path.read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
