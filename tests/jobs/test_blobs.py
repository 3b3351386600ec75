"""Bytes in PostgreSQL: whole or invisible, checked on every read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text, update

from softreg_core.errors import IntegrityError
from softreg_jobs import blobs
from softreg_jobs.blobs import CHUNK_BYTES, Blob
from softreg_jobs.tables import blob_chunks


def stored(engine: Engine, tmp_path: Path, content: bytes) -> Blob:
    path = tmp_path / "content"
    path.write_bytes(content)
    blob = blobs.upload(engine, path)
    with engine.begin() as connection:
        blobs.publish(connection, blob)
    return blob


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 33 * CHUNK_BYTES + 17])
def test_what_goes_in_comes_out(engine: Engine, tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    blob = stored(engine, tmp_path, content)
    target = tmp_path / "target"
    with engine.connect() as connection:
        blobs.save_to(connection, blob, target)
    assert target.read_bytes() == content


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 10), (CHUNK_BYTES - 3, CHUNK_BYTES + 3), (CHUNK_BYTES, 2 * CHUNK_BYTES), (5, None), (2 * CHUNK_BYTES, 9**9)],
)
def test_ranges_cross_chunks(engine: Engine, tmp_path: Path, start: int, stop: int | None) -> None:
    content = os.urandom(2 * CHUNK_BYTES + 100)
    blob = stored(engine, tmp_path, content)
    with engine.connect() as connection:
        assert b"".join(blobs.open_range(connection, blob, start, stop)) == content[start:stop]


def test_an_unpublished_blob_cannot_be_read(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "content"
    path.write_bytes(b"secret")
    blob = blobs.upload(engine, path)
    with engine.connect() as connection, pytest.raises(IntegrityError):
        list(blobs.open_range(connection, blob))


def test_small_files_are_written_with_what_publishes_them_or_not_at_all(engine: Engine, tmp_path: Path) -> None:
    contents = {"none": b"", "short": b"abc", "chunks": os.urandom(2 * CHUNK_BYTES + 5)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    prepared = blobs.prepare(engine, [tmp_path / name for name in contents])
    with engine.connect() as connection:
        blobs.write(connection, prepared)
        blobs.publish(connection, *prepared.blobs)  # and is not committed
    with engine.connect() as connection:
        assert connection.execute(select(blob_chunks.c.idx)).all() == []
    for _ in range(2):  # the second time because the first answer was lost
        with engine.begin() as connection:
            blobs.write(connection, prepared)
            blobs.publish(connection, *prepared.blobs)
    with engine.connect() as connection:
        assert [b"".join(blobs.open_range(connection, blob)) for blob in prepared.blobs] == list(contents.values())


@pytest.mark.parametrize("bit", [0, 7, 8 * 1000 + 3, 8 * CHUNK_BYTES + 5])
def test_a_flipped_bit_is_refused(engine: Engine, tmp_path: Path, bit: int) -> None:
    blob = stored(engine, tmp_path, os.urandom(CHUNK_BYTES + 500))
    index, offset = divmod(bit, 8 * CHUNK_BYTES)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE blob_chunks SET data = set_bit(data, :bit, 1 - get_bit(data, :bit)) WHERE idx = :index"),
            {"bit": offset, "index": index},
        )
    with engine.connect() as connection, pytest.raises(IntegrityError):
        list(blobs.open_range(connection, blob))


def test_a_swapped_chunk_is_refused_by_the_digest(engine: Engine, tmp_path: Path) -> None:
    blob = stored(engine, tmp_path, b"a" * CHUNK_BYTES + b"b" * CHUNK_BYTES)
    with engine.begin() as connection:
        first = connection.execute(select(blob_chunks).where(blob_chunks.c.idx == 0)).one()
        connection.execute(update(blob_chunks).where(blob_chunks.c.idx == 1).values(data=first.data, crc32=first.crc32))
    with engine.connect() as connection, pytest.raises(IntegrityError, match="sha256"):
        blobs.save_to(connection, blob, tmp_path / "target")


def test_a_missing_chunk_is_refused(engine: Engine, tmp_path: Path) -> None:
    blob = stored(engine, tmp_path, os.urandom(3 * CHUNK_BYTES))
    with engine.begin() as connection:
        connection.execute(blob_chunks.delete().where(blob_chunks.c.idx == 1))
    with engine.connect() as connection, pytest.raises(IntegrityError):
        list(blobs.open_range(connection, blob))


def test_chunks_are_stored_uncompressed_and_out_of_line(engine: Engine) -> None:
    with engine.connect() as connection:
        storage = connection.execute(
            text("SELECT attstorage FROM pg_attribute WHERE attrelid = 'blob_chunks'::regclass AND attname = 'data'")
        ).scalar_one()
    assert storage in ("e", b"e")


def test_a_discarded_blob_is_swept_when_its_readers_have_had_their_time(engine: Engine, tmp_path: Path) -> None:
    blob, kept = stored(engine, tmp_path, b"bytes"), stored(engine, tmp_path, b"kept")
    with engine.begin() as connection:
        blobs.discard(connection, [blob.id])
        blobs.sweep_blobs(connection)
        assert b"".join(blobs.open_range(connection, blob)) == b"bytes"
        connection.execute(text("UPDATE blobs SET discarded_at = discarded_at - interval '10 minutes'"))
        blobs.sweep_blobs(connection)
        assert connection.execute(select(blob_chunks.c.blob_id)).scalars().all() == [kept.id]
