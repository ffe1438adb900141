# SPDX-License-Identifier: GPL-3.0-or-later
"""`patchfarm worker`: the list, and what an operator decides. What goes to other hosts is in tests/remote."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from coordinator.cli import roster
from coordinator.duty import Duty, Held, Presence
from coordinator.errors import IllegalMove
from coordinator.model import Clearance
from tests.cli.conftest import Shell
from tests.web.kit import KEY, NOW, WORKER, FakeFarm
from workers.wire.arch import Arch, Tier

LATER = datetime(2026, 1, 1, 12, 2, 3, tzinfo=UTC)
ELSEWHERE = ("me@w2", "--url", "http://farm.example.org", "--broker", "redis://farm.example.org")
TIERS = {Arch.AMD64: Tier.NATIVE, Arch.I386: Tier.NATIVE, Arch.RISCV64: Tier.EMULATED}


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home of its own, where no host is remembered."""
    monkeypatch.setenv("PATCHFARM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def shown(*duties: Duty, width: int = 80) -> str:
    console = Console(width=width, file=None, record=True, quiet=False, force_terminal=False)
    with console.capture() as captured:
        console.print(roster.roster(duties, LATER))
    return captured.get()


def test_the_list_says_all_there_is_to_know_in_eighty_columns() -> None:
    worker = replace(WORKER, name="w-arm64-2", tiers=TIERS, trust_domain="rack-1", clearance=Clearance.PUBLIC)
    text = shown(Duty(worker, Presence.UP, (Held("w-arm64-2", KEY, 3, NOW),)))
    assert max(map(len, text.splitlines())) <= 80
    for fact in ("w-arm64-2", "host", "amd64 i386", "riscv64 (emulated)", "1/2", "8.0 GiB", "rack-1", "public", "up"):
        assert fact in text
    assert "1/build/amd64 #3  2026-01-01 12:00:00  2:03" in text


@pytest.mark.parametrize(
    ("presence", "draining", "said"),
    [
        (Presence.DRAINING, True, "draining"),
        (Presence.SILENT, False, "silent"),
        (Presence.SILENT, True, "silent, draining"),
    ],
)
def test_the_list_says_who_takes_no_work(presence: Presence, draining: bool, said: str) -> None:
    text = shown(Duty(replace(WORKER, draining=draining), presence, ()))
    assert (said in text, "2:08 ago" in text) == (True, True)


def test_a_long_host_name_is_whole_in_eighty_columns() -> None:
    worker = replace(WORKER, name="w-arm64-2", tiers=TIERS, host="build7-with-a-long-name.security.example.org")
    assert worker.host in shown(Duty(worker, Presence.UP, (Held("w-arm64-2", KEY, 3, NOW),)))


def test_no_name_is_cut_where_there_is_too_little_room() -> None:
    name, domain = "a-worker-with-a-rather-long-name", "a-domain-that-is-no-shorter"
    text = shown(Duty(replace(WORKER, name=name, trust_domain=domain), Presence.UP, ()), width=70)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 70


def test_a_workers_own_words_move_no_cursor() -> None:
    assert "\x1b" not in shown(Duty(replace(WORKER, host="\x1b[2Jhost"), Presence.UP, ()))


def test_the_list_as_json_is_the_apis(shell: Shell) -> None:
    (listed,) = json.loads(shell("worker", "list", "--json").out)
    assert (listed["presence"], listed["worker"]["clearance"]) == ("up", "embargoed")
    assert listed["attempts"][0]["job"] == {"update": 1, "kind": "build", "arch": "amd64"}


def test_draining_waits_until_there_is_nothing_any_more(shell: Shell, farm: FakeFarm) -> None:
    def finish() -> None:
        if len(shell.slept) == 2:
            farm.on_duty = [replace(farm.on_duty[0], attempts=())]

    shell.between = finish
    said = shell("worker", "drain", "w1", "--wait")
    assert (said.code, len(shell.slept)) == (0, 2)
    assert said.err.count("1/build/amd64") == 1
    assert farm.store.decided == [("drain", "w1", True)]


def test_a_worker_resumes(shell: Shell, farm: FakeFarm) -> None:
    assert shell("worker", "resume", "w1").code == 0
    assert farm.store.decided == [("drain", "w1", False)]


def test_a_worker_that_was_not_added_from_here_is_removed_from_the_farm_alone(shell: Shell, farm: FakeFarm) -> None:
    said = shell("worker", "remove", "w1")
    assert (said.code, "stop it where it runs" in said.err) == (0, True)
    assert ("dismiss", "w1", False) in farm.asked


def test_a_worker_at_work_stays_and_gets_nothing_new(shell: Shell, farm: FakeFarm) -> None:
    farm.error = IllegalMove("w1 has 1 attempts")
    said = shell("worker", "remove", "w1")
    assert (said.code, "w1 has 1 attempts" in said.err) == (16, True)
    assert farm.store.decided == [("drain", "w1", True)]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("-oProxyCommand=id@w2",), 2, "No such option"),
        (("me@w2;id",), 2, "no host to log in to"),
        ((*ELSEWHERE, "--name", "W2"), 2, "cannot be the name"),
        (("me@w2",), 33, "no farm was started"),
        (("me@w2", "--url", "http://farm.example.org", "--broker", "redis://:pw@farm.example.org"), 2, "password"),
        (("me@w2", "--url", "http://farm.example.org"), 2, "the broker can be reached from this machine alone"),
    ],
)
def test_a_worker_that_cannot_be_added_is_refused_before_anybody_logs_in(
    shell: Shell, arguments: tuple[str, ...], code: int, said: str
) -> None:
    answer = shell("worker", "add", *arguments)
    assert (answer.code, said in answer.err) == (code, True), answer.err
    assert "pw" not in answer.err


@pytest.mark.parametrize("name", ["nobody", "../updates", "a/b"])
def test_a_worker_that_nobody_knows_is_not_removed(shell: Shell, name: str) -> None:
    assert shell("worker", "remove", name).code == 13
