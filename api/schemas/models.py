"""What training leaves: checkpoints and models."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.schemas.base import PREFIX, ListReply, Moment, Reply
from softreg_jobs.records import Checkpoint, File, Model

__all__ = ["CheckpointList", "CheckpointReply", "ModelReply", "checkpoint_reply", "file_url", "model_reply"]


class CheckpointReply(Reply):
    """A saved state of training."""

    object: Literal["checkpoint"] = "checkpoint"
    id: str
    created_at: Moment
    metadata: dict[str, str] = Field(default_factory=dict)
    urls: dict[str, str]
    job_id: str
    step: int
    epoch: int
    metrics: dict[str, float | None]
    is_best: bool
    pinned: bool
    size: int
    sha256: str


class CheckpointList(ListReply[CheckpointReply]):
    """A job's checkpoints by step: the newest, the best and the pinned ones are kept."""


class FileReply(Reply):
    """A file of a model."""

    name: str
    media_type: str
    size: int
    sha256: str
    url: str


class ModelReply(Reply):
    """A trained model."""

    object: Literal["model"] = "model"
    id: str
    created_at: Moment
    metadata: dict[str, str] = Field(default_factory=dict)
    urls: dict[str, str]
    job_id: str
    metrics: dict[str, float | None]
    """Of the delivered model; null where a value is not finite."""
    files: list[FileReply]


def checkpoint_reply(checkpoint: Checkpoint) -> CheckpointReply:
    """A checkpoint."""
    at = f"{PREFIX}/checkpoints/{checkpoint.id}"
    return CheckpointReply(
        id=checkpoint.id,
        created_at=checkpoint.created_at,
        urls={"self": at, "content": f"{at}/content", "job": f"{PREFIX}/jobs/{checkpoint.job_id}"},
        job_id=checkpoint.job_id,
        step=checkpoint.step,
        epoch=checkpoint.epoch,
        metrics=checkpoint.metrics,
        is_best=checkpoint.is_best,
        pinned=checkpoint.pinned,
        size=checkpoint.blob.size,
        sha256=checkpoint.blob.sha256,
    )


def file_url(model_id: str, name: str) -> str:
    """Where a model's file is."""
    return f"{PREFIX}/models/{model_id}/files/{name}"


def model_reply(model: Model) -> ModelReply:
    """A model and its files."""
    return ModelReply(
        id=model.id,
        created_at=model.created_at,
        urls={"self": f"{PREFIX}/models/{model.id}", "job": f"{PREFIX}/jobs/{model.job_id}"},
        job_id=model.job_id,
        metrics=model.metrics,
        files=[_file(model.id, file) for file in model.files],
    )


def _file(model_id: str, file: File) -> FileReply:
    return FileReply(
        name=file.name,
        media_type=file.media_type,
        size=file.blob.size,
        sha256=file.blob.sha256,
        url=file_url(model_id, file.name),
    )
