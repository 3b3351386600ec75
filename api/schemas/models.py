"""What training leaves: checkpoints and models."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from api.schemas.base import PREFIX, ListReply, Moment, Reply
from softreg_core.evaluate.document import EvaluationReport
from softreg_jobs.records import Checkpoint, Model

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
    """A file of a model; `model.onnx` and `model.pt2` are built after training, if asked for."""

    name: str
    state: Literal["ready", "building", "failed"] = "ready"
    reason: str | None = None
    """Why it failed."""
    media_type: str
    size: int | None
    """Null until it is ready, as is `sha256`."""
    sha256: str | None
    url: str
    export: dict[str, Any] | None = None
    """Of a file that was built later: how it was compared with the trained model, and the largest difference."""


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
    report: EvaluationReport | None
    """The delivered model on training, validation and test rows: every metric with its interval, or why there is none.

    Null for a model from before there were reports.
    """
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
        report=None if model.report is None else EvaluationReport.model_validate(model.report),
        files=_files(model),
    )


def _files(model: Model) -> list[FileReply]:
    """Those that are there and those that are not, by name."""
    built = {export.name: export for export in model.exports}
    ready = [
        FileReply(
            name=file.name,
            media_type=file.media_type,
            size=file.blob.size,
            sha256=file.blob.sha256,
            url=file_url(model.id, file.name),
            export=built[file.name].facts if file.name in built else None,
        )
        for file in model.files
    ]
    absent = [
        FileReply(
            name=export.name,
            state=export.state,
            reason=export.reason,
            media_type="application/octet-stream",
            size=None,
            sha256=None,
            url=file_url(model.id, export.name),
        )
        for export in model.exports
        if export.state != "ready"
    ]
    return sorted([*ready, *absent], key=lambda file: file.name)
