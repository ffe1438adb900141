# SPDX-License-Identifier: GPL-3.0-or-later
"""`demo` is for farms that nobody relies on."""

from pathlib import Path

import pytest

from coordinator.cli.demo import PEOPLE
from tests.cli.conftest import Shell
from tests.sources import Person


@pytest.mark.parametrize("others", [("alice",), (*PEOPLE, "alice")])
def test_a_farm_with_approvers_of_its_own_is_left_alone(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: tuple[str, ...]
) -> None:
    monkeypatch.setenv("PATCHFARM_HOME", str(tmp_path / "home"))
    for name in others:
        assert shell("approver", "add", name, str(Person(name).write_cert(tmp_path))).code == 0
    said = shell("demo")
    assert said.code == 15
    assert "(alice)" in said.err
    assert not (tmp_path / "home" / "farm.toml").exists()
