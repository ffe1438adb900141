# SPDX-License-Identifier: GPL-3.0-or-later
"""`log`, and what becomes of hostile text."""

import contextlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.cli.log import to_terminal
from coordinator.cli.main import run
from coordinator.cli.plain import cell, printable
from coordinator.cli.session import Session
from coordinator.client import Client
from coordinator.model import JobState
from tests.cli.conftest import Shell
from tests.web.kit import FakeFarm, job, update, web
from workers.wire.order import JobKind


def test_a_log_goes_to_a_file_byte_for_byte(farm: FakeFarm, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    farm.logs.data = b"one\r\n\x1b[31m\xff" + b"x" * 600_000
    assert run(["log", "1", "amd64"], Session(connect=lambda: Client(web(farm, "p-token")))) == 0
    assert capsysbinary.readouterr().out == farm.logs.data


def test_follow_ends_with_the_attempt(shell: Shell, farm: FakeFarm) -> None:
    farm.store.known = update(jobs=[job(state=JobState.SUCCEEDED)])
    farm.logs.data = b"all\n"
    assert shell("log", "1", "amd64", "--follow").out == "all\n"


@pytest.mark.parametrize("arguments", [("arm64",), ("amd64", "--test"), ("amd64", "--attempt", "2")])
def test_a_log_that_never_was_is_said_to_be_none(shell: Shell, arguments: tuple[str, ...]) -> None:
    assert shell("log", "1", *arguments).code == 13


def test_a_job_that_has_not_begun_has_no_log(shell: Shell, farm: FakeFarm) -> None:
    farm.store.known = update(jobs=[job(JobKind.TEST, JobState.WAITING, attempt=0)])
    assert "has not begun" in shell("log", "1", "amd64", "--test").err


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;http://evil\x1b\\link", "link"),
        ("\x1bPq...\x1b\\x", "x"),
        ("\x9b2Jx", "x"),
        ("10%\r20%\r\n", "10%\n20%\n"),
        ("a\bb\x00c\td", "abc\td"),
        ("ab\u202edc", "abdc"),
        ("\x1b\x1b[2J", ""),
    ],
)
def test_what_a_terminal_would_obey_is_taken_out(hostile: str, shown: str) -> None:
    assert printable(hostile) == shown


@given(st.text(alphabet=st.characters(max_codepoint=0x2070)))
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    left = set(printable(text))
    assert not {c for c in left if (ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0}
    assert "\n" not in cell(text).plain


@given(st.binary(max_size=40), st.integers(0, 48))
def test_a_sequence_that_comes_in_two_parts_is_taken_out_too(data: bytes, cut: int) -> None:
    text = b"\x1b[31m" + data.replace(b"\n", b"") + b"\x1b[2J"
    written = io.StringIO()
    with contextlib.redirect_stdout(written):
        write = to_terminal()
        for part in (text[:cut], text[cut:], b""):
            write(part)
    assert not {"\x1b", "\x9b"} & set(written.getvalue())


def test_the_last_line_is_written_though_nothing_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    write = to_terminal()
    for part in (b"\x1b[3", b"1mhalf a line \xc3", b"\xa9", b""):
        write(part)
    assert capsys.readouterr().out == "half a line \u00e9"
