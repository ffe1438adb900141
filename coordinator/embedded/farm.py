# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts, watches and stops the embedded farm of a home. Farms with different homes know nothing of each other."""

import fcntl
import getpass
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from coordinator import app, client
from coordinator.config import Home, Settings
from coordinator.embedded import machine, preparation, services, supervisor
from coordinator.embedded.supervisor import ServiceRow, ServiceState, Supervisor
from coordinator.errors import FarmDown, PatchfarmError
from coordinator.target import sshd
from coordinator.target.reprepro import Layout, Repository
from workers.wire.arch import Arch

#: How long the services may take to answer after a start, in seconds.
START_SECONDS = 90
#: How long they may take to stop: the longest of them and some.
STOP_SECONDS = 90
#: A service that could not be started so many times will not be.
_TRIES = 3
_PAUSE = 0.1


def up(home: Home, arches: Sequence[Arch] = ()) -> Settings:
    """Prepare and start the farm, and wait until it can work. Nothing happens to one that is up already.

    Its worker offers `arches`, those of the settings where none are named, or what runs natively here.
    """
    settings = preparation.prepare(home)
    with _alone(home):
        begun = datetime.now(UTC)
        fresh = not running(home)
        if fresh:
            _start(home, settings, arches or settings.arches or machine.native())
        _wait_until_ready(home, settings, begun if fresh else None)
    return settings


def down(home: Home) -> bool:
    """Stop everything and wait for it; answers whether there was anything to stop."""
    control = _control(home)
    if not control.answers():
        return False
    pid = control.pid()
    control.shut_down()
    # To be asked wakes it: by itself it looks for processes that have ended no more than once a second.
    if not _until(lambda: not control.answers() and not alive(pid), STOP_SECONDS):
        raise PatchfarmError(f"the farm's supervisor (process {pid}) did not stop within {STOP_SECONDS} s")
    preparation.remove_sockets(home)
    return True


def stay(home: Home) -> None:
    """Until the farm is down, by a signal to this process or by `patchfarm down` elsewhere."""
    pid = _control(home).pid()

    def stop(number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt(number)

    signal.signal(signal.SIGTERM, stop)
    try:
        while alive(pid):
            time.sleep(1)
    except KeyboardInterrupt:
        down(home)


def running(home: Home) -> bool:
    """Whether the farm of that home is up."""
    return home.run.is_dir() and _control(home).answers()


def status(home: Home) -> list[ServiceRow]:
    """Every service as it is now; none where the farm is down."""
    control = _control(home)
    return control.services() if running(home) else []


def offered(home: Home) -> frozenset[Arch]:
    """The architectures that the worker of a farm that is up was started for."""
    settings = preparation.prepare(home)
    known = client.connect(settings.url, preparation.token(home, "me.token")).workers()
    workers = (duty.worker for duty in known)
    return frozenset(arch for worker in workers if worker.name == machine.worker_name() for arch in worker.tiers)


def forget(settings: Settings, suite: str, source: str) -> bool:
    """Take a source and its packages out of the farm's own archive; answers whether they were in it."""
    if preparation.own_target(settings) is None:
        return False
    if not app.destinations(settings)(preparation.OWN).target.versions(suite, source):
        return False
    Repository(Layout(settings.paths.target)).remove(suite, source)
    return True


def _control(home: Home) -> Supervisor:
    return Supervisor(services.control_socket(preparation.sockets(home)))


def _start(home: Home, settings: Settings, arches: Sequence[Arch]) -> None:
    machine.engine()
    preparation.grant_tokens(home, settings)
    sockets = preparation.sockets(home)
    programs = services.programs(_site(home, settings, arches, sockets))
    path = home.run / "supervisord.conf"
    preparation.write(path, services.configuration(programs, home, sockets, preparation.CODE, getpass.getuser()))
    supervisor.start(path, supervisor.clean_environment())


def _site(home: Home, settings: Settings, arches: Sequence[Arch], sockets: Path) -> services.Site:
    return services.Site(
        home=home,
        farm=settings.farm,
        url=settings.url,
        sockets=sockets,
        python=sys.executable,
        redis_server=machine.needed("redis-server", "redis-server", "valkey-server"),
        broker=settings.broker or f"redis+socket://{services.redis_socket(sockets)}?virtual_host=0",
        own_redis=not settings.broker,
        worker=machine.worker_name(),
        arches=tuple(arches),
        slots=settings.slots,
        settings=services.given(os.environ),
        target=_target(home, settings),
    )


def _target(home: Home, settings: Settings) -> tuple[services.Program, ...]:
    if preparation.own_target(settings) is None:
        return ()
    sshd.privileges()
    door = sshd.command(machine.needed("openssh-server", "sshd"), home.target)
    archive = (sys.executable, "-m", "coordinator.target", str(home.target))
    return services.Program("sshd", door, 40), services.Program("archive", archive, 40)


def _wait_until_ready(home: Home, settings: Settings, since: datetime | None) -> None:
    """Until every service runs and the worker has signed on. Raises with the end of the log of the one that fails."""
    control = _control(home)
    farm = client.connect(settings.url, preparation.token(home, "me.token"))
    failures: dict[str, set[datetime | None]] = {}

    def ready() -> bool:
        rows = _own(control.services())
        for row in rows:
            _look_for_failure(row, failures)
        return all(row.state == ServiceState.RUNNING for row in rows) and _worker_is_there(farm, since)

    if not _until(ready, START_SECONDS):
        late = next((row for row in _own(control.services()) if row.state != ServiceState.RUNNING), None)
        guilty = late or next(row for row in control.services() if row.name == "worker")
        raise _broken(guilty, f"was not ready within {START_SECONDS} s")


def _own(rows: Sequence[ServiceRow]) -> list[ServiceRow]:
    """What has to run here; a tunnel may wait for another machine."""
    return [row for row in rows if not row.name.startswith(services.TUNNEL)]


def _look_for_failure(row: ServiceRow, failures: dict[str, set[datetime | None]]) -> None:
    if row.state not in (ServiceState.BACKOFF, ServiceState.FATAL):
        return
    failures.setdefault(row.name, set()).add(row.ended)
    if row.state == ServiceState.FATAL or len(failures[row.name]) >= _TRIES:
        raise _broken(row, "does not stay up")


def _worker_is_there(farm: client.Client, since: datetime | None) -> bool:
    try:
        known = [duty.worker for duty in farm.workers()]
    except FarmDown:
        return False
    return any(worker.last_seen_at >= (since or worker.last_seen_at) for worker in known)


def _broken(row: ServiceRow, what: str) -> PatchfarmError:
    log = Path(row.log)
    lines = log.read_text(errors="replace").splitlines()[-5:] if log.exists() else []
    said = " / ".join(line.strip() for line in lines if line.strip()) or "nothing"
    return PatchfarmError(
        f"{row.name} {what}; its log says: {said}", f"The whole log is {log}; `patchfarm down` stops the rest."
    )


def _until(holds: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(_PAUSE)
    return True


def alive(pid: int) -> bool:
    """Whether a process runs. One that has ended holds nothing any more, though its parent may reap it much later."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    # The state stands behind the name, which may have anything in it (proc(5)).
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """Two starts of one farm at the same time would start it twice."""
    with (home.run / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
