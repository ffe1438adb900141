# SPDX-License-Identifier: GPL-3.0-or-later
"""From a step to its container's argv, and the fixed script that takes it apart again, run for real."""

import subprocess

import pytest

from tests.workers.kit import order
from workers.bootstrap import SCRIPTS
from workers.sandbox import RUN_STEP
from workers.steps import command_of, spec_of
from workers.wire.arch import Arch, Tier
from workers.wire.order import Step

HOSTILE = ("a b", "$(id)", ";", "2", "--", "", "*", "'", "\n", "{}")


def _run(*commands: tuple[str, ...]) -> tuple[int, str]:
    argv = command_of(Step("step", commands), None)
    script = [str(SCRIPTS / "run-step.sh") if word == RUN_STEP else word for word in argv]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
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
    assert command == (*prefix, "/bin/sh", RUN_STEP, "1", "dpkg-buildpackage")
