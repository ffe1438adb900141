# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m coordinator.signer`, as the farm starts it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from coordinator.openpgp import load_certs
from coordinator.signer.policy import SignerHome

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "coordinator.signer"]


def settings(home: SignerHome, **more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PATCHFARM_SIGNER_HOME": str(home.root), **more}


def prepare(home: SignerHome) -> str:
    done = subprocess.run([*COMMAND, "--prepare"], cwd=ROOT, env=settings(home), capture_output=True, check=True)
    return done.stdout.decode()


def test_prepare_makes_a_key_once_and_prints_its_certificate(home: SignerHome, tmp_path: Path) -> None:
    first = prepare(home)
    (tmp_path / "printed.asc").write_text(first)
    assert len(load_certs(tmp_path / "printed.asc")) == 1
    assert "PRIVATE" not in first
    assert prepare(home) == first


def test_a_missing_setting_is_named(home: SignerHome) -> None:
    done = subprocess.run(COMMAND, cwd=ROOT, env=settings(home), capture_output=True, text=True)
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "patchfarm signer: PATCHFARM_TOKEN_FILE is not set")


def test_a_broken_policy_ends_it_with_a_sentence(home: SignerHome) -> None:
    home.root.mkdir()
    home.policy.write_text("approvals = 2\n")
    done = subprocess.run([*COMMAND, "--prepare"], cwd=ROOT, env=settings(home), capture_output=True, text=True)
    assert done.returncode == 1
    assert "policy.toml: keys: Field required" in done.stderr


def test_it_waits_for_a_farm_that_is_down_and_ends_when_it_is_told(home: SignerHome, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s-token\n")
    known = settings(home, PATCHFARM_URL="http://127.0.0.1:1", PATCHFARM_TOKEN_FILE=str(tmp_path / "token"))
    with subprocess.Popen(COMMAND, cwd=ROOT, env=known, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "action=look-failed" in process.stderr.readline()
        process.terminate()
        assert process.stderr.read() == ""
    assert process.returncode == 0
