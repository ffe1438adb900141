# SPDX-License-Identifier: GPL-3.0-or-later
"""The signer's own record."""

import json
from datetime import UTC, datetime
from pathlib import Path

from coordinator.model import File
from coordinator.signer import audit
from coordinator.signer.evidence import Evidence
from tests.signer.kit import Made

AT = datetime(2026, 1, 1, tzinfo=UTC)
WHAT = {"time": "2026-01-01T00:00:00+00:00", "update": 1, "source": "hello", "version": "1:1.0-1"}


def test_a_signature_is_recorded_with_its_key_its_people_and_what_it_changed(made: Made, tmp_path: Path) -> None:
    before, after, new = File("a.dsc", "1" * 64, 1), File("a.dsc", "2" * 64, 2), File("a.changes", "3" * 64, 3)
    audit.signed(tmp_path / "log", AT, made.update, Evidence("K", ("alice", "bob")), [(None, new), (before, after)])
    changed = [
        {"name": "a.changes", "before": None, "after": "3" * 64},
        {"name": "a.dsc", "before": "1" * 64, "after": "2" * 64},
    ]
    found = json.loads((tmp_path / "log").read_text())
    assert found == {**WHAT, "key": "K", "people": ["alice", "bob"], "signed": changed}


def test_lines_are_added_and_none_is_lost(made: Made, tmp_path: Path) -> None:
    for reason in ("one\nline", "another \x1b[2J"):
        audit.refused(tmp_path / "log", AT, made.update, reason)
    lines = (tmp_path / "log").read_text().splitlines()
    assert [json.loads(line)["refused"] for line in lines] == ["one\nline", "another \x1b[2J"]
    assert "\x1b" not in "".join(lines)


def test_only_the_signer_reads_it(made: Made, tmp_path: Path) -> None:
    audit.refused(tmp_path / "log", AT, made.update, "no")
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
