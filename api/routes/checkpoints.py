"""Checkpoints by their own ids."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.deps import CheckpointId, Database, Reader
from api.downloads import file_response
from api.openapi import BINARY, FILE_REPLIES, problems
from api.schemas.base import PREFIX
from api.schemas.models import CheckpointReply, checkpoint_reply
from softreg_jobs import queries

__all__ = ["router"]

router = APIRouter(prefix=f"{PREFIX}/checkpoints", tags=["checkpoints"])


@router.get("/{checkpoint_id}", operation_id="checkpoints_get", responses=problems(404))
def get(caller: Reader, connection: Database, checkpoint_id: CheckpointId) -> CheckpointReply:
    """One checkpoint."""
    return checkpoint_reply(queries.checkpoint(connection, caller.tenant_id, checkpoint_id))


@router.get(
    "/{checkpoint_id}/content",
    operation_id="checkpoints_content",
    response_class=Response,
    responses={200: BINARY, **FILE_REPLIES, **problems(404, 412, 416)},
)
@router.head(
    "/{checkpoint_id}/content",
    operation_id="checkpoints_content_head",
    response_class=Response,
    responses=problems(404, 412, 416),
)
def content(request: Request, caller: Reader, connection: Database, checkpoint_id: CheckpointId) -> Response:
    """A checkpoint's bytes: the weights and the optimiser's state, as safetensors."""
    found = queries.checkpoint(connection, caller.tenant_id, checkpoint_id)
    return file_response(request, connection, found.blob, f"{found.id}.safetensors")
