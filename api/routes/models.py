"""Models and their files."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.deps import Database, FileName, ModelId, Reader
from api.downloads import file_response
from api.errors import respond
from api.openapi import BINARY, FILE_REPLIES, problems
from api.schemas.base import PREFIX
from api.schemas.models import ModelReply, model_reply
from softreg_core.spec.export import DEFAULT_EXPORT, FILE_NAMES
from softreg_jobs import queries, store
from softreg_jobs.errors import FileFailedError, FileNotReadyError, NotFoundError
from softreg_jobs.records import Model

__all__ = ["router"]

router = APIRouter(prefix=f"{PREFIX}/models", tags=["models"])
BUILT_LATER = {name for kind, name in FILE_NAMES.items() if kind not in DEFAULT_EXPORT}


@router.get("/{model_id}", operation_id="models_get", responses=problems(404))
def get(caller: Reader, connection: Database, model_id: ModelId) -> ModelReply:
    """One model and the list of its files."""
    return model_reply(queries.get_model(connection, caller.tenant_id, model_id))


@router.get(
    "/{model_id}/files/{name}",
    operation_id="models_file",
    response_class=Response,
    responses={200: BINARY, **FILE_REPLIES, **problems(404, 409, 412, 416)},
)
@router.head(
    "/{model_id}/files/{name}",
    operation_id="models_file_head",
    response_class=Response,
    responses=problems(404, 409, 412, 416),
)
def file(request: Request, caller: Reader, connection: Database, model_id: ModelId, name: FileName) -> Response:
    """A file of a model: whole, or one range of it.

    `model.onnx` and `model.pt2` are built when they are first asked for, here or by the job's `export`: until then 409
    with Retry-After.
    """
    model = queries.get_model(connection, caller.tenant_id, model_id)
    for found in model.files:
        if found.name == name:
            return file_response(request, connection, found.blob, name)
    if name not in BUILT_LATER:
        raise NotFoundError("file", name)
    store.want_export(connection, model.id, name)
    # Not raised: the wish is to be kept, and an exception would take the transaction back.
    return respond(_absence(model, name), request.state.request_id)


def _absence(model: Model, name: str) -> FileFailedError | FileNotReadyError:
    for export in model.exports:
        if export.name == name and export.state == "failed":
            return FileFailedError(f"{name} could not be built: {export.reason}")
    return FileNotReadyError(f"{name} is being built; ask again in a moment")
