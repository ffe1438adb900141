# SPDX-License-Identifier: GPL-3.0-or-later
"""The project's own files, as the guards of its shape read them."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = ("coordinator", "workers")


def files() -> list[Path]:
    """Every file that is, or will be, part of the project."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        check=True,
        capture_output=True,
        text=True,
    )
    named = (ROOT / name for name in listed.stdout.split("\0") if name)
    return sorted({path for path in named if path.is_file()})


def python(*roots: str) -> list[Path]:
    """The Python files below the named folders; all of them where none is named."""
    found = [path for path in files() if path.suffix == ".py"]
    return [path for path in found if not roots or path.relative_to(ROOT).parts[0] in roots]


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def nodes(paths: list[Path]) -> Iterator[tuple[Path, ast.AST]]:
    """Every node of every file."""
    for path in paths:
        for node in ast.walk(tree(path)):
            yield path, node


def place(path: Path, line: int = 1) -> str:
    """Where it is, as an editor opens it."""
    return f"{path.relative_to(ROOT)}:{line}"


def text(path: Path) -> str:
    """What a person could read in it; nothing where it is not text."""
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return ""
