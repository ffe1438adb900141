# SPDX-License-Identifier: GPL-3.0-or-later
"""How errors end, and where the farm and the token come from."""

import io
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from coordinator import config
from coordinator.cli.main import app, run
from coordinator.cli.session import Session, standard
from coordinator.client import Client, connect
from coordinator.errors import Blame, FarmDown
from tests.architecture.test_documents import all_errors
from tests.cli.conftest import Shell
from workers.wire.arch import Arch


def raising(error: BaseException) -> Session:
    """A session whose farm cannot be had."""

    def no_farm() -> Client:
        raise error

    return Session(connect=no_farm)


def test_an_interrupted_command_ends_with_130_and_no_word() -> None:
    assert run(["list"], raising(KeyboardInterrupt())) == 130


def test_what_nobody_foresaw_leaves_its_traceback_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list"], raising(RuntimeError("a\x1b[2J mistake"))) == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.startswith("error: an unexpected RuntimeError: a mistake\n")
    file = Path(re.search(r"(\S+)\.$", said.strip())[1])  # type: ignore[index]
    assert "Traceback" in file.read_text()
    file.unlink()


@pytest.mark.parametrize(("terminal", "longest"), [(True, 40), (False, 80)])
def test_an_error_is_broken_between_words_on_a_terminal_and_nowhere_else(terminal: bool, longest: int) -> None:
    words = "the host build7.example.org is not ready: no container engine answers"
    said = io.StringIO()
    console = Console(file=said, width=40, force_terminal=terminal, color_system=None)
    run(["list"], replace(raising(FarmDown(words)), err=console))
    lines = said.getvalue().splitlines()
    assert " ".join(line.strip() for line in lines).startswith(f"error: {words} fault: the farm")
    assert longest - 12 < max(map(len, lines)) <= longest


@pytest.mark.parametrize("arguments", [("nope",), ("show",), ("show", "x"), ("show", "0"), ("log", "1", "vax")])
def test_wrong_usage_is_2_and_names_the_help(shell: Shell, arguments: tuple[str, ...]) -> None:
    said = shell(*arguments)
    assert (said.code, said.out) == (2, "")
    assert re.search(r"next:  `patchfarm( \w+)? --help`", said.err)


def test_help_names_every_command(shell: Shell) -> None:
    said = shell("--help")
    assert said.code == 0
    for command in ("submit", "list", "show", "watch", "log", "approve", "fetch", "retry", "cancel", "withdraw"):
        assert f" {command} " in said.out


def settings(monkeypatch: pytest.MonkeyPatch, home: Path, **environment: str) -> None:
    """A home of its own, and what the environment says beside."""
    monkeypatch.setenv("PATCHFARM_HOME", str(home))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def test_without_a_farm_the_next_step_is_to_start_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings(monkeypatch, tmp_path)
    assert run(["list"], standard()) == 33
    assert "patchfarm up" in capsys.readouterr().err


def test_a_farm_without_a_token_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings(monkeypatch, tmp_path, PATCHFARM_URL="http://127.0.0.1:9")
    assert run(["list"], standard()) == 33
    assert "PATCHFARM_TOKEN_FILE" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"two words\nand a line", b"t\xc3\xb6ken", b"t\xf6ken"])
def test_a_token_file_without_a_token_is_said_to_be_one_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / "token").write_bytes(content)
    named = {"PATCHFARM_URL": "http://127.0.0.1:9", "PATCHFARM_TOKEN_FILE": str(tmp_path / "token")}
    settings(monkeypatch, tmp_path, **named)
    assert run(["list"], standard()) == 15
    assert "words" not in capsys.readouterr().err


def test_a_farm_that_does_not_answer_is_down(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    named = {"PATCHFARM_URL": "http://127.0.0.1:9", "PATCHFARM_TOKEN_FILE": str(tmp_path / "token")}
    settings(monkeypatch, tmp_path, **named)
    assert run(["list"], standard()) == 33


@pytest.mark.parametrize("url", ["localhost:8080", "http://[", "ftp://x"])
def test_an_address_that_is_none_is_wrong_usage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str) -> None:
    (tmp_path / "token").write_text("secret\n")
    settings(monkeypatch, tmp_path, PATCHFARM_URL=url, PATCHFARM_TOKEN_FILE=str(tmp_path / "token"))
    assert run(["list"], standard()) == 2


def test_a_wrong_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "farm.toml").write_text("lease_second = 3\n")
    settings(monkeypatch, tmp_path)
    assert run(["list"], standard()) == 2
    assert "lease_second" in capsys.readouterr().err


def test_farm_toml_that_is_no_toml_is_said_to_be_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "farm.toml").write_text("= nothing")
    settings(monkeypatch, tmp_path)
    assert run(["list"], standard()) == 2
    assert "farm.toml" in capsys.readouterr().err


def test_farm_toml_in_another_encoding_is_said_to_be_none_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "farm.toml").write_bytes(b'farm = "sp\xe4t"')
    settings(monkeypatch, tmp_path)
    assert run(["list"], standard()) == 2
    assert "error: farm.toml is no TOML" in capsys.readouterr().err


def test_a_setting_of_the_environment_that_cannot_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings(monkeypatch, tmp_path, PATCHFARM_TARGETS="archive")
    assert run(["list"], standard()) == 2
    assert '"targets"' in capsys.readouterr().err


def test_a_file_that_this_account_may_not_read_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list"], raising(PermissionError(13, "Permission denied", "/srv/farm/farm.toml"))) == 15
    assert capsys.readouterr().err.startswith("error: /srv/farm/farm.toml: Permission denied\n")


@pytest.mark.parametrize("given", ["amd64,i386", " amd64, i386,"])
def test_the_environment_lists_architectures_with_commas(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("PATCHFARM_ARCHES", given)
    assert config.load().arches == (Arch.AMD64, Arch.I386)


def test_farm_toml_lists_them_as_toml_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "farm.toml").write_text('arches = ["amd64", "arm64"]\n')
    settings(monkeypatch, tmp_path)
    assert config.load().arches == (Arch.AMD64, Arch.ARM64)


def test_the_help_tells_every_exit_code_by_whose_fault_it_is() -> None:
    said = re.findall(r"([\d, -]+) (wrong usage|the request|the package|the farm)", str(app.info.epilog))
    told = {word: numbers(listed) for listed, word in said}
    of = {blame: {kind.exit_code for kind in all_errors() if kind.blame == blame} for blame in Blame}
    assert told["wrong usage"] | told["the request"] == of[Blame.SUBMITTER]
    assert (told["the package"], told["the farm"]) == (of[Blame.PACKAGE], of[Blame.FARM])


def numbers(listed: str) -> set[int]:
    """`1, 30-37`, spelled out."""
    ranges = [part.split("-") for part in listed.split(",")]
    return {number for ends in ranges for number in range(int(ends[0]), int(ends[-1]) + 1)}


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "coordinator.cli.main", "nope"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (ended.returncode, ended.stderr.split("\n")[0]) == (2, "error: No such command 'nope'.")


def test_colours_are_left_out_where_they_are_not_wanted(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in shell("list").out


def test_a_client_follows_no_redirect_and_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    client = connect("http://127.0.0.1:9", "token")
    http: Any = client._http
    assert (http.follow_redirects, http.trust_env) == (False, False)
    with pytest.raises(FarmDown):
        client.updates()
