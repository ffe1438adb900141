# SPDX-License-Identifier: GPL-3.0-or-later
"""A real supervisord with harmless programs: nothing stays down, and nothing stays behind."""

import getpass
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from coordinator.config import Home
from coordinator.embedded import ServiceState, down, preparation, running, services, status, supervisor
from coordinator.embedded.farm import alive
from coordinator.embedded.services import Program

pytestmark = pytest.mark.system

SLEEPS = Program("sleeps", ("sleep", "1000"), 10)
FAILS = Program("fails", ("sh", "-c", "echo no such luck; exit 1"), 20)

eventually = retry(
    retry=retry_if_exception_type(AssertionError), stop=stop_after_delay(30), wait=wait_fixed(0.1), reraise=True
)


def start(home: Home, *programs: Program, **environment: str) -> None:
    preparation.folders(home)
    home.hosts.mkdir(exist_ok=True)
    sockets = preparation.sockets(home)
    file = home.run / "supervisord.conf"
    preparation.write(file, services.configuration(programs, home, sockets, home.root, getpass.getuser()))
    supervisor.start(file, {**supervisor.clean_environment(), **environment})


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "farm")
    yield home
    down(home)


@eventually
def wait_for(holds: Callable[[], bool]) -> None:
    assert holds()


def state(home: Home, name: str) -> ServiceState:
    return next(row.state for row in status(home) if row.name == name)


def pid(home: Home, name: str) -> int:
    return next(row.pid for row in status(home) if row.name == name)


def supervisors_pid(home: Home) -> int:
    return supervisor.Supervisor(services.control_socket(preparation.sockets(home))).pid()


def gone(process: int) -> bool:
    return not Path(f"/proc/{process}").exists()


def test_a_process_that_is_killed_is_started_again(home: Home) -> None:
    start(home, SLEEPS)
    wait_for(lambda: state(home, "sleeps") == ServiceState.RUNNING)
    first = pid(home, "sleeps")
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: pid(home, "sleeps") not in (0, first))


def test_a_process_comes_and_goes_while_the_others_run(home: Home) -> None:
    start(home, SLEEPS)
    control = supervisor.Supervisor(services.control_socket(preparation.sockets(home)))
    wait_for(lambda: state(home, "sleeps") == ServiceState.RUNNING)
    first, file = pid(home, "sleeps"), home.hosts / "w2.conf"
    for seconds in ("2000", "3000"):
        late = Program("tunnel-w2", ("sleep", seconds), 20)
        file.write_text("\n".join(services.section(late, home)))
        control.take_up("tunnel-w2")
        wait_for(lambda: state(home, "tunnel-w2") == ServiceState.RUNNING)
        assert seconds in Path(f"/proc/{pid(home, 'tunnel-w2')}/cmdline").read_text()
    file.unlink()
    control.let_go("tunnel-w2")
    control.let_go("tunnel-w2")
    assert [(row.name, row.pid) for row in status(home)] == [("sleeps", first)]


def test_down_leaves_no_process_behind_and_a_second_down_has_nothing_to_do(home: Home) -> None:
    start(home, SLEEPS)
    processes = [supervisors_pid(home), pid(home, "sleeps")]
    assert down(home)
    assert not any(alive(process) for process in processes)
    assert not running(home)
    assert not down(home)


def test_a_process_that_nobody_has_reaped_yet_is_not_waited_for() -> None:
    process = os.posix_spawnp("true", ["true"], os.environ)
    os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
    assert not alive(process)
    os.waitpid(process, 0)
    assert not alive(process)
    assert alive(os.getpid())


def test_a_killed_supervisor_takes_its_processes_with_it_and_can_be_started_again(home: Home) -> None:
    start(home, SLEEPS)
    wait_for(lambda: state(home, "sleeps") == ServiceState.RUNNING)
    child = pid(home, "sleeps")
    os.kill(supervisors_pid(home), signal.SIGKILL)
    wait_for(lambda: gone(child))
    assert not running(home)
    start(home, SLEEPS)
    assert running(home)


def test_a_process_that_fails_is_tried_again_and_its_log_says_why(home: Home) -> None:
    start(home, FAILS)
    wait_for(lambda: state(home, "fails") == ServiceState.BACKOFF)
    [row] = status(home)
    assert "no such luck" in Path(row.log).read_text()


def test_a_process_knows_its_own_settings_and_nothing_of_the_callers_environment(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHFARM_DATABASE", "postgresql://farm:secret@db.example/farm")
    start(home, Program("env", ("sh", "-c", "env; exec sleep 1000"), 1, {"PATCHFARM_URL": "http://farm.example"}))
    log = home.log / "env.log"
    wait_for(lambda: log.exists() and "PATCHFARM_URL=http://farm.example" in log.read_text())
    assert "secret" not in log.read_text()


def test_two_farms_run_side_by_side(home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "other")
    start(home, SLEEPS)
    start(other, SLEEPS)
    down(home)
    assert not running(home)
    assert state(other, "sleeps") in (ServiceState.STARTING, ServiceState.RUNNING)
    down(other)


def test_a_farm_in_a_folder_with_a_very_long_name_runs_too(tmp_path: Path) -> None:
    home = Home(tmp_path / ("a farm of great length " * 6).strip())
    start(home, SLEEPS)
    assert running(home)
    down(home)
    assert not running(home)
