"""Models and their files."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.deps import Database, FileName, ModelId, Reader
from api.downloads import file_response
from api.openapi import BINARY, FILE_REPLIES, problems
from api.schemas.base import PREFIX
from api.schemas.models import ModelReply, model_reply
from softreg_jobs import queries
from softreg_jobs.errors import NotFoundError

__all__ = ["router"]

router = APIRouter(prefix=f"{PREFIX}/models", tags=["models"])


@router.get("/{model_id}", operation_id="models_get", responses=problems(404))
def get(caller: Reader, connection: Database, model_id: ModelId) -> ModelReply:
    """One model and the list of its files."""
    return model_reply(queries.get_model(connection, caller.tenant_id, model_id))


@router.get(
    "/{model_id}/files/{name}",
    operation_id="models_file",
    response_class=Response,
    responses={200: BINARY, **FILE_REPLIES, **problems(404, 412, 416)},
)
@router.head(
    "/{model_id}/files/{name}",
    operation_id="models_file_head",
    response_class=Response,
    responses=problems(404, 412, 416),
)
def file(request: Request, caller: Reader, connection: Database, model_id: ModelId, name: FileName) -> Response:
    """A file of a model: whole, or one range of it."""
    model = queries.get_model(connection, caller.tenant_id, model_id)
    for found in model.files:
        if found.name == name:
            return file_response(request, connection, found.blob, name)
    raise NotFoundError("file", name)
