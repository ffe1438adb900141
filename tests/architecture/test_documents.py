# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documents say of the code, held against the code."""

import re
import subprocess

from coordinator import errors
from coordinator.diagram import diagram
from tests.architecture.tree import ROOT, files, place


def all_errors() -> list[type[errors.PatchfarmError]]:
    """The whole tree of errors, the root first."""
    found = [errors.PatchfarmError]
    for kind in found:
        found.extend(kind.__subclasses__())
    return [kind for kind in dict.fromkeys(found) if kind.__module__ == errors.__name__]


def test_the_diagram_is_the_one_that_the_table_makes() -> None:
    shown = re.findall(r"```mermaid\n(.*?)```", (ROOT / "ARCHITECTURE.md").read_text(), re.DOTALL)
    assert shown == [diagram()], "run `python -m coordinator.diagram` and put its output into ARCHITECTURE.md"


def test_the_readme_lists_every_exit_code_with_its_error_and_blame() -> None:
    readme = (ROOT / "README.md").read_text()
    rows = [f"| {kind.exit_code} | `{kind.__name__}` | {kind.blame} |" for kind in all_errors()]
    assert [row for row in rows if row not in readme] == []


def test_no_two_errors_share_an_exit_code() -> None:
    codes = [kind.exit_code for kind in all_errors()]
    assert sorted(codes) == sorted(set(codes))


def test_every_error_says_what_to_do_next_in_a_sentence() -> None:
    assert [kind.__name__ for kind in all_errors() if not re.fullmatch(r"[`A-Z].+\.", kind.advice)] == []


def test_every_decision_is_in_the_index_and_has_its_three_parts() -> None:
    folder = ROOT / "docs" / "adr"
    records = sorted(folder.glob("[0-9]*.md"))
    index = (folder / "README.md").read_text()
    assert records
    for record in records:
        assert f"({record.name})" in index, record.name
        assert {"## Context", "## Decision", "## Consequences"} <= set(record.read_text().splitlines()), record.name


def test_every_link_to_a_file_leads_somewhere() -> None:
    broken = [
        f"{place(path)}: {target}"
        for path in files()
        if path.suffix == ".md"
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())
        if not (path.parent / target).exists()
    ]
    assert broken == []


def test_the_readme_says_what_every_benchmark_measures() -> None:
    scripts = [path.stem for path in (ROOT / "benchmarks").glob("*.py") if "\ndef main()" in path.read_text()]
    readme = (ROOT / "README.md").read_text()
    assert [name for name in scripts if f"| `{name}` |" not in readme] == []


def test_the_licence_is_the_one_that_every_file_names() -> None:
    head = (ROOT / "LICENSE").read_text().splitlines()[:2]
    assert [line.strip() for line in head] == ["GNU GENERAL PUBLIC LICENSE", "Version 3, 29 June 2007"]
    tracked = subprocess.run(["git", "-C", str(ROOT), "check-ignore", "LICENSE"], capture_output=True)
    assert tracked.returncode == 1
