"""Page cursors: the last key of a page, signed together with the question that it answered."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json

from api.refusals import InvalidRequestError
from softreg_core.errors import Problem

__all__ = ["Cursors"]

_MAC_BYTES = 16


class Cursors:
    """Opaque to clients; a cursor made up, altered, or used with another question is refused."""

    def __init__(self, key: bytes) -> None:
        self._key = key

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
