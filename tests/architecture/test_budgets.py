# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits on size and shape. A guard that fails is a reason to split something, and never to raise the limit."""

import ast
import re
import subprocess
import sys

from tests.architecture.tree import CODE, ROOT, files, nodes, place, python, tree

FILE_LINES = 400
FUNCTION_LINES = 60
BROAD_EXCEPTS = 5
LICENSE_LINE = "# SPDX-License-Identifier: GPL-3.0-or-later"
EXEMPTION = re.compile(r"# (?:noqa|type: ignore)")
EXPLAINED = re.compile(r"# (?:noqa: [A-Z]+\d+(?:, [A-Z]+\d+)*|type: ignore\[[a-z-]+(?:, ?[a-z-]+)*\]) +(?:# )?\S+ \S+")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    lengths = {place(path): len(path.read_text().splitlines()) for path in python()}
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    lengths = {
        place(path, node.lineno): (node.end_lineno or node.lineno) - node.lineno + 1
        for path, node in nodes(python())
        if isinstance(node, Function)
    }
    assert {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES} == {}


def test_every_file_of_code_begins_with_its_licence() -> None:
    assert [place(path) for path in python() if path.read_text().split("\n", 1)[0] != LICENSE_LINE] == []


def test_every_script_names_its_licence_below_its_interpreter() -> None:
    scripts = [path for path in files() if path.suffix == ".sh" or path.name == "patchfarm"]
    assert scripts
    assert [place(path) for path in scripts if LICENSE_LINE not in path.read_text().splitlines()[:2]] == []


def test_every_module_says_what_it_is_for() -> None:
    assert [place(path) for path in python() if not ast.get_docstring(tree(path))] == []


def test_ruff_agrees_though_a_comment_may_have_asked_it_not_to() -> None:
    rules = {
        "C901": "too complex",
        "PLC0415": "an import inside a function",
        "S602": "a shell",
        "S604": "a shell",
        "S605": "a shell",
        "E722": "a bare except",
    }
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--ignore-noqa", "--output-format=concise"]
    found = subprocess.run(
        [*command, "--select", ",".join(rules), *CODE, "tests", "benchmarks"], cwd=ROOT, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_no_call_asks_for_a_shell() -> None:
    asked = [
        place(path, node.value.lineno)
        for path, node in nodes(python())
        if isinstance(node, ast.keyword) and node.arg == "shell" and ast.unparse(node.value) != "False"
    ]
    assert asked == []


def broad_excepts() -> list[tuple[str, str]]:
    """Where Exception or more is caught, and the line with what follows it."""
    found = []
    for path, node in nodes(python(*CODE)):
        if isinstance(node, ast.ExceptHandler) and catches_all(node):
            lines = path.read_text().splitlines()
            found.append((place(path, node.lineno), lines[node.lineno - 1]))
    return found


def catches_all(handler: ast.ExceptHandler) -> bool:
    names = (
        {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)} if handler.type else {"Exception"}
    )
    return bool(names & {"Exception", "BaseException"})


def test_everything_is_caught_only_at_a_few_edges_and_with_a_reason() -> None:
    found = broad_excepts()
    assert [where for where, line in found if "#" not in line] == []
    assert len(found) <= BROAD_EXCEPTS, found


def test_every_exemption_from_a_check_names_the_check_and_gives_its_reason() -> None:
    unexplained = [
        place(path, number)
        for path in python(*CODE)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if EXEMPTION.search(line) and not EXPLAINED.search(line)
    ]
    assert unexplained == []
