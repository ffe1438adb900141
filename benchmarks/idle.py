# SPDX-License-Identifier: GPL-3.0-or-later
"""What an embedded farm costs that has nothing to do: memory and processor time of all its processes together.

Memory is PSS. Peer, on the same machine: debusine, 1957 MiB and 3 % of a core.
"""

import time

from benchmarks import kit, processes
from benchmarks.kit import MIB, Farm

#: The targets: MiB together, and per cent of one core.
MEMORY, CPU = 400.0, 1.0


def measure(farm: Farm, seconds: float) -> list[tuple[str, int, float, float]]:
    """Of each process: name, process id, MiB, per cent of a core over that time."""
    before = {process: processes.cpu_seconds(process.pid) for process in farm.processes()}
    began = time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    return [
        (
            process.name,
            process.pid,
            processes.pss(process.pid) / MIB,
            100 * (processes.cpu_seconds(process.pid) - cpu) / took,
        )
        for process, cpu in before.items()
    ]


def main() -> None:
    """Start a farm, let it settle, measure it."""
    parser = kit.arguments(__doc__)
    parser.add_argument("--settle", type=float, default=30, help="seconds before the measurement (30)")
    parser.add_argument("--seconds", type=float, default=60, help="seconds of the measurement (60)")
    asked = parser.parse_args()
    with kit.farm("idle") as farm:
        time.sleep(asked.settle)
        rows = measure(farm, asked.seconds)
    memory, cpu = sum(row[2] for row in rows), sum(row[3] for row in rows)
    heads = ("process", "pid", "PSS MiB", "% of a core")
    kit.table(f"idle for {asked.seconds:.0f} s", heads, [*rows, ("together", "", memory, cpu)])
    kit.verdict("memory", memory, MEMORY, "MiB")
    kit.verdict("processor", cpu, CPU, "% of a core")
    kit.write(asked.json, {"memory_mib": memory, "cpu_percent": cpu, "processes": rows})


if __name__ == "__main__":
    main()
