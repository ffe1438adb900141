# SPDX-License-Identifier: GPL-3.0-or-later
"""A signer's folder with a key, and an update that two people approved."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator import gpg
from coordinator.signer import policy
from coordinator.signer.policy import Policy, SignerHome
from tests.signer.kit import ALICE, BOB, Made, make, people


@pytest.fixture
def home(tmp_path: Path) -> Iterator[SignerHome]:
    made = SignerHome(tmp_path / "signer")
    yield made
    gpg.stop(made.gnupg)


@pytest.fixture
def rules(home: SignerHome) -> Policy:
    """Of a signer who knows Alice and Bob."""
    made = policy.prepare(home)
    people(home.approvers, ALICE, BOB)
    return made


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make(tmp_path / "farm").approved_by(ALICE, BOB)
