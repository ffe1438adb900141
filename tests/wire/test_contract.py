# SPDX-License-Identifier: GPL-3.0-or-later
"""What the contract may never come to carry, asserted over its types and not over its values."""

import ast
import dataclasses
import re
import sys
import types
from enum import Enum
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import pytest

from tests.wire.kinds import TOP, leaves
from workers.wire import arch

WIRE = Path(arch.__file__).parent
#: Words that a field for a secret, an address of a database or a person would be called by.
FORBIDDEN = re.compile(
    r"(^|_)(key|keys|secret|token|password|passphrase|credentials?|private|dsn|database|broker|host_key|user_name)(_|$)"
)
PLAIN = {str, int, float, bool, types.NoneType}


@pytest.mark.parametrize("kind", TOP)
def test_no_field_is_named_for_a_secret_or_a_database(kind: type) -> None:
    assert [field.name for field in dataclasses.fields(kind) if FORBIDDEN.search(field.name)] == []


@pytest.mark.parametrize("kind", TOP)
def test_a_field_holds_plain_values_closed_words_and_other_wire_types_only(kind: type) -> None:
    open_ones = {leaf for leaf in leaves(kind) if leaf not in PLAIN and not issubclass(leaf, Enum)}
    assert open_ones == set()


@pytest.mark.parametrize("kind", TOP)
def test_a_mapping_has_closed_words_on_both_sides(kind: type) -> None:
    mappings = [hint for hint in get_type_hints(kind).values() if get_origin(hint) is dict]
    assert all(issubclass(word, Enum) for mapping in mappings for word in get_args(mapping))


@pytest.mark.parametrize("kind", TOP)
def test_wire_types_are_frozen(kind: type) -> None:
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]  # every dataclass has it


@pytest.mark.parametrize("path", sorted(WIRE.glob("*.py")), ids=lambda path: path.name)
def test_the_contract_needs_the_standard_library_alone(path: Path) -> None:
    outside = {
        name
        for name in imported(ast.parse(path.read_text()))
        if not name.startswith("workers.wire") and name.split(".")[0] not in sys.stdlib_module_names
    }
    assert outside == set()


def imported(tree: ast.Module) -> set[str]:
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


def test_every_real_architecture_can_be_emulated_and_runs_natively_somewhere() -> None:
    natively = set().union(*arch.RUNS_NATIVELY.values())
    assert set(arch.QEMU) == natively == set(arch.Arch) - {arch.Arch.ALL}
