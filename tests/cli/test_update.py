# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that ask once."""

import json
import re
from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from coordinator.errors import Blame, IllegalMove
from coordinator.model import JobState, TestResult, Update, UpdateState, Verdict, Waiting
from tests.cli.conftest import Shell
from tests.web.kit import NOW, FakeFarm, job, report, update
from workers.wire.arch import Tier
from workers.wire.order import JobKind


def test_list_shows_each_update_with_its_state(shell: Shell) -> None:
    said = shell("list", "--state", "building", "--limit", "5")
    assert said.code == 0
    assert "hello" in said.out
    assert "building" in said.out
    assert shell.farm.store.listed == ([UpdateState.BUILDING], 5)


@pytest.mark.parametrize("command", [("show", "1"), ("retry", "1"), ("cancel", "1"), ("withdraw", "1")])
def test_json_is_the_apis_own(shell: Shell, command: tuple[str, ...]) -> None:
    said = shell(*command, "--json")
    assert TypeAdapter(Update).validate_json(said.out) == shell.farm.store.known


@pytest.mark.parametrize("command", [("list",), ("recipes",), ("worker", "list"), ("history", "1")])
def test_json_of_lists_is_a_list(shell: Shell, command: tuple[str, ...]) -> None:
    assert isinstance(json.loads(shell(*command, "--json").out), list)


def test_show_tells_jobs_tests_and_files(shell: Shell, farm: FakeFarm) -> None:
    built = job(state=JobState.SUCCEEDED, report=report(), worker="w1", tier=Tier.EMULATED)
    result = TestResult("smoke", Verdict.FLAKY, "sometimes")
    tested = job(JobKind.TEST, JobState.SUCCEEDED, tests=(result,))
    farm.store.known = update(UpdateState.AWAITING_APPROVAL, [built, tested])
    said = shell("show", "1").out
    for word in ("Built", "emulated", "smoke", "flaky", "hello_1.1_amd64.deb", "0 of 2", "SourceAccepted"):
        assert word in said
    assert farm.store.known.source.dsc.sha256 in said


def test_show_tells_what_is_waited_for_and_why(shell: Shell, farm: FakeFarm) -> None:
    farm.store.open = [Waiting("Upload", 3, NOW, "no route to\x1b[2J host"), Waiting("Confirm", 0, NOW, "")]
    said = shell("show", "1").out
    assert re.search(r"Waits for\n.*\nUpload +3 +2026-01-01 12:00:00 +no route to host", said)
    assert "Confirm" not in said


def test_show_tells_nothing_of_what_goes_its_way(shell: Shell, farm: FakeFarm) -> None:
    farm.store.open = [Waiting("Ring", 0, NOW, "")]
    assert "Waits for" not in shell("show", "1").out


def test_withdraw_hands_on_the_reason(shell: Shell, farm: FakeFarm) -> None:
    assert shell("withdraw", "1", "--why", "wrong patch").code == 0
    assert farm.asked == [("withdraw", 1, "paula", "wrong patch")]


def test_an_error_says_what_whose_fault_and_what_next(shell: Shell, farm: FakeFarm) -> None:
    farm.error = IllegalMove("update 1 is published", "Leave it.")
    said = shell("retry", "1")
    assert (said.code, said.out) == (16, "")
    assert said.err == "error: update 1 is published\nfault: whoever gave the command\nnext:  Leave it.\n"


def test_an_update_that_is_none_has_its_own_exit_code(shell: Shell) -> None:
    assert shell("show", "2").code == 13


def test_markup_and_escape_sequences_of_strangers_are_only_text(shell: Shell, farm: FakeFarm) -> None:
    hostile = "[bold red]\x1b[2J\x1b]0;title\x07[/bold]\x9b31m\u202egnp\r\nupdate 1"
    source = replace(farm.store.known.source, name=hostile)
    farm.store.known = update(UpdateState.FAILED, source=source, reason=hostile, blame=Blame.PACKAGE)
    for command in (("list",), ("show", "1"), ("watch", "1")):
        said = shell(*command)
        assert "[bold red]" in said.out + said.err
        assert not {"\x1b", "\x07", "\x9b", "\u202e", "\r"} & set(said.out + said.err)


def test_json_of_strangers_words_is_ascii_and_says_the_same(shell: Shell, farm: FakeFarm) -> None:
    hostile = "\x1b[2J\x9b31m\x7f\u202egnp\u2028sp\u00e4t"
    farm.store.known = update(UpdateState.FAILED, reason=hostile, blame=Blame.PACKAGE)
    for command in (("list",), ("show", "1"), ("withdraw", "1")):
        said = shell(*command, "--json").out
        assert set(said) <= {"\n", *map(chr, range(0x20, 0x7F))}
    assert json.loads(said)["reason"] == hostile


def test_recipes_and_workers_are_listed(shell: Shell) -> None:
    assert "bookworm-security" in shell("recipes").out
    assert "amd64" in shell("worker", "list").out


def test_history_is_listed_and_its_chain_checked(shell: Shell) -> None:
    said = shell("history", "1")
    assert (said.code, "SourceAccepted" in said.out) == (0, True)
    assert f"whole; its last digest is {shell.farm.store.past[-1].digest}" in said.err


def test_a_changed_past_is_noticed(shell: Shell, farm: FakeFarm) -> None:
    farm.store.past = [replace(farm.store.past[0], detail="hello 1.2")]
    said = shell("history", "1", "--json")
    assert (said.code, "breaks at entry 1" in said.err) == (1, True)


def test_a_lost_end_is_noticed(shell: Shell, farm: FakeFarm) -> None:
    farm.store.known = update(revision=2)
    assert shell("history", "1").code == 1
