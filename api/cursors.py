"""Page cursors: the last key of a page, signed together with the question that it answered."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from api.refusals import InvalidRequestError
from softreg_core.errors import Problem
from softreg_jobs.paging import Page

__all__ = ["Cursors", "Stretch"]

_MAC_BYTES = 16
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Which part of a list is asked for."""

    limit: int
    newest_first: bool
    cursor: str | None


class Cursors:
    """Opaque to clients; a cursor made up, altered, or used with another question is refused."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def list_fields(
        self,
        question: list[str],
        asked: Stretch,
        find: Callable[..., Page[Row]],
        show: Callable[[Row], Any],
        key: Callable[[Row], str | int],
    ) -> dict[str, Any]:
        """The fields of a `ListReply`, with the cursor of the page that follows.

        Args:
            question: what is listed, the tenant, and the filters.
            asked: which part of that list.
            find: gives a page for `limit`, `after` and `newest_first`.
            show: a row as the reply shows it.
            key: what the rows are ordered by.

        Raises:
            InvalidRequestError: the cursor was not given out for this question.
        """
        whole = [*question, str(asked.newest_first)]
        after = None if asked.cursor is None else self.read(whole, asked.cursor)
        page = find(limit=asked.limit, after=after, newest_first=asked.newest_first)
        following = self.write(whole, key(page.items[-1])) if page.has_more else None
        return {"data": [show(row) for row in page.items], "has_more": page.has_more, "next_cursor": following}

    def write(self, question: list[str], last: str | int) -> str:
        """The cursor that stands after `last` in the answer to `question` (path, tenant, order, filters)."""
        payload = json.dumps(last).encode()
        return base64.urlsafe_b64encode(self._mac(question, payload) + payload).decode().rstrip("=")

    def read(self, question: list[str], cursor: str) -> str | int:
        """The key in a cursor.

        Raises:
            InvalidRequestError: it was not given out for this question.
        """
        try:
            signed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            signed = b""
        mac, payload = signed[:_MAC_BYTES], signed[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(question, payload)):
            message = "this cursor was not given out for this list, order and filters"
            raise InvalidRequestError("the cursor is not valid here", [Problem("?cursor", message)])
        last: str | int = json.loads(payload)
        return last

    def _mac(self, question: list[str], payload: bytes) -> bytes:
        message = json.dumps(question).encode() + b"\0" + payload
        return hmac.new(self._key, message, hashlib.sha256).digest()[:_MAC_BYTES]
