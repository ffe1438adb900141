# SPDX-License-Identifier: GPL-3.0-or-later
"""From a step to its container's argv, and the fixed script that takes it apart again, run for real."""

import subprocess
from pathlib import Path

import pytest

from tests.workers.kit import order
from workers.bootstrap import SCRIPTS
from workers.sandbox import RUN_STEP
from workers.steps import command_of, spec_of
from workers.wire.arch import Arch, Tier
from workers.wire.order import Step

HOSTILE = ("a b", "$(id)", ";", "2", "--", "", "*", "'", "\n", "{}")


def _run(*commands: tuple[str, ...], collect: tuple[str, ...] = (), folder: Path | None = None) -> tuple[int, str]:
    argv = command_of(Step("step", commands), collect, None)
    script = [str(SCRIPTS / "run-step.sh") if word == RUN_STEP else word for word in argv]
    done = subprocess.run(script, capture_output=True, text=True, check=False, cwd=folder)
    return done.returncode, done.stdout


def test_the_script_passes_every_argument_on_as_it_is() -> None:
    code, printed = _run(("printf", "%s|", *HOSTILE), ("true",))
    assert code == 0
    assert "|".join(HOSTILE) + "|" in printed


def test_the_script_runs_the_commands_in_order_and_shows_each() -> None:
    assert _run(("echo", "one"), ("echo", "two")) == (0, "+ echo one\none\n+ echo two\ntwo\n")


def test_the_script_stops_at_the_first_that_fails_with_its_exit_code() -> None:
    code, printed = _run(("true",), ("sh", "-c", "exit 42"), ("echo", "never"))
    assert code == 42
    assert "never" not in printed


def test_a_program_that_is_not_there_is_127() -> None:
    assert _run(("no-such-program",))[0] == 127


@pytest.mark.parametrize("exit_code", [0, 3])
def test_the_script_sets_aside_what_the_step_made_however_it_ended(tmp_path: Path, exit_code: int) -> None:
    make = """
        mkdir tree autopkgtest; echo 1 > tree/no.deb; echo 2 > autopkgtest/summary; echo 3 > "a b.deb"; echo 4 > -r.deb
        ln -s /etc/shadow link.deb; echo 5 > other
    """
    script = ("sh", "-c", f"{make}exit {exit_code}")
    code, said = _run(script, collect=("*.deb", "autopkgtest/summary", "none.*"), folder=tmp_path)
    assert code == exit_code
    assert {path.name for path in (tmp_path / ".outputs").iterdir()} == {"a b.deb", "-r.deb", "summary"}
    assert "run-step: not a regular file: link.deb\n" in said


def test_where_there_is_nothing_to_set_aside_there_is_no_folder(tmp_path: Path) -> None:
    _run(("true",), collect=("*.deb",), folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("host", "tier", "prefix"),
    [
        (Arch.I386, Tier.NATIVE, ("setarch", "i686")),
        (Arch.ARMHF, Tier.NATIVE, ("setarch", "armv7l")),
        (Arch.ARMHF, Tier.EMULATED, ()),
        (Arch.AMD64, Tier.NATIVE, ()),
    ],
)
def test_a_32_bit_build_is_told_that_the_machine_is_one(host: Arch, tier: Tier, prefix: tuple[str, ...]) -> None:
    command = spec_of(order(host=host), 1, "image", "farm", tier).command
    assert command == (*prefix, "/bin/sh", RUN_STEP, "*.deb\nautopkgtest/summary", "1", "dpkg-buildpackage")
