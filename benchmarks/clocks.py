# SPDX-License-Identifier: GPL-3.0-or-later
"""The time of day jumps by an hour, forward and back, at each stage of a job: nobody loses a lease by that.

It jumps for the web service, the engine and the worker alone, by `clock.c`, which is compiled here; the machine's own
clock stays as it is. What counts seconds and knows no time of day does not jump, as in a machine whose clock is set.
"""

import re
import struct
import subprocess
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks import cell, kit
from benchmarks.cell import LEASE, Fault
from benchmarks.kit import Farm
from coordinator.embedded import preparation, services
from coordinator.embedded.supervisor import Supervisor
from coordinator.errors import FarmDown

_HOUR = 3600
#: For how long the clock is wrong where it is put right again.
_WRONG = 5.0
#: So many seconds the answers of the web service may be behind: they bear its time to the second.
_ABOUT = 4.0
#: The processes for which it jumps.
_WHOSE = ("web", "engine", "worker")


def ahead(farm: Farm, _update: int) -> str:
    """By an hour, as where a machine slept."""
    return jump(farm, _HOUR)


def back(farm: Farm, _update: int) -> str:
    """By an hour, as where a clock was wrong and somebody set it."""
    return jump(farm, -_HOUR)


def ahead_and_back(farm: Farm, _update: int) -> str:
    """There, and right again a little later: what was written meanwhile is of the future."""
    there = jump(farm, _HOUR)
    time.sleep(_WRONG)
    return f"{there}, then {jump(farm, 0)}"


def jump(farm: Farm, seconds: int) -> str:
    """From now on the farm's time of day is so many seconds ahead of the machine's, as its web service says, too."""
    # In its place, and at once: the processes have it mapped.
    with _offset(farm).open("r+b", buffering=0) as file:
        file.write(struct.pack("=q", seconds))
    kit.wait_for(lambda: abs(off(farm) - seconds) < _ABOUT, 2 * _ABOUT)
    return f"{seconds:+d} s"


def off(farm: Farm) -> float:
    """By how many seconds the web service is ahead of the machine, as its answers are dated (RFC 9110, 6.6.1)."""
    with closing(HTTPConnection(urlsplit(farm.settings.url).netloc, timeout=30)) as there:
        there.request("GET", "/")
        said = there.getresponse().getheader("Date", "")
    return parsedate_to_datetime(said).timestamp() - time.time()


def put_under(farm: Farm) -> None:
    """Start the processes anew, so that their time of day is the one that `jump` says."""
    _offset(farm).write_bytes(struct.pack("=q", 0))
    library = _offset(farm).with_suffix(".so")
    source = Path(__file__).with_name("clock.c")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    told = {"LD_PRELOAD": library, "CLOCK_OFFSET": _offset(farm)}
    more = ",".join(f'{name}="{value}"' for name, value in told.items())
    path = farm.home.run / "supervisord.conf"
    text = path.read_text()
    for name in _WHOSE:
        text = re.sub(rf"(?m)(^\[program:{name}\]\n.*\nenvironment=.*)$", lambda found: f"{found[1]},{more}", text)
    preparation.write(path, text)
    control = Supervisor(services.control_socket(preparation.sockets(farm.home)))
    began = datetime.now(UTC)
    for name in _WHOSE:
        control.take_up(name)
    kit.wait_for(lambda: signed_on(farm, began), cell.REST)
    for name in _WHOSE:
        if library.name not in Path(f"/proc/{farm.services()[name]}/maps").read_text():
            raise RuntimeError(f"{name} has the machine's clock")


def signed_on(farm: Farm, since: datetime) -> bool:
    """Whether the worker has given a sign of life since then, and there was somebody to hear it."""
    with suppress(FarmDown):
        return any(duty.worker.last_seen_at > since for duty in farm.client.workers())
    return False


def _offset(farm: Farm) -> Path:
    return farm.home.root.parent / "clock"


#: What is done to the clock costs nothing.
FAULTS: dict[str, Fault] = {
    fault.inject.__name__: fault for fault in (Fault(ahead), Fault(back), Fault(ahead_and_back))
}


def main() -> None:
    """Every cell, or those that were asked for; the exit code is 1 where one is wrong."""
    asked = cell.asked(__doc__, FAULTS)
    with kit.farm("clocks", cell.with_a_slow_preparation, slots="1", lease_seconds=str(LEASE)) as farm:
        cell.warm_up(farm)
        put_under(farm)
        cells = []
        for name, stage in asked:
            cells.append(cell.tell(cell.run(farm, name, FAULTS[name], stage)))
            jump(farm, 0)
        cell.conclude(farm, "two jobs of six seconds each, and a time of day that jumps", cells, asked.json)


if __name__ == "__main__":
    main()
