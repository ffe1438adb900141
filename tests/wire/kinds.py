# SPDX-License-Identifier: GPL-3.0-or-later
"""Every type of the contract, found and not listed, and a strategy that makes any value of it."""

import dataclasses
import types
from enum import Enum
from typing import Any, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from workers.wire import order, report

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
SCALARS: dict[type, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: st.integers(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
}

#: Every dataclass the two modules of the contract define.
TOP: list[type] = sorted(
    {
        found
        for module in (order, report)
        for found in vars(module).values()
        if isinstance(found, type) and dataclasses.is_dataclass(found)
    },
    key=lambda kind: kind.__name__,
)


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a wire type."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        fields = {name: values(hint) for name, hint in get_type_hints(kind).items() if name != "version"}
        return st.builds(kind, **fields)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is tuple:
        return st.lists(values(inner[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(values(inner[0]), values(inner[1]), max_size=3)
    if origin is types.UnionType:
        return st.one_of(*(st.none() if option is types.NoneType else values(option) for option in inner))
    if issubclass(kind, Enum):
        return st.sampled_from(kind)
    return SCALARS[kind]


def leaves(kind: Any) -> set[type]:
    """The plain types that a field of that type is made of, however deep."""
    if get_args(kind):
        return {leaf for option in get_args(kind) if option is not Ellipsis for leaf in leaves(option)}
    if dataclasses.is_dataclass(kind):
        return {leaf for hint in get_type_hints(kind).values() for leaf in leaves(hint)}
    return {kind}
