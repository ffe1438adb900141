# SPDX-License-Identifier: GPL-3.0-or-later
"""Wire types to JSON and back. Decoding refuses unknown keys, missing keys, wrong types and other versions."""

import dataclasses
import json
import math
import types
from enum import Enum
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from workers.wire.order import WIRE_VERSION

T = TypeVar("T")


class WireError(ValueError):
    """The other side said something this version of the contract does not know."""


def encode(value: object) -> str:
    """A wire dataclass as one line of JSON, keys in the order of the type."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        raise TypeError(f"{value!r} is not a wire type")
    return json.dumps(dataclasses.asdict(value), ensure_ascii=False, separators=(",", ":"))


def decode(kind: type[T], text: str | bytes) -> T:
    """The reverse of `encode`; raises WireError, whatever the bytes are."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError("not JSON") from error
    value: T = _read(kind, raw, kind.__name__)
    return value


def _read(kind: Any, raw: Any, where: str) -> Any:
    origin = get_origin(kind)
    if origin is types.UnionType:
        return _read_optional(kind, raw, where)
    if origin is tuple:
        return _read_tuple(kind, raw, where)
    if origin is dict:
        return _read_dict(kind, raw, where)
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, raw, where)
    return _read_scalar(kind, raw, where)


def _read_optional(kind: Any, raw: Any, where: str) -> Any:
    inner = [option for option in get_args(kind) if option is not types.NoneType]
    return None if raw is None else _read(inner[0], raw, where)


def _read_tuple(kind: Any, raw: Any, where: str) -> Any:
    if not isinstance(raw, list):
        raise WireError(f"{where}: a list was expected")
    return tuple(_read(get_args(kind)[0], item, f"{where}[{number}]") for number, item in enumerate(raw))


def _read_dict(kind: Any, raw: Any, where: str) -> Any:
    if not isinstance(raw, dict):
        raise WireError(f"{where}: an object was expected")
    key_kind, value_kind = get_args(kind)
    return {_read(key_kind, key, where): _read(value_kind, value, f"{where}.{key}") for key, value in raw.items()}


def _read_dataclass(kind: Any, raw: Any, where: str) -> Any:
    if not isinstance(raw, dict):
        raise WireError(f"{where}: an object was expected")
    hints = get_type_hints(kind)
    unknown = sorted(set(raw) - set(hints))
    required = {
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    missing = sorted(required - set(raw))
    if unknown or missing:
        raise WireError(f"{where}: unknown {unknown}, missing {missing}")
    if raw.get("version", WIRE_VERSION) != WIRE_VERSION and "version" in hints:
        raise WireError(f"{where}: speaks version {raw['version']}, this side speaks {WIRE_VERSION}")
    return kind(**{name: _read(hints[name], item, f"{where}.{name}") for name, item in raw.items()})


def _read_scalar(kind: Any, raw: Any, where: str) -> Any:
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(raw)
        except ValueError as error:
            raise WireError(f"{where}: {raw!r} is not one of {[member.value for member in kind]}") from error
    if type(raw) is not kind and not (kind is float and type(raw) is int):
        raise WireError(f"{where}: {kind.__name__} was expected")
    if kind is float:
        return _read_float(raw, where)
    return _read_text(raw, where) if kind is str else raw


def _read_float(raw: float, where: str) -> float:
    try:
        number = float(raw)
    except OverflowError as error:
        raise WireError(f"{where}: too large a number") from error
    if not math.isfinite(number):
        raise WireError(f"{where}: a finite number was expected")
    return number


def _read_text(raw: str, where: str) -> str:
    # JSON can escape both, and no database keeps either.
    if "\0" in raw or any("\ud800" <= character <= "\udfff" for character in raw):
        raise WireError(f"{where}: text that is not Unicode")
    return raw
