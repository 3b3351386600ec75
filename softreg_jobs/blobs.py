"""Bytes in PostgreSQL: chunks of 1 MiB, checked on every read, visible only when whole.

A blob is written as `uploading`, in transactions of at most 32 MiB, and becomes `published` in the transaction that
also makes it mean something (a checkpoint, a model's file, a dataset). What nobody holds any more is `discarded`, and
swept a little later.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from softreg_core.errors import IntegrityError
from softreg_jobs.ids import new_id
from softreg_jobs.tables import blob_chunks, blobs, now

__all__ = [
    "CHUNK_BYTES",
    "Blob",
    "Prepared",
    "discard",
    "open_range",
    "prepare",
    "publish",
    "save_to",
    "sweep_blobs",
    "upload",
    "write",
]

CHUNK_BYTES = 2**20
_COMMIT_CHUNKS = 32
_WRITERS = 2
_READ_CHUNKS = 4
_TOGETHER_BYTES = 8 * 2**20
# A slow download of a checkpoint may outlast the checkpoint's retention by this much.
_READERS_SECONDS = 300.0
_UPLOAD_HOURS = 24
_COPY = "COPY blob_chunks (blob_id, idx, data, crc32) FROM STDIN (FORMAT BINARY)"


@dataclass(frozen=True, slots=True)
class Blob:
    """A stored byte string."""

    id: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """Blobs to be published in one transaction."""

    blobs: tuple[Blob, ...]
    contents: tuple[bytes, ...] = ()
    """Their bytes, where these are still to be written."""


def upload(engine: Engine, path: Path) -> Blob:
    """Store a file's bytes as an unpublished blob; commits on the way, so it takes an engine."""
    blob_id, size = new_id("blob"), path.stat().st_size
    starts = range(0, -(-size // CHUNK_BYTES), _COMMIT_CHUNKS)
    if len(starts) <= 1:
        blob = Blob(blob_id, _sha256(path), size)
        with engine.begin() as connection:
            connection.execute(insert(blobs).values(id=blob_id, sha256=blob.sha256, size=size, state="uploading"))
            _copy_chunks(connection, blob_id, 0, path)
        return blob
    with engine.begin() as connection:
        connection.execute(insert(blobs).values(id=blob_id, sha256="", size=0, state="uploading"))
    blob = Blob(blob_id, _copy_at_once(engine, blob_id, starts, path), size)
    with engine.begin() as connection:
        connection.execute(update(blobs).where(blobs.c.id == blob_id).values(sha256=blob.sha256, size=size))
    return blob


def _copy_at_once(engine: Engine, blob_id: str, starts: range, path: Path) -> str:
    """COPY stretches of a file over connections of their own; returns the file's digest.

    The server takes four times as long for a chunk as we do, and works on each connection in another process.
    """

    def stretch(start: int) -> None:
        with engine.begin() as connection:
            _copy_chunks(connection, blob_id, start, path)

    writers = ThreadPoolExecutor(_WRITERS)
    try:
        stretches = [writers.submit(stretch, start) for start in starts]
        sha256 = _sha256(path)
        for written in stretches:
            written.result()
    finally:
        writers.shutdown(cancel_futures=True)
    return sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def prepare(engine: Engine, paths: Sequence[Path]) -> Prepared:
    """Blobs of files: small ones are read, for `write` in the transaction that publishes them; others uploaded here."""
    if sum(path.stat().st_size for path in paths) > _TOGETHER_BYTES:
        return Prepared(tuple(upload(engine, path) for path in paths))
    contents = tuple(path.read_bytes() for path in paths)
    stored = (Blob(new_id("blob"), hashlib.sha256(data).hexdigest(), len(data)) for data in contents)
    return Prepared(tuple(stored), contents)


def write(connection: Connection, prepared: Prepared) -> None:
    """Store what was read, unpublished, in the caller's transaction; may be said again after a lost answer."""
    if not prepared.contents:
        return
    rows = [{"id": blob.id, "sha256": blob.sha256, "size": blob.size, "state": "uploading"} for blob in prepared.blobs]
    adding = insert(blobs).values(rows).on_conflict_do_nothing(index_elements=[blobs.c.id]).returning(blobs.c.id)
    added = set(connection.execute(adding).scalars())
    with _copying(connection) as copy:
        for blob, data in zip(prepared.blobs, prepared.contents, strict=True):
            for index in range(-(-blob.size // CHUNK_BYTES) if blob.id in added else 0):
                chunk = data[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]
                copy.write_row((blob.id, index, chunk, zlib.crc32(chunk)))


def _copy_chunks(connection: Connection, blob_id: str, start: int, path: Path) -> None:
    """COPY up to `_COMMIT_CHUNKS` chunks of a file, from chunk `start` on."""
    with path.open("rb") as file, _copying(connection) as copy:
        file.seek(start * CHUNK_BYTES)
        for index in range(start, start + _COMMIT_CHUNKS):
            data = file.read(CHUNK_BYTES)
            if not data:
                break
            copy.write_row((blob_id, index, data, zlib.crc32(data)))


@contextmanager
def _copying(connection: Connection) -> Iterator[psycopg.Copy]:
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101  # an open connection has one
    with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
        copy.set_types(["text", "int4", "bytea", "int8"])
        yield copy


def publish(connection: Connection, *stored: Blob) -> None:
    """Make blobs visible, in the caller's transaction, if all their bytes are there.

    Raises:
        IntegrityError: the chunks do not add up to a blob.
    """
    ids = [blob.id for blob in stored]
    sizes = func.sum(func.octet_length(blob_chunks.c.data))
    sums = select(blob_chunks.c.blob_id, func.count(), sizes).where(blob_chunks.c.blob_id.in_(ids))
    there = {
        blob_id: (count, size) for blob_id, count, size in connection.execute(sums.group_by(blob_chunks.c.blob_id))
    }
    for blob in stored:
        count, size = there.get(blob.id, (0, 0))
        if size != blob.size or count != -(-blob.size // CHUNK_BYTES):
            raise IntegrityError(f"blob {blob.id} has {size} of {blob.size} bytes")
    known = [(blob.id, blob.sha256, blob.size) for blob in stored]
    is_whole = tuple_(blobs.c.id, blobs.c.sha256, blobs.c.size).in_(known)
    done = connection.execute(update(blobs).where(is_whole).values(state="published"))
    if done.rowcount != len(stored):
        raise IntegrityError(f"{len(stored) - done.rowcount} of the blobs {', '.join(ids)} are not what was uploaded")


def open_range(connection: Connection, blob: Blob, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """Bytes `start` to `stop` (exclusive) of a stored blob, in pieces of at most 1 MiB.

    Raises:
        IntegrityError: a chunk is missing or does not match its checksum.
    """
    stop = blob.size if stop is None else min(stop, blob.size)
    last = -(-stop // CHUNK_BYTES)
    for first in range(start // CHUNK_BYTES, last, _READ_CHUNKS):
        rows = _chunks(connection, blob, first, min(first + _READ_CHUNKS, last))
        for index in range(first, min(first + _READ_CHUNKS, last)):
            offset = index * CHUNK_BYTES
            row = rows.get(index)
            if row is None or len(row[0]) != min(CHUNK_BYTES, blob.size - offset) or zlib.crc32(row[0]) != row[1]:
                raise IntegrityError(f"chunk {index} of blob {blob.id} is damaged")
            yield row[0][max(0, start - offset) : stop - offset]


def _chunks(connection: Connection, blob: Blob, first: int, last: int) -> dict[int, tuple[bytes, int]]:
    """Data and checksum of chunks `first` to `last` (exclusive), as far as they are there."""
    wanted = (
        select(blob_chunks.c.idx, blob_chunks.c.data, blob_chunks.c.crc32)
        .join(blobs, blobs.c.id == blob_chunks.c.blob_id)
        .where(blobs.c.id == blob.id, blobs.c.state != "uploading")
        .where(blob_chunks.c.idx >= first, blob_chunks.c.idx < last)
    )
    with _binary(connection):
        return {row.idx: (row.data, row.crc32) for row in connection.execute(wanted)}


class _BinaryCursor(psycopg.Cursor[Any]):
    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.format = psycopg.pq.Format.BINARY


@contextmanager
def _binary(connection: Connection) -> Iterator[None]:
    """Have results as bytes: as text each byte would come as two hexadecimal digits, to be read again here."""
    driver: Any = connection.connection.driver_connection
    usual, driver.cursor_factory = driver.cursor_factory, _BinaryCursor
    try:
        yield
    finally:
        driver.cursor_factory = usual


def save_to(connection: Connection, blob: Blob, path: Path) -> None:
    """Write a published blob to `path`.

    Raises:
        IntegrityError: the bytes do not have the blob's digest.
    """
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for piece in open_range(connection, blob):
            digest.update(piece)
            file.write(piece)
    if digest.hexdigest() != blob.sha256:
        raise IntegrityError(f"blob {blob.id} does not match its sha256")


def discard(connection: Connection, ids: list[str]) -> None:
    """Nobody holds these blobs any more; who is reading one may finish."""
    if ids:
        connection.execute(update(blobs).where(blobs.c.id.in_(ids)).values(state="discarded", discarded_at=now()))


def sweep_blobs(connection: Connection) -> None:
    """Remove what was discarded a while ago, and uploads that were never finished."""
    is_past = blobs.c.discarded_at < now() - timedelta(seconds=_READERS_SECONDS)
    is_stale = (blobs.c.state == "uploading") & (blobs.c.created_at < now() - timedelta(hours=_UPLOAD_HOURS))
    connection.execute(delete(blobs).where(is_past | is_stale))
