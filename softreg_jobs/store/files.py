"""A model's files: bytes that are uploaded become part of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from softreg_jobs.blobs import Blob, publish
from softreg_jobs.tables import blobs, model_files, models

__all__ = ["ModelFile", "add_files", "files_of"]


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of a model whose bytes are uploaded and unpublished."""

    name: str
    blob: Blob
    media_type: str


def add_files(connection: Connection, model_id: str, files: Sequence[ModelFile]) -> None:
    """Publish files, in the caller's transaction.

    Raises:
        IntegrityError: the chunks of one do not add up.
    """
    if not files:
        return
    publish(connection, *(file.blob for file in files))
    rows = [
        {"model_id": model_id, "name": file.name, "blob_id": file.blob.id, "media_type": file.media_type}
        for file in files
    ]
    connection.execute(insert(model_files).values(rows))


def files_of(connection: Connection, tenant_id: str, model_id: str) -> dict[str, Blob]:
    """The published files of a tenant's model, by name; none where there is no such model."""
    rows = connection.execute(
        select(model_files.c.name, blobs.c.id, blobs.c.sha256, blobs.c.size)
        .join(blobs, blobs.c.id == model_files.c.blob_id)
        .join(models, models.c.id == model_files.c.model_id)
        .where(models.c.id == model_id, models.c.tenant_id == tenant_id)
    )
    return {name: Blob(*facts) for name, *facts in rows}
