# SPDX-License-Identifier: GPL-3.0-or-later
"""Column types that give the model's own values back, the same on SQLite and PostgreSQL. Nothing here knows a table."""

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import DateTime, Dialect, Text
from sqlalchemy.types import TypeDecorator

from coordinator.store.text import storable

E = TypeVar("E", bound=StrEnum)


class Words(TypeDecorator[str]):
    """Text from anywhere."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        """Only what can be stored."""
        return None if value is None else storable(value)


class Choice(TypeDecorator[E]):
    """One member of a closed set, stored as its word."""

    impl = Text
    cache_ok = True

    def __init__(self, members: type[E]) -> None:
        super().__init__()
        self.members = members

    def process_bind_param(self, value: E | None, _dialect: Dialect) -> str | None:
        """The member's word; raises ValueError for any other."""
        return None if value is None else self.members(value).value

    def process_result_value(self, value: str | None, _dialect: Dialect) -> E | None:
        """The member; raises ValueError where the row holds another word."""
        return None if value is None else self.members(value)


class Moment(TypeDecorator[datetime]):
    """A point in time, always aware UTC. SQLite has no type for it and keeps the digits alone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """In UTC; raises ValueError for a time that does not say where."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """In UTC, whatever zone the database's session has."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Json(TypeDecorator[Any]):
    """A frozen value that is never searched, as one JSON text. A text column, because JSONB refuses an escaped NUL."""

    impl = Text
    cache_ok = True

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.kind = kind
        self._adapter: TypeAdapter[Any] = TypeAdapter(kind)

    def process_bind_param(self, value: Any, _dialect: Dialect) -> str | None:
        """Its JSON; only what can be stored, so that it can always be read again."""
        if value is None:
            return None
        return storable(json.dumps(self._adapter.dump_python(value), ensure_ascii=False))

    def process_result_value(self, value: str | None, _dialect: Dialect) -> Any:
        """The value again."""
        return None if value is None else self._adapter.validate_json(value)
