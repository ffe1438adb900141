# SPDX-License-Identifier: GPL-3.0-or-later
"""How soon a line of a build is in `patchfarm log --follow`, and what a log of 100 MB costs everybody on its way.

Target: a line within a second, and memory that does not grow with the log.
"""

import subprocess
import time
from dataclasses import dataclass

from benchmarks import kit, processes
from benchmarks.kit import ARCH, MIB, Farm
from workers.wire.arch import Arch

#: The targets: seconds for a line, and MiB that a process may have more for a hundred times the log.
LATENCY, GROWTH = 1.0, 16.0
_LINES, _BETWEEN = 200, 0.1
#: What a log of so many bytes is made of.
_LINE = "x" * 99
_SMALL, _LARGE = 10**6, 10**8

#: Of GNU date: seconds and nanoseconds, on the clock that container and reader share.
_STAMP = f'@for i in $$(seq {_LINES}); do date "+stamp %s.%N"; sleep {_BETWEEN}; done'


@dataclass(frozen=True)
class Cost:
    """What one log cost: its bytes, the seconds of the build's step and until it was read, and peaks in MiB by name."""

    size: int
    step: float
    read: float
    peaks: dict[str, float]


def follow(farm: Farm, update: int, arch: Arch) -> "subprocess.Popen[bytes]":
    """`patchfarm log --follow` of the update's build, as soon as a worker has it."""
    kit.wait_for(lambda: bool((job := farm.build(update, arch)) and job.started_at))
    return subprocess.Popen(
        farm.command("log", str(update), arch, "--follow"),
        cwd=kit.ROOT,
        env=dict(farm.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        bufsize=0,  # what is there is read, and nothing waited for
    )


def latencies(farm: Farm) -> list[float]:
    """Seconds from each line's being printed in the container to its being printed by the command."""
    reader = follow(farm, farm.submit("lines", "1.0-1", kit.RULES.format(command=_STAMP)), ARCH)
    if reader.stdout is None:
        raise RuntimeError("the command has no output to read")
    found = []
    with reader, reader.stdout as lines:
        for line in lines:
            word, _, stamp = line.decode(errors="replace").partition(" ")
            if word == "stamp":
                found.append(time.time() - float(stamp))
    return found


def cost(farm: Farm, name: str, size: int) -> Cost:
    """Build a package that prints so many bytes, and follow its log to the end."""
    watched = {f"{process.name} {process.pid}": process.pid for process in farm.processes() if _matters(process.name)}
    watched |= {f"dockerd {pid}": pid for pid in processes.running("dockerd")}
    for pid in watched.values():
        processes.forget_peak(pid)
    began = time.monotonic()
    update = farm.submit(name, "1.0-1", kit.RULES.format(command=f"@yes {_LINE} | head -c {size}"))
    read, peak = _drain(follow(farm, update, ARCH))
    took = time.monotonic() - began
    peaks = {name: processes.peak_rss(pid) / MIB for name, pid in watched.items()}
    job = farm.build(update, ARCH)
    step = job.report.steps[-1].seconds if job and job.report else 0.0
    return Cost(read, step, took, {**peaks, "patchfarm log": peak / MIB})


def _matters(name: str) -> bool:
    return name.startswith(("web", "engine", "worker"))


def _drain(reader: "subprocess.Popen[bytes]") -> tuple[int, int]:
    """Read what the command prints and keep none of it; answers how much that was, and the command's peak of memory."""
    size = peak = 0
    with reader:
        while reader.stdout and (piece := reader.stdout.read(MIB)):
            size += len(piece)
            peak = max(peak, processes.peak_rss(reader.pid))
    return size, peak


def main() -> None:
    """Both, on one farm."""
    parser = kit.arguments(__doc__)
    parser.add_argument("--only", choices=("latency", "size"), help="one of the two")
    asked = parser.parse_args()
    figures: dict[str, object] = {}
    with kit.farm("log", kit.only_here, slots="1") as farm:
        if asked.only != "size":
            figures["latency_seconds"] = _latency(farm)
        if asked.only != "latency":
            figures["costs"] = _size(farm)
    kit.write(asked.json, figures)


def _latency(farm: Farm) -> list[float]:
    found = latencies(farm)
    parts = [kit.quantile(found, part) for part in (0, 0.5, 0.95, 1)]
    rows = [(f"{len(found)} lines, {_BETWEEN} s apart", *parts)]
    kit.table("seconds from the container to the reader", ("", "least", "median", "p95", "most"), rows)
    kit.verdict("a line, p95", parts[2], LATENCY, "s")
    return found


def _size(farm: Farm) -> list[Cost]:
    small, large = cost(farm, "small", _SMALL), cost(farm, "large", _LARGE)
    grown = {name: large.peaks[name] - small.peaks[name] for name in small.peaks}
    rows = [(name, small.peaks[name], large.peaks[name], grown[name]) for name in grown]
    heads = ("peak of resident memory, MiB", f"{small.size / 1e6:.0f} MB", f"{large.size / 1e6:.0f} MB", "more")
    kit.table("memory by the length of the log", heads, rows)
    print(f"{large.size / 1e6 / large.step:.1f} MB/s out of the container, all of it read after {large.read:.0f} s")
    kit.verdict("growth of any process", max(grown.values()), GROWTH, "MiB")
    return [small, large]


if __name__ == "__main__":
    main()
