"""What all replies share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

__all__ = ["PREFIX", "ListReply", "Moment", "ProblemDocument", "Reply"]

PREFIX = "/v1"
T = TypeVar("T")


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


Moment = Annotated[
    datetime,
    PlainSerializer(_utc, return_type=str),
    Field(json_schema_extra={"examples": ["2026-11-23T17:00:00.123Z"]}),
]
"""A time in UTC with milliseconds."""


class Reply(BaseModel):
    """Part of a reply."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class ListReply(Reply, Generic[T]):
    """A page of a list."""

    object: Literal["list"] = "list"
    data: Sequence[T]
    has_more: bool
    next_cursor: str | None
    """Ask again with `cursor` set to this for the next page; null on the last one."""


class ProblemItem(Reply):
    """One thing that is wrong."""

    pointer: str
    """A JSON pointer into the body, `?name` for a query parameter, or a header's name."""
    message: str


class ProblemDocument(Reply):
    """Why a request failed (RFC 9457, `application/problem+json`); some codes add members of their own."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    """Stable, for programs."""
    errors: list[ProblemItem]
    """Every problem at once."""
    request_id: str
    retryable: bool
    """Whether the same request may succeed later."""
