"""Files out of the database: ranges, conditions, and a stream that holds nothing while the client is slow.

A blob never changes, so its sha256 is a strong entity tag, and each stretch can be read in a transaction of its own:
between two of them a download holds neither a connection nor a thread.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from sqlalchemy import Connection

from api.refusals import PreconditionFailedError, RangeNotSatisfiableError
from api.runtime import Runtime, runtime_of
from softreg_jobs.blobs import CHUNK_BYTES, Blob, open_range

__all__ = ["file_response", "matches"]

# Two stretches are held at once: the one that is sent, and the one that is read meanwhile.
_STRETCH_BYTES = 2 * CHUNK_BYTES
# What the socket takes at once; of a larger piece the event loop would move the rest again and again.
_PIECE_BYTES = CHUNK_BYTES // 4
_RANGE = re.compile(r"bytes=(?:([0-9]+)-([0-9]*)|-([0-9]+))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Span:
    """Bytes `start` to `stop` (exclusive) of a file."""

    start: int
    stop: int


def matches(header: str, tag: str) -> bool:
    """Whether an If-None-Match or If-Match header names `tag`; weak and strong forms count as equal."""
    names = [name.strip().removeprefix("W/") for name in header.split(",")]
    return "*" in names or tag.removeprefix("W/") in names


def file_response(request: Request, connection: Connection, blob: Blob, name: str) -> Response:
    """The answer to GET or HEAD of a stored file.

    Raises:
        PreconditionFailedError: If-Match names another version.
        RangeNotSatisfiableError: the range begins past the end.
        IntegrityError: its first stretch is damaged; a later one can only break the transfer off.
    """
    tag = f'"{blob.sha256}"'
    headers = _headers(blob, name, tag)
    if (wanted := request.headers.get("if-match")) is not None and not matches(wanted, tag):
        raise PreconditionFailedError(f"the file is another version than {wanted[:200]}")
    if (known := request.headers.get("if-none-match")) is not None and matches(known, tag):
        return Response(status_code=304, headers={"ETag": tag})
    span = _requested(request, blob.size, tag)
    status = 200
    if span is None:
        span = _Span(0, blob.size)
    else:
        status = 206
        headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{blob.size}"
    headers["Content-Length"] = str(span.stop - span.start)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    # Before the reply begins, so that a missing or damaged file is an error and no empty download.
    first = _read(connection, blob, span.start, _next_stop(span.start, span.stop))
    return StreamingResponse(_stream(runtime_of(request), blob, span, first), status, headers)


def _headers(blob: Blob, name: str, tag: str) -> dict[str, str]:
    """Bytes to be saved, whatever they look like: no browser shows, guesses or runs them."""
    safe_name = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    return {
        "ETag": tag,
        "Repr-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(blob.sha256)).decode()}:",
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Type": "application/octet-stream",
        "Content-Disposition": f'attachment; filename="{safe_name}"',
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }


def _requested(request: Request, size: int, tag: str) -> _Span | None:
    """The one range asked for; None for the whole file: also for several ranges and for forms that are none."""
    form = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if form is None or request.headers.get("if-range", tag) != tag:
        return None
    first, last, suffix = form.groups()
    if suffix is not None:
        start, stop = max(0, size - _position(suffix)), size
    else:
        start, stop = _position(first), min(size, _position(last) + 1) if last else size
        if last and _position(last) < start:
            return None
    if start >= stop:
        raise RangeNotSatisfiableError(f"the range lies outside the file's {size} bytes", size)
    return _Span(start, stop)


def _position(digits: str) -> int:
    """A position in a file, cut to 19 digits, which is past every end: Python's int() refuses thousands of them."""
    return int(digits.lstrip("0")[:19] or "0")


def _next_stop(start: int, stop: int) -> int:
    """Stretches end where chunks end: no chunk is read twice."""
    return min(stop, (start // _STRETCH_BYTES + 1) * _STRETCH_BYTES)


def _read(connection: Connection, blob: Blob, start: int, stop: int) -> list[bytes]:
    return list(open_range(connection, blob, start, stop))


async def _stream(runtime: Runtime, blob: Blob, span: _Span, first: list[bytes]) -> AsyncIterator[bytes | memoryview]:
    """The file's bytes; each stretch is read while the one before is sent."""
    chunks, stop = first, _next_stop(span.start, span.stop)
    while chunks:
        start, stop = stop, _next_stop(stop, span.stop)
        read = partial(_read, blob=blob, start=start, stop=stop)
        coming = asyncio.ensure_future(runtime.singly(read)) if start < span.stop else None
        if coming is not None:
            # A client may leave before anybody waits for it: then its failure is nobody's.
            coming.add_done_callback(lambda done: done.cancelled() or done.exception())
        for chunk in chunks:
            view = memoryview(chunk)
            for offset in range(0, len(chunk), _PIECE_BYTES):
                yield view[offset : offset + _PIECE_BYTES]
        chunks = [] if coming is None else await coming
