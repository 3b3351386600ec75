"""Keyset paging: a page is found by the key of the row before it, so rows that come or go meanwhile shift nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Select

__all__ = ["Page", "page"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A stretch of a longer list; `has_more` tells whether another follows."""

    items: Sequence[T]
    has_more: bool


def page(
    connection: Connection,
    statement: Select[Any],
    key: ColumnElement[Any],
    make: Callable[[Row[Any]], T],
    *,
    limit: int,
    after: str | int | None,
    newest_first: bool,
) -> Page[T]:
    """The rows of `statement` by `key`, at most `limit`, behind the one whose key is `after`."""
    if after is not None:
        statement = statement.where(key < after if newest_first else key > after)
    # One row more than asked tells whether there is more.
    rows = connection.execute(statement.order_by(key.desc() if newest_first else key).limit(limit + 1)).all()
    return Page([make(row) for row in rows[:limit]], len(rows) > limit)
