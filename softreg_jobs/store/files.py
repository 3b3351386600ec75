"""A model's files: bytes that are uploaded become part of it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, insert

from softreg_jobs.blobs import Blob, publish
from softreg_jobs.tables import model_files

__all__ = ["ModelFile", "add_file"]


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of a model whose bytes are uploaded and unpublished."""

    name: str
    blob: Blob
    media_type: str


def add_file(connection: Connection, model_id: str, file: ModelFile) -> None:
    """Publish a file, in the caller's transaction.

    Raises:
        IntegrityError: its chunks do not add up.
    """
    publish(connection, file.blob)
    connection.execute(
        insert(model_files).values(model_id=model_id, name=file.name, blob_id=file.blob.id, media_type=file.media_type)
    )
