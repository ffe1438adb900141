# SPDX-License-Identifier: GPL-3.0-or-later
"""`watch`: until when, how it ends, and what it survives."""

import json
import re
from collections.abc import Iterator

import pytest
from rich.console import Console

from coordinator.cli.main import run
from coordinator.cli.session import Session
from coordinator.cli.watch import reached
from coordinator.client import Client
from coordinator.errors import Blame, FarmDown
from coordinator.model import JobState, Update, UpdateState, Waiting
from tests.cli.conftest import Shell
from tests.web.kit import NOW, FakeFarm, file, job, report, update, web
from workers.wire.arch import Tier

S = UpdateState
BUILT = job(state=JobState.SUCCEEDED, report=report())


def story(shell: Shell, *updates: Update) -> None:
    """Let the update become the next one whenever somebody waits."""
    rest: Iterator[Update] = iter(updates)
    shell.farm.store.known = next(rest)

    def turn() -> None:
        shell.farm.store.known = next(rest)

    shell.between = turn


def test_every_change_is_a_line_until_it_is_published(shell: Shell) -> None:
    busy = job(state=JobState.LEASED, worker="w1", tier=Tier.NATIVE)
    built = job(state=JobState.SUCCEEDED, report=report())
    story(shell, update(jobs=[job()]), update(jobs=[busy]), update(S.PUBLISHED, [built]))
    said = shell("watch", "1")
    assert said.code == 0
    lines = [line.split(" ", 2)[2] for line in said.out.splitlines()]
    assert [line for line in lines if line.startswith("build amd64")] == [
        "build amd64: Needs-Build",
        "build amd64: Building (w1, native)",
        "build amd64: Installed",
    ]


def test_what_did_not_change_is_not_said_again(shell: Shell) -> None:
    story(shell, update(S.SIGNING), update(S.SIGNING), update(S.PUBLISHED))
    assert shell("watch", "1").out.count("signer is asked") == 1


def test_until_stops_as_soon_as_it_has_come_so_far(shell: Shell) -> None:
    story(shell, update(S.BUILDING), update(S.SIGNING))
    assert shell("watch", "1", "--until", "awaiting-approval").code == 0


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        (update(S.FAILED, reason="build on amd64: make failed", blame=Blame.PACKAGE), 20),
        (update(S.FAILED, reason="given up", blame=Blame.FARM), 1),
        (update(S.FAILED, [BUILT], reason="the signer refused: no", blame=Blame.FARM), 34),
        (update(S.FAILED, [BUILT], signed=(file("a"),), reason="no room", blame=Blame.FARM), 35),
        (update(S.FAILED, reason="cancelled by paula", blame=Blame.SUBMITTER), 16),
        (update(S.REJECTED, reason="no architecture", blame=Blame.SUBMITTER), 10),
        (update(S.WITHDRAWN, reason="withdrawn by paula"), 16),
    ],
)
def test_what_will_never_be_published_ends_with_its_own_code(shell: Shell, ended: Update, code: int) -> None:
    story(shell, update(S.BUILDING), ended)
    said = shell("watch", "1")
    assert said.code == code
    assert ended.reason in said.err


def test_a_failed_build_names_the_log_to_read(shell: Shell) -> None:
    failed = job(state=JobState.FAILED, report=report(), reason="make failed")
    story(shell, update(S.FAILED, [failed], reason="build on amd64", blame=Blame.PACKAGE))
    assert "`patchfarm log 1 amd64`" in shell("watch", "1").err


def test_reached_knows_the_way() -> None:
    assert reached(S.PUBLISHED, S.TESTING)
    assert not reached(S.FAILED, S.TESTING)
    assert not reached(S.PUBLISHED, S.FAILED)
    assert reached(S.FAILED, S.FAILED)


class Cut(Client):
    """A client whose farm is away for some questions."""

    def __init__(self, farm: FakeFarm, away: int) -> None:
        super().__init__(web(farm, "p-token"))
        self.away = away

    def update(self, number: int) -> Update:
        self.away -= 1
        if self.away >= 0:
            raise FarmDown("away")
        return super().update(number)


def test_a_restart_of_the_web_service_is_waited_for(farm: FakeFarm, capsys: pytest.CaptureFixture[str]) -> None:
    farm.store.known = update(S.PUBLISHED)
    session = Session(connect=lambda: Cut(farm, 5), sleep=lambda _: None)
    assert run(["watch", "1"], session) == 0
    assert capsys.readouterr().err.count("waiting for it") == 1


def test_a_farm_that_stays_away_is_not_waited_for_for_ever(farm: FakeFarm) -> None:
    assert run(["watch", "1"], Session(connect=lambda: Cut(farm, 10_000), sleep=lambda _: None)) == 33


def on_a_terminal(farm: FakeFarm, capsys: pytest.CaptureFixture[str], until: UpdateState) -> str:
    """What `watch` shows there."""
    out = Console(force_terminal=True, width=100, markup=False, color_system=None)
    session = Session(connect=lambda: Client(web(farm, "p-token")), sleep=lambda _: None, out=out)
    assert run(["watch", "1", "--until", until], session) == 0
    return capsys.readouterr().out


def test_on_a_terminal_the_display_has_a_line_for_each_job(farm: FakeFarm, capsys: pytest.CaptureFixture[str]) -> None:
    farm.store.known = update(S.AWAITING_APPROVAL, [job(state=JobState.SUCCEEDED, report=report())])
    said = on_a_terminal(farm, capsys, S.AWAITING_APPROVAL)
    assert re.search(r"build +amd64 +Built", said)
    assert "patchfarm approve 1" in said


def test_and_below_them_the_newest_trouble(farm: FakeFarm, capsys: pytest.CaptureFixture[str]) -> None:
    farm.store.known = update(S.PUBLISHING, signed=(file("a"),))
    troubles = ["the disk was full", "no route to host", ""]
    farm.store.open = [Waiting("Upload", tries, NOW, said) for tries, said in enumerate(troubles, 1)]
    said = on_a_terminal(farm, capsys, S.PUBLISHING)
    assert "Upload waits, after 2 tries: no route to host" in said
    assert "disk" not in said


def test_the_end_is_printed_as_json_and_the_way_goes_aside(shell: Shell) -> None:
    story(shell, update(S.SIGNING), update(S.PUBLISHED))
    said = shell("watch", "1", "--json")
    assert json.loads(said.out)["state"] == "published"
    assert "signer is asked" in said.err
